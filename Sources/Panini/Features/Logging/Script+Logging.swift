// Owns: `app.logger`, `panini.get_logger` and `print`: from a script's call to the host's logger. Worker's thread; nothing
// here blocks, the log handler sees to that.

import CLuaVM
import Logging
import LuaVM
import PaniniObservability
import ScriptRuntime

/// The functions of a logger by name.
let logFunctions: [(String, panini_host_function)] = [
    ("debug", { log($0, $1, .debug) }),
    ("info", { log($0, $1, .info) }),
    ("warning", { log($0, $1, .warning) }),
    ("error", { log($0, $1, .error) }),
    ("exception", { log($0, $1, .error, hasTraceback: true) }),
]

/// No record is lost by what is in it: nothing here raises.
private func log(
    _ L: OpaquePointer?,
    _ context: UnsafeMutableRawPointer?,
    _ level: Logger.Level,
    hasTraceback: Bool = false
) -> CInt {
    Script.from(context).log(L.unsafelyUnwrapped, level, hasTraceback: hasTraceback)
    return 0
}

/// `print`: one line of the service's log.
let printText: panini_host_function = { L, context in
    let script = Script.from(context)
    let L = L.unsafelyUnwrapped
    let name = script.options?.serviceName ?? ""
    guard script.logs(.info, name) else { return 0 }
    var shower = ValueShower(L, script: script)
    let count = lua_gettop(L)
    var line = ""
    for index in stride(from: 1, through: count, by: 1) {
        if index > 1 { line += "\t" }
        line += shower.line(index)
        guard line.utf8.count <= ValueShower.longestText else {
            line += "... (\(count - index) more)"
            break
        }
    }
    script.logPrinted(line)
    return 0
}

extension Script {
    /// `logger.info(text [, fields])`. Whatever else a script says is shown, too.
    fileprivate func log(_ L: OpaquePointer, _ level: Logger.Level, hasTraceback: Bool) {
        let name = vm.string(L, CInt(PANINI_SECOND_BOUND_VALUE), upTo: ValueShower.longestKey) ?? ""
        guard logs(level, name) else { return }
        let count = lua_gettop(L)
        var shower = ValueShower(L, script: self)
        let text = count > 0 ? shower.line(1) : "(no text)"
        var metadata: Logger.Metadata = [:]
        for index in stride(from: 2, through: count, by: 1) {
            switch lua_type(L, index) {
            case LUA_TNIL where index == 2: break
            case LUA_TTABLE where index == 2:
                for (key, value) in shower.fields(2) where metadata[key] == nil { metadata[key] = value.metadata }
            default: metadata["argument_\(index)"] = shower.value(index).metadata
            }
            guard metadata.count <= ValueShower.mostValues else { break }
        }
        if hasTraceback, lua_checkstack(L, 60) != 0 {
            luaL_traceback(L, L, nil, 1)
            metadata[LogRecord.exceptionField] = "\(vm.string(L, -1, upTo: LuaVM.longestErrorText) ?? "")"
            lua_settop(L, -2)
        }
        log(level, name, text, metadata)
    }

    func getLogger(_ call: HostCall) throws(UsageError) -> CInt {
        let name = call.isNone(1) ? "panini" : try call.string(1, "the name")
        pushLogger(name, call.L)
        return 1
    }

    /// Pushes a logger: a table of functions bound to it, so that a dot and a colon call alike.
    func pushLogger(_ name: String, _ L: OpaquePointer) {
        vm.pushString(L, name)
        let shared = lua_gettop(L)
        lua_createtable(L, 0, 6)
        vm.pushString(L, "name" as StaticString)
        lua_pushvalue(L, shared)
        lua_rawset(L, -3)
        panini_push_fixed(L, "logger", "levels are settings of the log: --log-level, config/log_config.json")
        for (level, function) in logFunctions {
            vm.pushString(L, level)
            lua_pushvalue(L, shared)
            lua_pushvalue(L, -3)
            panini_push_twice_bound_function(L, function, Unmanaged.passUnretained(self).toOpaque())
            lua_rawset(L, -4)
        }
        lua_copy(L, -1, shared)
        lua_settop(L, shared)
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
