// The program: a host for the scripts of the package, in a ServiceGroup that stops it in order. The first argument is the
// database; NATS_URL names the broker.

import Glibc
import Logging
import Orders
import Panini
import ServiceLifecycle

@main
struct OrdersService {
    static func main() async throws {
        let logger = Logger(label: "orders")
        var overrides = PaniniOverrides()
        if let url = getenv("NATS_URL") { overrides.set("servers", texts: [String(cString: url)], origin: "NATS_URL") }
        let store = try OrderStore(path: CommandLine.arguments.dropFirst().first ?? "orders.sqlite")
        var configuration = PaniniHostConfiguration(scripts: [], overrides: overrides)
        try configuration.addScripts(in: OrderScripts.folder)
        configuration.offer(store)
        configuration.countOrders(of: store)
        let host = PaniniHost(configuration: configuration, logger: logger) { service in
            logger.info("\(service.serviceName) is ready")
        }
        let group = ServiceGroup(services: [host], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }
}
