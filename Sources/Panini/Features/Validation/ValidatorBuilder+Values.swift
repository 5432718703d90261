// Owns: the part of a validator's compilation that says what one value must be: type, bounds, choices, pattern, items, check.
// Worker's thread, during one call from Lua.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import ScriptRuntime

extension ValidatorBuilder {
    /// Compiles everything but `many`, `null`, `optional` and `default`.
    mutating func value(_ index: CInt, _ place: String, depth level: Int32) throws(UsageError) -> Compiled {
        var compiled = Compiled(rule: panini_rule(), type: .any, members: [])
        compiled.rule.items = -1
        compiled.type = try type(index, place, depth: level, &compiled)
        compiled.rule.type = compiled.type.code
        try bounds(&compiled, index, place)
        try choices(&compiled, index, place)
        try pattern(&compiled, index, place)
        try items(&compiled, index, place, depth: level)
        switch vm.pushRawField(L, index, "check") {
        case LUA_TNIL: lua_settop(L, -2)
        case LUA_TFUNCTION: compiled.rule.check_slot = keep()
        default: throw misuse(place, "check must be a function, not \(call.typeName(-1))")
        }
        return compiled
    }

    private mutating func type(
        _ index: CInt,
        _ place: String,
        depth level: Int32,
        _ compiled: inout Compiled
    ) throws(UsageError) -> FieldType {
        vm.pushRawField(L, index, "type")
        if let bytes = vm.stringBytes(L, -1) {
            // What is longer is unknown, and is not shown in full.
            let name = String(decoding: bytes.prefix(UsageError.longest), as: UTF8.self)
            lua_settop(L, -2)
            if let type = FieldType(name: name) { return type }
            if let ours = FieldType.elsewhere[name] {
                throw misuse(place, "unknown type \"\(name)\"; did you mean \"\(ours)\"?")
            }
            throw misuse(place, "unknown type \"\(name)\"" + suggestion(for: name, in: FieldType.names))
        }
        guard let nested = panini_validator_at(L, -1, call.script.validators.type) else {
            guard lua_type(L, -1) != LUA_TNIL else {
                throw misuse(
                    place,
                    "type is missing; known: \(FieldType.names.joined(separator: ", ")), or a validator"
                )
            }
            throw misuse(place, "type must be a name or a validator, not \(call.typeName(-1))")
        }
        weight += nested.pointee.weight
        depth = max(depth, level + nested.pointee.depth)
        guard depth < PANINI_VALIDATOR_DEPTH else {
            throw misuse(place, "validators are nested deeper than \(PANINI_VALIDATOR_DEPTH) levels")
        }
        guard weight <= Self.maximumWeight else {
            throw misuse(place, "more than \(Self.maximumWeight) fields, those of nested validators counted")
        }
        lua_getiuservalue(L, -1, 1)
        lua_rawgeti(L, -1, lua_Integer(PANINI_VALIDATOR_SCHEMA))
        try takeSchema(Int(lua_rawlen(L, -1)), place)
        compiled.members.append(vm.string(L, -1) ?? "")
        lua_settop(L, -3)
        compiled.rule.validator_slot = keep()
        return .validator
    }

    // MARK: - Bounds

    private mutating func bounds(_ compiled: inout Compiled, _ index: CInt, _ place: String) throws(UsageError) {
        vm.pushRawField(L, index, "min")
        vm.pushRawField(L, index, "max")
        defer { lua_settop(L, -3) }
        let minimum = lua_gettop(L) - 1
        let maximum = minimum + 1
        let hasMinimum = !call.isNone(minimum)
        let hasMaximum = !call.isNone(maximum)
        guard hasMinimum || hasMaximum else { return }
        guard let measure = compiled.type.measure else {
            throw misuse(place, "\(hasMinimum ? "min" : "max") does not go with type \"\(compiled.type.name)\"")
        }
        var lower = -Double.infinity
        var upper = Double.infinity
        var areIntegers = true
        if hasMinimum {
            let text = try bound(minimum, "min", measure, place)
            lower = lua_tonumberx(L, minimum, nil)
            areIntegers = lua_isinteger(L, minimum) != 0
            compiled.rule.flags |= UInt8(PANINI_RULE_MINIMUM)
            compiled.rule.least = Int64(lua_tointegerx(L, minimum, nil))
            lua_pushvalue(L, minimum)
            compiled.rule.minimum_slot = keep()
            compiled.rule.minimum_text_slot = keep(Self.boundText("at least", text, measure))
            compiled.members.append("\"\(Self.keyword(measure, isMinimum: true))\":\(text)")
        }
        if hasMaximum {
            let text = try bound(maximum, "max", measure, place)
            upper = lua_tonumberx(L, maximum, nil)
            areIntegers = areIntegers && lua_isinteger(L, maximum) != 0
            compiled.rule.flags |= UInt8(PANINI_RULE_MAXIMUM)
            compiled.rule.most = Int64(lua_tointegerx(L, maximum, nil))
            lua_pushvalue(L, maximum)
            compiled.rule.maximum_slot = keep()
            compiled.rule.maximum_text_slot = keep(Self.boundText("at most", text, measure))
            compiled.members.append("\"\(Self.keyword(measure, isMinimum: false))\":\(text)")
        }
        let isCrossed =
            hasMinimum && hasMaximum && areIntegers ? compiled.rule.least > compiled.rule.most : lower > upper
        guard !isCrossed else { throw misuse(place, "min is larger than max") }
        if areIntegers { compiled.rule.flags |= UInt8(PANINI_RULE_INTEGER_BOUNDS) }
    }

    /// Checks a bound; its text.
    private func bound(
        _ index: CInt,
        _ name: String,
        _ measure: FieldType.Measure,
        _ place: String
    ) throws(UsageError) -> String {
        guard lua_type(L, index) == LUA_TNUMBER, lua_tonumberx(L, index, nil).isFinite, let text = json(index) else {
            throw misuse(place, "\(name) must be a number, not \(call.typeName(index))")
        }
        guard measure != .value else { return text }
        var isExact: CInt = 0
        let length = lua_tointegerx(L, index, &isExact)
        guard isExact != 0, length >= 0 else { throw misuse(place, "\(name) must be a length: 0, 1, 2, ...") }
        return String(length)
    }

    private static func boundText(_ relation: String, _ bound: String, _ measure: FieldType.Measure) -> String {
        switch measure {
        case .value: "must be \(relation) \(bound)"
        case .characters: "must have \(relation) \(bound) \(bound == "1" ? "character" : "characters")"
        case .elements: "must have \(relation) \(bound) \(bound == "1" ? "element" : "elements")"
        }
    }

    private static func keyword(_ measure: FieldType.Measure, isMinimum: Bool) -> String {
        switch measure {
        case .value: isMinimum ? "minimum" : "maximum"
        case .characters: isMinimum ? "minLength" : "maxLength"
        case .elements: isMinimum ? "minItems" : "maxItems"
        }
    }

    // MARK: - Choices

    private mutating func choices(_ compiled: inout Compiled, _ index: CInt, _ place: String) throws(UsageError) {
        let type = vm.pushRawField(L, index, "enum")
        defer { lua_settop(L, -2) }
        guard type != LUA_TNIL else { return }
        guard compiled.type.takesChoices else {
            throw misuse(place, "enum does not go with type \"\(compiled.type.name)\"")
        }
        let list = lua_gettop(L)
        let count = type == LUA_TTABLE ? Int(lua_rawlen(L, list)) : 0
        guard count > 0, let text = try schemaText(list, place), text.utf8.first == UInt8(ascii: "[") else {
            throw misuse(place, "enum must be a list of values, as in { \"small\", \"large\" }")
        }
        try call.requireRoom(for: count * 64)
        lua_createtable(L, 0, CInt(clamping: count))
        var shown: [String] = []
        for position in 1...count {
            if vm.isRunOver { break }
            lua_rawgeti(L, list, lua_Integer(position))
            guard isChoice(compiled.type) else {
                throw misuse(place, "enum: entry \(position) must be a \(compiled.type.name), not \(call.typeName(-1))")
            }
            if position <= 10 {
                try take(2 * Int(lua_type(L, -1) == LUA_TSTRING ? lua_rawlen(L, -1) : 0))
                shown.append(json(-1) ?? "")
            }
            lua_pushboolean(L, 1)
            lua_rawset(L, list + 1)
        }
        compiled.rule.choices_slot = keep()
        compiled.rule.choices_text_slot = keep(
            "must be one of \(shown.joined(separator: ", "))\(count > 10 ? ", ..." : "")"
        )
        compiled.members.append("\"enum\":\(text)")
    }

    private func isChoice(_ type: FieldType) -> Bool {
        let found = lua_type(L, -1)
        switch type {
        case .string: return found == LUA_TSTRING
        case .number: return found == LUA_TNUMBER
        case .boolean: return found == LUA_TBOOLEAN
        case .integer:
            var isExact: CInt = 0
            if found == LUA_TNUMBER { _ = lua_tointegerx(L, -1, &isExact) }
            return isExact != 0
        default: return found == LUA_TSTRING || found == LUA_TNUMBER || found == LUA_TBOOLEAN
        }
    }

    // MARK: - Pattern and items

    private mutating func pattern(_ compiled: inout Compiled, _ index: CInt, _ place: String) throws(UsageError) {
        let type = vm.pushRawField(L, index, "pattern")
        defer { lua_settop(L, -2) }
        guard type != LUA_TNIL else { return }
        guard compiled.type == .string else {
            throw misuse(place, "pattern does not go with type \"\(compiled.type.name)\"")
        }
        guard let bytes = vm.stringBytes(L, -1) else {
            throw misuse(place, "pattern must be a string, not \(call.typeName(-1))")
        }
        guard bytes.count <= LuaPattern.longestText else {
            throw misuse(place, "pattern is longer than \(LuaPattern.longestText) bytes")
        }
        try take(3 * bytes.count)
        let text = String(decoding: bytes, as: UTF8.self)
        let pattern: LuaPattern
        do throws(LuaPattern.Invalid) {
            pattern = try LuaPattern(Array(bytes))
        } catch {
            throw misuse(place, "pattern \"\(text)\" is not a Lua pattern: \(error.message)")
        }
        pattern.program.withUnsafeBytes { vm.pushString(L, $0) }
        compiled.rule.pattern = vm.stringBytes(L, -1)?.bindMemory(to: UInt8.self).baseAddress
        _ = keep()
        compiled.rule.pattern_text_slot = keep("must match the pattern \"\(text)\"")
        let member =
            if let expression = pattern.regularExpression {
                "\"pattern\":\(Self.quoted(expression))"
            } else {
                "\"$comment\":\(Self.quoted("Lua pattern: \(text)"))"
            }
        try takeSchema(member.utf8.count, place)
        compiled.members.append(member)
    }

    private mutating func items(
        _ compiled: inout Compiled,
        _ index: CInt,
        _ place: String,
        depth level: Int32
    ) throws(UsageError) {
        let type = vm.pushRawField(L, index, "items")
        defer { lua_settop(L, -2) }
        guard type != LUA_TNIL else { return }
        guard compiled.type == .array else {
            throw misuse(place, "items go with type \"array\" only, not with \"\(compiled.type.name)\"")
        }
        let element = try field(lua_gettop(L), place + "items: ", depth: level + 1, isItem: true)
        rules.append(element.rule)
        compiled.rule.items = Int32(rules.count - 1)
        compiled.members.append("\"items\":{\(try joined(element.members))}")
    }
}
