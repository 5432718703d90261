// How far scripts are trusted, on the command line: from flags to the host's permissions. `--trust` and `--untrusted` stand
// alone or have a value, which ArgumentParser does not know: AppOptionFlags rewrites them before.

import ArgumentParser
import Panini

struct PermissionArguments: ParsableArguments {
    @Option(name: .customLong("trust-script"), help: .hidden)
    var trusted: [String] = []

    @Option(name: .customLong("untrusted-script"), help: .hidden)
    var untrusted: [String] = []

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

    func permissions() throws(CommandFailure) -> PaniniPermissions {
        var permissions = PaniniPermissions()
        permissions.trusted = trusted
        permissions.untrusted = untrusted
        permissions.environment = allowEnv
        permissions.network = allowNet
        permissions.folders = allowRead
        permissions.publish = allowPublish
        permissions.listen = allowListen
        if let problem = permissions.problem {
            throw CommandFailure("--trust, --untrusted, --allow-...: \(problem)", exitCode: .usage)
        }
        let allowed = allowEnv + allowNet + allowRead + allowPublish + allowListen
        guard allowed.isEmpty || !untrusted.isEmpty else {
            throw CommandFailure("--allow-... is for untrusted scripts: add --untrusted", exitCode: .usage)
        }
        return permissions
    }
}
