// How far scripts are trusted, on the command line: from flags to the host's permissions. `--trust` and `--untrusted` stand
// alone or have a value, which ArgumentParser does not know: AppOptionFlags rewrites them before.

import ArgumentParser
import Panini

struct PermissionArguments: ParsableArguments {
    @OptionGroup var trusted: TrustArguments<Trusted>

    @OptionGroup var untrusted: TrustArguments<Untrusted>

    @Option(help: ArgumentHelp("A variable of the environment that untrusted scripts may read.", valueName: "name"))
    var allowEnv: [String] = []

    @Option(help: ArgumentHelp("An address that untrusted scripts may connect to.", valueName: "host[:port]"))
    var allowNet: [String] = []

    @Option(help: ArgumentHelp("A folder that untrusted scripts may have files served from.", valueName: "folder"))
    var allowRead: [String] = []

    @Option(
        help: ArgumentHelp("Subjects that untrusted scripts may publish and send requests to.", valueName: "subject")
    )
    var allowPublish: [String] = []

    @Option(help: ArgumentHelp("Subjects that untrusted scripts may listen to.", valueName: "subject"))
    var allowListen: [String] = []

    static let help = """
        Scripts are kept in bounds (docs/security.md). --trust opens files, programs and modules in C to all of them, \
        --trust=NAME to one (the file's name, or its path), and may be repeated; --untrusted and --untrusted=NAME allow \
        nothing but what --allow-env, --allow-net, --allow-read, --allow-publish and --allow-listen name.
        """

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
        permissions.environment = allowEnv
        permissions.network = allowNet
        permissions.folders = allowRead
        permissions.publish = allowPublish
        permissions.listen = allowListen
        if let problem = permissions.problem {
            throw CommandError("--trust, --untrusted, --allow-...: \(problem)", exitCode: .usage)
        }
        let allowed = allowEnv + allowNet + allowRead + allowPublish + allowListen
        guard allowed.isEmpty || !untrusted.names.isEmpty else {
            throw CommandError("--allow-... is for untrusted scripts: add --untrusted", exitCode: .usage)
        }
        return permissions
    }
}
