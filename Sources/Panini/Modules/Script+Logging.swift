// Owns: `app.logger`, `panini.get_logger` and `print`: from a script's call to the host's logger. Worker's thread; nothing
// here blocks, the log handler sees to that.

import CLuaShim
import Logging
import LuaVM
import PaniniObservability

/// The functions of a logger by name.
let logFunctions: [(String, panini_host_function)] = [
    ("debug", { log($0, $1, .debug) }),
    ("info", { log($0, $1, .info) }),
    ("warning", { log($0, $1, .warning) }),
    ("error", { log($0, $1, .error) }),
    ("exception", { log($0, $1, .error, hasTraceback: true) }),
]

private func log(
    _ L: OpaquePointer?,
    _ context: UnsafeMutableRawPointer?,
    _ level: Logger.Level,
    hasTraceback: Bool = false
) -> CInt {
    let call = HostCall(L: L.unsafelyUnwrapped, script: Script.from(context), name: "logger")
    do throws(Misuse) {
        try call.script.log(call, level, hasTraceback: hasTraceback)
        return 0
    } catch {
        return call.raise(error)
    }
}

/// `print`: one line of the service's log.
let printText: panini_host_function = { L, context in
    let script = Script.from(context)
    let L = L.unsafelyUnwrapped
    let name = script.options?.serviceName ?? ""
    if script.logs(.info, name) { script.log(.info, name, script.vm.string(L, 1) ?? "") }
    return 0
}

extension Script {
    fileprivate func log(_ call: HostCall, _ level: Logger.Level, hasTraceback: Bool) throws(Misuse) {
        // A logger has a name; without one it is somebody's table.
        var name = ""
        if panini_field(call.L, CInt(PANINI_BOUND_VALUE), "name") == LUA_TSTRING { name = vm.string(call.L, -1) ?? "" }
        lua_settop(call.L, -2)
        guard logs(level, name) else { return }
        var metadata: Logger.Metadata = [:]
        if !call.isNone(2) {
            guard call.type(2) == LUA_TTABLE else {
                throw Misuse(
                    "logger: fields must be a table, as in logger.info(\"text\", { id = 1 }), not \(call.typeName(2))"
                )
            }
            for (key, value) in try call.members(2) { metadata[key] = value.metadata }
        }
        if hasTraceback {
            luaL_traceback(call.L, call.L, nil, 1)
            metadata[LogRecord.exceptionField] = "\(vm.string(call.L, -1) ?? "")"
            lua_settop(call.L, -2)
        }
        log(level, name, vm.string(call.L, 1) ?? "", metadata)
    }

    func getLogger(_ call: HostCall) throws(Misuse) -> CInt {
        let name = call.isNone(1) ? "panini" : try call.string(1, "the name")
        pushLogger(name, call.L)
        return 1
    }
}

extension PlainValue {
    /// The value as a log record's metadata.
    var metadata: Logger.MetadataValue {
        switch self {
        case .null: "null"
        case .boolean(let flag): .stringConvertible(flag)
        case .integer(let number): .stringConvertible(number)
        case .number(let number): .stringConvertible(number)
        case .string(let text): .string(text)
        case .array(let items): .array(items.map(\.metadata))
        case .object(let members): .dictionary(Dictionary(members.map { ($0.0, $0.1.metadata) }) { first, _ in first })
        case .other(let name): .string(name)
        }
    }
}
