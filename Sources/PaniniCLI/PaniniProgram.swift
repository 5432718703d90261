// The program's entry: arguments in, exit code out. It is synchronous on purpose: the main thread blocks the signals
// before any other thread exists, starts the command as a task and then does nothing but wait for signals.

import ArgumentParser
import Glibc
import Panini

@main
enum PaniniProgram {
    static func main() {
        // A reader that went away is an error of a write, not the end of the program.
        signal(SIGPIPE, SIG_IGN)
        // So is a file that may not grow.
        signal(SIGXFSZ, SIG_IGN)
        PaniniRuntime.settleAllocator()
        PaniniRuntime.raiseDescriptorLimit()
        PaniniRuntime.reportCrashes()
        let command: any ParsableCommand
        do {
            let arguments = try AppOptionFlags.rewrite(try ProgramArguments.all())
            command = try PaniniCommand.parseAsRoot(arguments)
        } catch {
            finish(error)
        }
        let terminal = command is any LongRunningCommand ? StopSignals.block() : nil
        let box = CommandBox(command)
        if command is any AsyncParsableCommand {
            Task.detached {
                await box.run()
            }
        } else {
            CommandThread.start { box.runBlocking() }
        }
        if let terminal {
            StopSignals.handleForever(terminal)
        }
        while true {
            pause()
        }
    }

    /// Ends the program with the exit code and the text that fit `error`.
    static func finish(_ error: any Error) -> Never {
        switch error {
        case let failure as CommandError:
            StandardError.say("panini: \(failure.message)", indent: 4)
            if let details = failure.details {
                StandardError.say(details)
            }
            exit(failure.exitCode.rawValue)
        default:
            let text = PaniniCommand.fullMessage(for: error)
            guard PaniniCommand.exitCode(for: error).isSuccess else {
                StandardError.say(text)
                // ArgumentParser has only errors of usage: everything else is a CommandError.
                exit(CommandError.Code.usage.rawValue)
            }
            StandardOutput.writeLine(text)
            exit(0)
        }
    }
}

/// A command that runs until it is told to stop, by a signal or by itself.
protocol LongRunningCommand: ParsableCommand {}

/// Carries a parsed command to the task that runs it.
///
/// Sendable because nobody else touches the command after the hand-over.
private final class CommandBox: @unchecked Sendable {
    private var command: any ParsableCommand

    init(_ command: any ParsableCommand) {
        self.command = command
    }

    func run() async -> Never {
        do {
            guard var command = command as? any AsyncParsableCommand else { runBlocking() }
            try await command.run()
        } catch {
            PaniniProgram.finish(error)
        }
        exit(0)
    }

    func runBlocking() -> Never {
        do {
            try command.run()
        } catch {
            PaniniProgram.finish(error)
        }
        exit(0)
    }
}
