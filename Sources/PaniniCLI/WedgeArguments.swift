// What becomes of the program when a script holds a worker that cannot be freed.

import ArgumentParser
import Glibc
import Logging
import Panini
import PaniniObservability

struct WedgeArguments: ParsableArguments {
    /// What to do about it.
    enum Policy: String, ExpressibleByArgument {
        case replace
        case report
        case exit
    }

    /// The program's exit code when it ends itself for it: whoever started it can tell, and start it anew.
    static let exitCode: Int32 = 70

    @Option(
        help: ArgumentHelp(
            """
            When a script holds a worker that cannot be freed: give its place to a new one, only report it, or exit with \
            code 70 (replace).
            """,
            valueName: "replace|report|exit"
        )
    )
    var wedged: Policy = .replace

    @Option(
        help: ArgumentHelp(
            "How many workers that were replaced may still be held before one more ends the program with code 70 (8).",
            valueName: "count"
        )
    )
    var wedgedMost: Int = 8

    @Option(help: ArgumentHelp("Seconds beyond its limit before a worker counts as stuck (5).", valueName: "seconds"))
    var wedgedAfter: Double = 5

    func validate() throws {
        guard wedgedAfter >= 0.1, wedgedAfter <= 86400 else {
            throw ValidationError("--wedged-after must be a number of seconds from 0.1 to 86400")
        }
        guard wedgedMost >= 0, wedgedMost <= 1000 else {
            throw ValidationError("--wedged-most must be a number from 0 to 1000")
        }
    }

    /// What the host does.
    var policy: PaniniStuckWorkerPolicy { wedged == .replace ? .replace(atMost: wedgedMost) : .report }

    /// Begins to watch; the logger and the logs are the program's.
    func apply(log: PaniniLogs, logger: Logger) {
        WedgedWorkers.watch(grace: wedgedAfter, logger: logger)
        guard wedged == .exit else { return }
        WedgedWorkers.onChange { worker, isStuck in
            guard isStuck else { return }
            let text = "worker \(worker.threadName) is stuck in \(worker.service): the program ends (--wedged exit)"
            log.noteInFiles(.critical, text)
            log.shutdown()
            StandardError.say("panini: \(text)")
            _exit(Self.exitCode)
        }
    }
}
