// Owns: the JSON of what the control socket answers. Pure; any thread.

import Bytes

enum ControlText {
    static func service(_ service: PaniniServiceStatus) -> JSONText {
        var members: [(String, JSONText)] =
            [
                ("service", .string(service.serviceName)), ("version", .string(service.version)),
                ("file", .string(service.path)), ("state", .string(service.state)),
                ("generation", .whole(service.generation)), ("workers", .whole(service.workers)),
                ("stuck_workers", .whole(service.stuckWorkers)),
                ("replaced_workers", .whole(service.replacedWorkers)),
                ("given_up_threads", .whole(service.givenUpThreads)),
                ("listeners", .whole(service.listeners)), ("in_flight", .whole(service.inFlight)),
                ("waiting", .whole(service.waiting)), ("waiting_sends", .whole(service.waitingSends)),
                ("draining", .whole(service.draining)),
                ("busy_percent", .whole(Int((service.busy * 100).rounded()))),
                ("busiest_worker", .whole(service.busiestWorker)),
                ("memory_bytes", .whole(service.memoryBytes)),
                ("web_bytes", .whole(service.webBytes)), ("shed_connections", .whole(service.shedConnections)),
                ("connected", .boolean(service.isConnected)),
                ("uptime", .number((service.uptime * 1000).rounded() / 1000)),
                ("figures", .object(service.figures.sorted { $0.key < $1.key }.map { ($0.key, .whole($0.value)) })),
            ]
        if !service.rows.isEmpty { members.append(("rows", .array(service.rows.map(row)))) }
        return .object(members)
    }

    private static func row(_ row: PaniniServiceReport.Registration) -> JSONText {
        .object([
            ("kind", .string(row.kind)), ("name", .string(row.name)),
            ("details", .object(row.details.map { ($0.name, .string($0.value)) })),
        ])
    }

    static func reload(_ result: Result<PaniniReloadReport, PaniniError>) -> JSONText {
        switch result {
        case .success(let report):
            .object([
                ("success", .boolean(true)), ("service", .string(report.serviceName)), ("from", .whole(report.from)),
                ("to", .whole(report.to)), ("ms", .number((report.milliseconds * 1000).rounded() / 1000)),
                ("added", .list(report.added)), ("removed", .list(report.removed)), ("changed", .list(report.changed)),
                ("in_flight", .whole(report.inFlight)), ("line", .string(report.line)),
            ])
        case .failure(let error):
            .object([
                ("success", .boolean(false)), ("code", .string(error.code.description)),
                ("error", .string(error.message)),
            ])
        }
    }
}
