// `panini subscribe`: watches a subject.

import ArgumentParser
import NATS
import NATSProtocol
import NIOCore

struct SubscribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "subscribe",
        abstract: "Print the messages of a subject.",
        discussion: """
            Prints one line for each message, the subject in front, until it has enough or is interrupted.

              panini subscribe 'orders.*'
              panini subscribe '>' --count 10 --json
              panini subscribe jobs --queue workers

            Quote wildcards: the shell has its own. \(CommandError.help)

            \(ClientArguments.help)
            """
    )

    @Argument(help: "A subject; * stands for one token, > for all that follow.")
    var subject: String

    @Option(help: ArgumentHelp("End after so many messages.", valueName: "n"))
    var count: Int?

    @Option(help: ArgumentHelp("Share the messages with the others of this queue group.", valueName: "group"))
    var queue: String?

    @Flag(help: "Print JSON lines: subject, reply, headers, payload (payload_base64 when it is no text).")
    var json = false

    @OptionGroup var client: ClientArguments

    func validate() throws {
        if let count, count < 1 {
            throw ValidationError("--count must be at least 1, not \(count)")
        }
    }

    func run() async throws {
        guard NATSSubject.isValidForSubscribe(subject) else {
            throw CommandError(
                "SUBJECT \"\(subject)\": takes tokens with single dots between, * for one token, > only as the last",
                exitCode: .usage
            )
        }
        if let queue, !NATSSubject.isValidQueue(queue) {
            throw CommandError("--queue \"\(queue)\": a queue group's name has no blanks", exitCode: .usage)
        }
        let client = try await client.connect()
        let refusals = BrokerRefusals(client)
        do throws(NATSError) {
            let messages = try await client.subscribe(subject, queue: queue)
            if let count {
                try messages.unsubscribe(after: count)
            }
            try await client.flush()
            try refusals.check()
            StandardError.say("listening to \(subject)")
            let events = client.events
            let outages = Task {
                for await event in events {
                    guard case .reconnected = event else { continue }
                    StandardError.say("connected again; messages that were sent meanwhile are missing")
                }
            }
            defer { outages.cancel() }
            var received = 0
            for try await message in messages {
                StandardOutput.write(json ? MessageText.json(message) : MessageText.line(message))
                received += 1
                if received == count { break }
            }
            if count == nil || received < count ?? 0 {
                throw NATSError(.closed, "the connection has ended")
            }
        } catch {
            throw CommandError(error)
        }
        await client.close()
    }
}
