// `panini run`: services against a real broker.

import ArgumentParser
import Panini

struct RunCommand: ParsableCommand, LongRunningCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run service scripts.",
        discussion: """
            Loads each FILE, connects to the broker and serves until SIGINT or SIGTERM. On a signal running handlers \
            finish and answer first; a second signal ends the program at once. SIGHUP and panini reload replace the code \
            of running services without losing a request; --watch does that whenever a file is saved. A folder stands \
            for the scripts in it.

              panini run orders.lua
              panini run orders.lua --workers auto --watch
              panini run orders.lua invoices.lua --server nats://broker:4222
              NATS_URL=nats://broker:4222 panini run orders.lua --handler-timeout 5

            Every option of panini.app{...} can be given here, too, and wins over the script's. In the environment it \
            is PANINI_ and the name in capitals (PANINI_HANDLER_TIMEOUT=5; NATS_URL for the servers), in the file of \
            --config it has the script's own name. The command line is strongest, then the environment, then the \
            file, then the script. Paths are relative to the current directory; in the file and in the script they are \
            relative to the folder it lies in.

            \(AppOptionFlags.help(OptionDefinition.all))

            Arguments are seen by everyone on the machine (ps): give secrets in the environment \
            (PANINI_AUTH_PASSWORD, PANINI_AUTH_TOKEN) or as files (--auth-credentials-file, --auth-nkey-seed-file).

            \(PermissionArguments.help)

            The log goes to standard output, the reason of a failure to standard error.
            Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage, 70 scripts hold too many workers (--wedged-most), or \
            one (--wedged exit), 128 + n ended by a second signal n.
            """
    )

    @OptionGroup var host: HostArguments

    @OptionGroup var service: ServiceArguments

    @OptionGroup var log: LogArguments

    @Flag(help: "Reload a service when one of its files changes.")
    var watch = false

    func run() throws {
        let overrides = try service.overrides()
        let log = try log.bootstrap(descriptor: 1)
        try ServiceRunner.runBlocking(host: host, watches: watch, overrides: overrides, log: log)
    }
}
