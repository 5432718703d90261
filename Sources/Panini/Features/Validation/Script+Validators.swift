// Owns: validators as scripts call them, and the guard that a listener with a validator runs. Worker's thread.

import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import ScriptRuntime

extension Script {
    /// `panini.field{...}`: checks the field here, at its own line. A table says the same.
    func field(_ call: HostCall) throws(UsageError) -> CInt {
        lua_settop(call.L, 1)
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError(
                "panini.field: takes a table, as in panini.field{ type = \"string\" }, not \(call.typeName(1))"
            )
        }
        var builder = ValidatorBuilder(call)
        _ = try builder.field(1, "", depth: 1)
        lua_settop(call.L, 1)
        return 1
    }

    /// `panini.validator(fields [, options])`.
    func validator(_ call: HostCall) throws(UsageError) -> CInt {
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError(
                "panini.validator: takes a table of fields, as in panini.validator{ id = { type = \"integer\" } }, not \(call.typeName(1))"
            )
        }
        let options = try LuaOptions(call, 2, known: ["unknown", "max_violations", "pattern_steps"])
        let violationLimit = try options.integer("max_violations", in: 1...10_000, or: "from 1 to 10000") ?? 100
        let patternSteps =
            try options.integer("pattern_steps", in: 1...1_000_000_000, or: "from 1 to 1000000000") ?? 1_000_000
        let refusesUnknown = try options.oneOf("unknown", ["refuse", "pass"]) == "refuse"
        var builder = ValidatorBuilder(call)
        try builder.build(
            fields: 1,
            refusesUnknown: refusesUnknown,
            violationLimit: Int32(violationLimit),
            patternSteps: Int64(patternSteps)
        )
        return 1
    }

    func jsonSchema(_ call: HostCall) throws(UsageError) -> CInt {
        let L = call.L
        guard panini_validator_at(L, 1, validators.type) != nil else {
            throw UsageError("call it with a colon: validator:json_schema()")
        }
        lua_getiuservalue(L, 1, 1)
        lua_rawgeti(L, -1, lua_Integer(PANINI_VALIDATOR_SCHEMA))
        let length = Int(lua_rawlen(L, -1))
        // The members, the text around them, and what it becomes in Lua.
        try call.requireRoom(for: 3 * length)
        let members = vm.string(L, -1) ?? ""
        let text = "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\",\(members)}"
        do throws(LuaJSONError) {
            try vm.pushJSON(text: text, onto: L)
        } catch {
            throw UsageError("validator:json_schema: \(error.description)")
        }
        return 1
    }

    // MARK: - Listeners

    /// Whether the options at an index name a validator; refuses what does not go with one.
    func hasValidator(_ call: HostCall, _ index: CInt, dataType: DataType) throws(UsageError) -> Bool {
        let L = call.L
        let type = vm.pushRawField(L, index, "validator")
        let isValidator = panini_validator_at(L, -1, validators.type) != nil
        let invalid = vm.pushRawField(L, index, "on_invalid")
        defer { lua_settop(L, -3) }
        guard type == LUA_TNIL || isValidator else {
            throw UsageError(
                "\(call.name): validator must be made with panini.validator{...}, not \(call.typeName(-2))"
            )
        }
        guard invalid == LUA_TNIL || invalid == LUA_TFUNCTION else {
            throw UsageError("\(call.name): on_invalid must be a function, not \(call.typeName(-1))")
        }
        guard isValidator || invalid == LUA_TNIL else { throw UsageError("\(call.name): on_invalid needs a validator") }
        guard !isValidator || dataType == .json else {
            throw UsageError("\(call.name): a validator looks at JSON; it does not go with another data_type")
        }
        return isValidator
    }

    /// The handler behind its validator, as one function of the message.
    func guarded(
        _ call: HostCall,
        options: CInt,
        handler: RegisteredFunction,
        by host: UnsafeMutablePointer<panini_guard_host>
    ) -> RegisteredFunction {
        let L = call.L
        vm.push(handler.function, onto: L)
        vm.release(handler.function)
        vm.pushRawField(L, options, "validator")
        vm.pushRawField(L, options, "on_invalid")
        panini_validator_push_guard(L, host)
        return RegisteredFunction(function: vm.makeReference(L), origin: handler.origin)
    }

    /// A message has failed its validation.
    func messageIsInvalid(_ message: UnsafeMutablePointer<panini_message>) {
        message.pointee.flags |= UInt8(PANINI_MESSAGE_INVALID)
        service?.counters.validationFailed()
        messaging.listeners[message.pointee.owner]?.counters.invalid &+= 1
    }
}

/// Called by C when the value of the message at index 1 has failed.
let messageFailedValidation: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { L, context in
    guard let message = lua_touserdata(L, 1) else { return }
    Script.from(context).messageIsInvalid(message.assumingMemoryBound(to: panini_message.self))
}
