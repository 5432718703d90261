// Which record goes where, without a file.

import Logging
import PaniniObservability
import Testing

@Suite struct LogPlanTests {
    /// The files of a route by name, with their levels.
    static func files(_ plan: LogPlan, _ name: String, isHost: Bool = false) -> [String: Logger.Level] {
        let route = plan.route(of: name, isHost: isHost, consoleLevel: .info)
        return Dictionary(uniqueKeysWithValues: route.files.map { (plan.files[$0.file].path, $0.level) })
    }

    @Test func theDefaultSortsByLogger() {
        let plan = LogPlan(folder: "/l", service: "orders")
        let all: [String: Logger.Level] = ["/l/app.log": .debug, "/l/errors.log": .error]
        func and(_ names: String...) -> [String: Logger.Level] {
            all.merging(names.map { ("/l/\($0)", Logger.Level.debug) }) { $1 }
        }
        #expect(Self.files(plan, "orders") == and("orders.log"))
        #expect(Self.files(plan, "orders.db") == and("orders.log"))
        #expect(Self.files(plan, "ordersdb") == all)
        #expect(Self.files(plan, "panini") == and("panini.log"))
        #expect(Self.files(plan, "panini.log") == and("panini.log"))
        #expect(Self.files(plan, "inter_services_request") == and("inter_services_request.log"))
        #expect(Self.files(plan, "audit") == all)
        // What the host says about a service is in both.
        #expect(Self.files(plan, "orders", isHost: true) == and("orders.log", "panini.log"))
        #expect(plan.files.allSatisfy { $0.maximumBytes == 1_000_000 && $0.backups == 10 && $0.form == .json })
    }

    @Test(arguments: ["app", "errors", "panini", "inter_services_request"])
    func aServiceMayHaveTheNameOfAFile(_ name: String) {
        let plan = LogPlan(folder: "/l", service: name)
        let route = plan.route(of: name, isHost: true, consoleLevel: .info)
        #expect(Set(route.files.map { plan.files[$0.file].path }).contains("/l/\(name).log"))
        #expect(route.consoles.count == 1)
    }

    @Test func theNearestLevelCountsAndHandlersAddUp() {
        let plan = LogPlan(
            files: [LogPlan.File(path: "a"), LogPlan.File(path: "r")],
            handlers: [
                LogPlan.Handler(.file(0)), LogPlan.Handler(.file(1), level: .warning),
                LogPlan.Handler(.console(descriptor: 2, form: .json), level: .error),
            ],
            loggers: [
                "a": LogPlan.Entry(level: .info, handlers: [0]),
                "a.b": LogPlan.Entry(level: .debug, handlers: []),
                "alone": LogPlan.Entry(handlers: [0], propagates: false),
            ],
            root: LogPlan.Entry(level: .error, handlers: [1, 2])
        )
        // As in Python, a handler of the root asks for its own level and the logger's, not for the root's.
        #expect(Self.files(plan, "a") == ["a": .info, "r": .warning])
        #expect(Self.files(plan, "a.b.c") == ["a": .debug, "r": .warning])
        #expect(Self.files(plan, "other") == ["r": .error])
        #expect(Self.files(plan, "alone") == ["a": .error])
        let route = plan.route(of: "a", isHost: false, consoleLevel: .debug)
        #expect(route.consoles.map(\.level) == [.error])
        #expect(route.consoles.map(\.descriptor) == [2])
    }

    @Test func twoHandlersOfAFileWriteOnce() {
        let plan = LogPlan(
            files: [LogPlan.File(path: "a")],
            handlers: [LogPlan.Handler(.file(0), level: .error), LogPlan.Handler(.file(0), level: .info)],
            loggers: ["a": LogPlan.Entry(handlers: [0])],
            root: LogPlan.Entry(handlers: [1])
        )
        #expect(Self.files(plan, "a") == ["a": .info])
    }
}
