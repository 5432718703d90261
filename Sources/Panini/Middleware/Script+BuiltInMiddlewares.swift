// Owns: `panini.middleware.timeout`, `.error` and `.debug` as scripts call them. Worker's thread.

import CLuaShim
import Logging
import LuaVM

extension HostFunctionEntry {
    /// Functions of `panini.middleware`.
    static let middleware: [HostFunctionEntry] = [
        .init(name: "timeout", signature: "panini.middleware.timeout{ subject =, seconds =, ... } -> middleware") {
            hostCall($0, $1, "panini.middleware.timeout", takes: 1) { call throws(Misuse) in
                try call.script.timeout(call)
            }
        },
        .init(name: "error", signature: "panini.middleware.error{ on_error =, codes =, ... } -> middleware") {
            hostCall($0, $1, "panini.middleware.error", takes: 1) { call throws(Misuse) in try call.script.error(call) }
        },
        .init(name: "debug", signature: "panini.middleware.debug{ level =, logger =, ... } -> middleware") {
            hostCall($0, $1, "panini.middleware.debug", takes: 1) { call throws(Misuse) in try call.script.debug(call) }
        },
        .init(name: "cors", signature: "panini.middleware.cors{ origins = {...}, ... } -> middleware") {
            hostCall($0, $1, "panini.middleware.cors", takes: 1) { call throws(Misuse) in try call.script.cors(call) }
        },
    ]
}

/// Options that several of them share.
private struct BuiltInOptions {
    var sends = true
    var listens = true
    var level: Logger.Level
    var loggerName = "panini"
    var codes: Set<String>?

    /// True when the option is one of these.
    mutating func take(_ key: String, _ value: PlainValue, _ call: HostCall) throws(Misuse) -> Bool {
        switch (key, value) {
        case ("sends", .boolean(let flag)): sends = flag
        case ("listens", .boolean(let flag)): listens = flag
        case ("logger", .string(let name)): loggerName = name
        case ("level", .string(let name)):
            let levels: [String: Logger.Level] = ["debug": .debug, "info": .info, "warning": .warning, "error": .error]
            guard let known = levels[name] else {
                throw Misuse(
                    "\(call.name): unknown level \"\(name)\"" + suggestion(for: name, in: levels.keys.sorted())
                )
            }
            level = known
        case ("codes", .array(let items)):
            var list: Set<String> = []
            for item in items {
                switch item {
                case .string(let code): list.insert(code)
                case .integer(let number): list.insert(String(number))
                default: throw Misuse("\(call.name): codes must be numbers and words, not \(item.typeName)")
                }
            }
            guard !list.isEmpty else { throw Misuse("\(call.name): codes is empty") }
            codes = list
        default: return false
        }
        return true
    }

    func kinds(_ call: HostCall, publishes: Bool) throws(Misuse) -> Set<PaniniMiddlewareKind> {
        guard sends || listens else {
            throw Misuse("\(call.name): with sends and listens false there is nothing to do")
        }
        var kinds: Set<PaniniMiddlewareKind> = []
        if sends { kinds.formUnion(publishes ? [.sendPublish, .sendRequest] : [.sendRequest]) }
        if listens { kinds.formUnion([.listenPublish, .listenRequest]) }
        return kinds
    }
}

extension Script {
    fileprivate func timeout(_ call: HostCall) throws(Misuse) -> CInt {
        var shared = BuiltInOptions(level: .warning)
        var subject: String?
        var seconds: Double?
        for (key, value) in try call.options(1, known: ["subject", "seconds", "codes", "sends", "listens"]) {
            if try shared.take(key, value, call) { continue }
            switch (key, value) {
            case ("subject", .string(let text)):
                do throws(SubjectPattern.Invalid) {
                    try SubjectPattern.checkPublishable(text)
                } catch {
                    throw Misuse("\(call.name): subject: \(error.message)")
                }
                subject = text
            case ("seconds", .integer(let number)):
                seconds = try HostCall.checkSeconds(Double(number), "\(call.name): seconds")
            case ("seconds", .number(let number)):
                seconds = try HostCall.checkSeconds(number, "\(call.name): seconds")
            default: throw Misuse("\(call.name): option \"\(key)\" cannot be \(value.typeName)")
            }
        }
        guard subject != nil || seconds != nil else {
            throw Misuse("\(call.name): needs a subject for its reports, or seconds as the limit of requests, or both")
        }
        var kinds = try shared.kinds(call, publishes: false)
        if subject == nil { kinds.formIntersection([.sendRequest]) }
        guard !kinds.isEmpty else { throw Misuse("\(call.name): seconds is for requests; sends is false") }
        return push(
            TimeoutMiddleware(
                kinds: kinds,
                subject: subject,
                seconds: seconds,
                codes: shared.codes ?? ["timeout", "no_responders", "504"]
            ),
            call
        )
    }

    fileprivate func error(_ call: HostCall) throws(Misuse) -> CInt {
        var shared = BuiltInOptions(level: .error)
        for (key, value) in try call.options(
            1,
            known: ["on_error", "codes", "level", "logger", "sends", "listens"]
        ) where key != "on_error" {
            guard try shared.take(key, value, call) else {
                throw Misuse("\(call.name): option \"\(key)\" cannot be \(value.typeName)")
            }
        }
        var handler: LuaReference?
        if call.type(1) == LUA_TTABLE {
            switch vm.pushRawField(call.L, 1, "on_error") {
            case LUA_TNIL: lua_settop(call.L, -2)
            case LUA_TFUNCTION: handler = vm.makeReference(call.L)
            default: throw Misuse("\(call.name): on_error must be a function, not \(call.typeName(-1))")
            }
        }
        return push(
            ErrorMiddleware(
                kinds: try shared.kinds(call, publishes: true),
                codes: shared.codes,
                handler: handler,
                level: shared.level,
                loggerName: shared.loggerName
            ),
            call
        )
    }

    fileprivate func debug(_ call: HostCall) throws(Misuse) -> CInt {
        var shared = BuiltInOptions(level: .debug)
        var maximumBytes = 300
        for (key, value) in try call.options(1, known: ["level", "logger", "max_bytes", "sends", "listens"]) {
            if try shared.take(key, value, call) { continue }
            guard case ("max_bytes", .integer(let count)) = (key, value), (1...1_048_576).contains(count) else {
                throw Misuse(
                    key == "max_bytes"
                        ? "\(call.name): max_bytes must be from 1 to 1048576"
                        : "\(call.name): option \"\(key)\" cannot be \(value.typeName)"
                )
            }
            maximumBytes = Int(count)
        }
        return push(
            DebugMiddleware(
                kinds: try shared.kinds(call, publishes: true),
                level: shared.level,
                loggerName: shared.loggerName,
                maximumBytes: maximumBytes
            ),
            call
        )
    }

    func push(_ middleware: any PaniniMiddleware, _ call: HostCall) -> CInt {
        _ = panini_handle_push(call.L, nativeMiddlewareType, adopt(middleware).id)
        return 1
    }
}
