// `panini request`: one question, one answer.

import ArgumentParser
import NATS
import NATSProtocol
import NIOCore
import Panini

struct RequestCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "request",
        abstract: "Send a request and print the answer.",
        discussion: """
            Prints the answer's payload, and a line feed after it.

              panini request greet '{"name": "Ada"}'
              panini request greet '{"name": "Ada"}' --timeout 2 --json
              echo '{"name": "Ada"}' | panini request greet -

            \(CommandError.help) It has failed when nobody listens, when no answer came in time, and when the \
            service answered with an error, whose payload is printed all the same.

            \(ClientArguments.help)
            """
    )

    @OptionGroup var message: PayloadArguments

    @Option(help: ArgumentHelp("How many seconds to wait for the answer.", valueName: "seconds"))
    var timeout = 10.0

    @Flag(help: "Print a JSON object: subject, headers, payload (payload_base64 when it is no text).")
    var json = false

    @OptionGroup var client: ClientArguments

    func validate() throws {
        guard timeout > 0, timeout <= 86_400 else {
            throw ValidationError("--timeout must be a number of seconds above 0 and up to 86400, not \(timeout)")
        }
    }

    /// The broker names the subscription of the answers, which nobody who asks has made.
    private static func denial(_ error: NATSError) -> String {
        let reason = oneLine(error.message)
        guard reason.contains("Subscription") else { return "the broker denied it: \(reason)" }
        return """
            the broker denied it: the answers of a request come to _INBOX.>, and this user may not subscribe to that \
            (\(reason))
            """
    }

    func run() async throws {
        try message.checkSubject(message.subject)
        let payload = try message.bytes()
        let headers = try message.natsHeaders()
        let client = try await client.connect()
        let answer: NATSMessage
        do throws(NATSError) {
            answer = try await client.request(
                payload,
                to: message.subject,
                headers: headers,
                timeout: .nanoseconds(Int64(timeout * 1e9))
            )
        } catch {
            switch error.code {
            case .noResponders: throw CommandError("nobody listens to \(message.subject)")
            case .timeout:
                throw CommandError(
                    "timeout: no answer from \(message.subject) within \(ReadyReport.seconds(timeout)) s"
                )
            case .permissionViolation: throw CommandError(Self.denial(error))
            default: throw CommandError(error)
            }
        }
        await client.close()
        StandardOutput.write(json ? MessageText.json(answer) : MessageText.payloadLine(answer))
        if let code = answer.headers["Nats-Service-Error-Code"] {
            throw CommandError("the service answered \(code): \(answer.headers["Nats-Service-Error"] ?? "")")
        }
    }
}
