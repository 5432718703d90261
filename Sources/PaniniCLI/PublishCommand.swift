// `panini publish`: one message.

import ArgumentParser
import NATS
import NIOCore

struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish one message.",
        discussion: """
            Returns when the broker has the message; has failed when the broker denied it.

              panini publish orders.new '{"id": 7}'
              panini publish orders.new - < order.json
              panini publish logs.app hello --header trace:42 --server nats://127.0.0.1:4222

            \(CommandError.help)

            \(ClientArguments.help)
            """
    )

    @OptionGroup var message: PayloadArguments

    @Option(help: ArgumentHelp("The subject that answers shall go to.", valueName: "subject"))
    var reply: String?

    @OptionGroup var client: ClientArguments

    func run() async throws {
        try message.checkSubject(message.subject)
        if let reply {
            try message.checkSubject(reply, "--reply")
        }
        let payload = try message.bytes()
        let headers = try message.natsHeaders()
        let client = try await client.connect()
        let refusals = BrokerRefusals(client)
        do throws(NATSError) {
            try client.publish(payload, to: message.subject, reply: reply, headers: headers)
            try await client.flush()
            try refusals.check()
        } catch {
            throw CommandError(error)
        }
        await client.close()
        StandardError.say("published \(payload.count) \(payload.count == 1 ? "byte" : "bytes") to \(message.subject)")
    }
}
