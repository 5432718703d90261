// Owns: `panini.middleware.timeout`, `.error` and `.debug` as scripts call them. Worker's thread.

import Bytes
import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime

/// Options that several of them share.
private struct BuiltInOptions {
    let sends: Bool
    let listens: Bool
    let level: Logger.Level
    let loggerName: String
    let codes: Set<String>?

    init(_ options: LuaOptions, level usual: Logger.Level) throws(UsageError) {
        codes = try Self.codes(options)
        level = try Self.level(options) ?? usual
        listens = try options.flag("listens") ?? true
        loggerName = try options.text("logger") ?? "panini"
        sends = try options.flag("sends") ?? true
    }

    private static func level(_ options: LuaOptions) throws(UsageError) -> Logger.Level? {
        guard let name = try options.text("level") else { return nil }
        let levels: [String: Logger.Level] = ["debug": .debug, "info": .info, "warning": .warning, "error": .error]
        guard let known = levels[name] else {
            throw UsageError(
                "\(options.call.name): unknown level \"\(name)\"" + suggestion(for: name, in: levels.keys.sorted())
            )
        }
        return known
    }

    private static func codes(_ options: LuaOptions) throws(UsageError) -> Set<String>? {
        guard let items = try options.list("codes") else { return nil }
        var list: Set<String> = []
        for item in items {
            switch item {
            case .string(let code): list.insert(code)
            case .integer(let number): list.insert(String(number))
            default: throw options.must("codes", "be numbers and words, not \(item.typeName)")
            }
        }
        guard !list.isEmpty else { throw UsageError("\(options.call.name): codes is empty") }
        return list
    }

    func kinds(_ call: HostCall, publishes: Bool) throws(UsageError) -> Set<PaniniMiddlewareKind> {
        guard sends || listens else {
            throw UsageError("\(call.name): with sends and listens false there is nothing to do")
        }
        var kinds: Set<PaniniMiddlewareKind> = []
        for kind in call.script.middlewares.kinds.all {
            switch kind.fallback {
            case "send_any": if sends, publishes || kind.isAwaited { kinds.insert(kind) }
            case "listen_any": if listens { kinds.insert(kind) }
            default: break
            }
        }
        return kinds
    }
}

extension Script {
    /// What a middleware of the host takes, in bytes.
    private static let builtInCharge = 512

    func timeoutMiddleware(_ call: HostCall) throws(UsageError) -> CInt {
        let options = try LuaOptions(call, 1, known: ["subject", "seconds", "codes", "sends", "listens"])
        let shared = try BuiltInOptions(options, level: .warning)
        let seconds = try options.seconds("seconds")
        let subject = try options.text("subject")
        if let subject {
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkPublishable(subject)
            } catch {
                throw UsageError("\(call.name): subject: \(error.message)")
            }
            if let denied = Array(subject.utf8).withUnsafeBytes({ publishDenied($0) }) {
                throw UsageError("\(call.name): subject: \(denied.message)")
            }
        }
        guard subject != nil || seconds != nil else {
            throw UsageError(
                "\(call.name): needs a subject for its reports, or seconds as the limit of requests, or both"
            )
        }
        var kinds = try shared.kinds(call, publishes: false)
        if subject == nil { kinds = kinds.filter(\.isAwaited) }
        guard !kinds.isEmpty else { throw UsageError("\(call.name): seconds is for requests; sends is false") }
        return try push(
            TimeoutMiddleware(
                kinds: kinds,
                subject: subject,
                seconds: seconds,
                codes: shared.codes ?? ["timeout", "no_responders", "504"]
            ),
            call
        )
    }

    func errorMiddleware(_ call: HostCall) throws(UsageError) -> CInt {
        let options = try LuaOptions(
            call,
            1,
            known: ["on_error", "codes", "level", "logger", "sends", "listens"]
        )
        let shared = try BuiltInOptions(options, level: .error)
        var handler: LuaReference?
        if call.type(1) == LUA_TTABLE {
            switch vm.pushRawField(call.L, 1, "on_error") {
            case LUA_TNIL: lua_settop(call.L, -2)
            case LUA_TFUNCTION: handler = vm.makeReference(call.L)
            default: throw UsageError("\(call.name): on_error must be a function, not \(call.typeName(-1))")
            }
        }
        return try push(
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

    func debugMiddleware(_ call: HostCall) throws(UsageError) -> CInt {
        let options = try LuaOptions(call, 1, known: ["level", "logger", "max_bytes", "sends", "listens"])
        let shared = try BuiltInOptions(options, level: .debug)
        let maximumBytes = try options.integer("max_bytes", in: 1...1_048_576, or: "from 1 to 1048576") ?? 300
        return try push(
            DebugMiddleware(
                kinds: try shared.kinds(call, publishes: true),
                level: shared.level,
                loggerName: shared.loggerName,
                maximumBytes: maximumBytes
            ),
            call
        )
    }

    func push(_ middleware: any PaniniMiddleware, _ call: HostCall) throws(UsageError) -> CInt {
        // It is kept as long as this version of the script, whether it is added anywhere or not.
        try call.charge(Self.builtInCharge)
        _ = panini_handle_push(call.L, middlewares.swiftType, adopt(middleware).id)
        return 1
    }
}
