// Owns: the JSON of what the control socket answers. Pure; any thread.

import NATSProtocol

enum ControlText {
    static func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\(string($0.0)):\($0.1)" }.joined(separator: ",") + "}"
    }

    static func string(_ text: String) -> String {
        var bytes: [UInt8] = []
        JSONValue.appendString(text, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func list(_ texts: [String]) -> String { "[" + texts.map(string).joined(separator: ",") + "]" }

    static func service(_ service: PaniniServiceStatus) -> String {
        object([
            ("service", string(service.serviceName)), ("version", string(service.version)),
            ("file", string(service.path)), ("state", string(service.state)),
            ("generation", "\(service.generation)"), ("workers", "\(service.workers)"),
            ("stuck_workers", "\(service.stuckWorkers)"),
            ("replaced_workers", "\(service.replacedWorkers)"), ("given_up_threads", "\(service.givenUpThreads)"),
            ("listeners", "\(service.listeners)"), ("in_flight", "\(service.inFlight)"),
            ("waiting", "\(service.waiting)"), ("waiting_sends", "\(service.waitingSends)"),
            ("draining", "\(service.draining)"),
            ("busy_percent", "\(Int((service.busy * 100).rounded()))"), ("busiest_worker", "\(service.busiestWorker)"),
            ("memory_bytes", "\(service.memoryBytes)"),
            ("web_bytes", "\(service.webBytes)"), ("shed_connections", "\(service.shedConnections)"),
            ("connected", "\(service.isConnected)"),
            ("uptime", "\((service.uptime * 1000).rounded() / 1000)"),
        ])
    }

    static func reload(_ result: Result<PaniniReloadReport, PaniniError>) -> String {
        switch result {
        case .success(let report):
            object([
                ("success", "true"), ("service", string(report.serviceName)), ("from", "\(report.from)"),
                ("to", "\(report.to)"), ("ms", "\((report.milliseconds * 1000).rounded() / 1000)"),
                ("added", list(report.added)), ("removed", list(report.removed)), ("changed", list(report.changed)),
                ("in_flight", "\(report.inFlight)"), ("line", string(report.line)),
            ])
        case .failure(let error):
            object([
                ("success", "false"), ("code", string(error.code.description)), ("error", string(error.message)),
            ])
        }
    }
}
