// How far scripts are trusted, on the command line: from flags to the host's permissions. `--trust` and `--untrusted` stand
// alone or have a value, which ArgumentParser does not know: AppOptionFlags rewrites them before.

import ArgumentParser
import Panini

struct PermissionArguments: ParsableArguments {
    @OptionGroup var trusted: TrustArguments<Trusted>

    @OptionGroup var untrusted: TrustArguments<Untrusted>

    @OptionGroup var allowed: AllowArguments<AllPermissions>

    static let help = """
        Scripts are kept in bounds (docs/security.md). --trust opens files, programs and modules in C to all of them, \
        --trust=NAME to one (the file's name, or its path), and may be repeated; --untrusted and --untrusted=NAME allow \
        nothing but what \(list(PermissionDefinition.all.map(\.flag))) name.
        """

    private static func list(_ flags: [String]) -> String {
        "\(flags.dropLast().joined(separator: ", ")) and \(flags.last ?? "")"
    }

    /// Refuses untrusted names that are none of the command's scripts': one that is misspelt must not be an ordinary script. Of
    /// trusted ones it says so.
    static func check(_ permissions: PaniniPermissions, _ scripts: [String]) throws(CommandError) {
        if let stray = permissions.strayTrust(among: scripts) { StandardError.say("panini: \(stray)") }
        guard let problem = permissions.stray(among: scripts) else { return }
        throw CommandError(problem, exitCode: .usage)
    }

    func permissions() throws(CommandError) -> PaniniPermissions {
        var permissions = PaniniPermissions()
        permissions.trusted = trusted.names
        permissions.untrusted = untrusted.names
        for permission in PermissionDefinition.all {
            permission.set(allowed.values[permission.name] ?? [], in: &permissions)
        }
        if let problem = permissions.problem {
            throw CommandError("--trust, --untrusted, --allow-...: \(problem)", exitCode: .usage)
        }
        guard allowed.values.values.allSatisfy(\.isEmpty) || !untrusted.names.isEmpty else {
            throw CommandError("--allow-... is for untrusted scripts: add --untrusted", exitCode: .usage)
        }
        return permissions
    }
}
