// The program: a host for Scripts/orders.lua, in a ServiceGroup that stops it in order. The first argument is the script,
// the second the database; NATS_URL names the broker.

import Glibc
import Logging
import Orders
import Panini
import ServiceLifecycle

@main
struct OrdersService {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let logger = Logger(label: "orders")
        var overrides = PaniniOverrides()
        if let url = getenv("NATS_URL") { overrides.set("servers", texts: [String(cString: url)], origin: "NATS_URL") }
        var configuration = PaniniHostConfiguration(
            scripts: [arguments.first ?? "Scripts/orders.lua"],
            overrides: overrides
        )
        configuration.offer(try OrderStore(path: arguments.dropFirst().first ?? "orders.sqlite"))
        let host = PaniniHost(configuration: configuration, logger: logger) { service in
            logger.info("\(service.serviceName) is ready")
        }
        let group = ServiceGroup(services: [host], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }
}
