// A service on NATS in Swift: connects, answers requests, publishes, tells what happens to its connection, and drains
// when it is asked to stop (SIGINT or SIGTERM).
//
//     swift run nats-client-example [nats://127.0.0.1:4222]

import Logging
import NATS
import NIOCore
import ServiceLifecycle

/// Answers requests on `greet.<name>`.
struct Greeter: Service {
    let client: NATSClient

    func run() async throws {
        let requests = try await client.subscribe("greet.*", queue: "greeters")
        try await withGracefulShutdownHandler {
            for try await request in requests {
                guard let reply = request.reply else { continue }
                let name = request.subject.dropFirst("greet.".count)
                try client.publish("hello, \(name)", to: reply)
            }
        } onGracefulShutdown: {
            // What the server has sent is answered, then the loop above ends.
            Task { try await requests.drain() }
        }
    }
}

/// Says what happens to the connection.
struct EventLog: Service {
    let client: NATSClient
    let logger: Logger

    func run() async throws {
        for await event in client.events.cancelOnGracefulShutdown() {
            logger.info("\(event)")
        }
    }
}

/// Asks the greeter once, and publishes a message nobody has to answer.
struct Visitor: Service {
    let client: NATSClient
    let logger: Logger

    func run() async throws {
        while await client.serverInfo() == nil {
            try await Task.sleep(for: .milliseconds(50))
        }
        do {
            let reply = try await client.request("", to: "greet.joe", timeout: .seconds(2))
            logger.info("the answer: \(reply.text)")
            try client.publish("joe was here", to: "visits", headers: ["Trace": "1"])
        } catch {
            // The error is a NATSError, as both calls say.
            guard error.code == .noResponders else { throw error }
            logger.warning("nobody greets")
        }
        try await gracefulShutdown()
    }
}

let logger = Logger(label: "example")
let address = CommandLine.arguments.count > 1 ? CommandLine.arguments[1] : "nats://127.0.0.1:4222"
var configuration = try NATSConnectionConfiguration(servers: [address])
configuration.name = "example"
let client = NATSClient(configuration: configuration, logger: logger)

// The client is the first service: it is stopped last.
let group = ServiceGroup(
    services: [
        client, Greeter(client: client), EventLog(client: client, logger: logger),
        Visitor(client: client, logger: logger),
    ],
    gracefulShutdownSignals: [.sigint, .sigterm],
    logger: logger
)
try await group.run()
