// Owns: compiling the tables of `panini.validator{...}` into rules, constants and a JSON Schema. Worker's thread, during one
// call from Lua. Tables are read raw, with calls that cannot raise.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import NATSProtocol
import ScriptRuntime

/// Builds one validator; its table of constants lies on the stack meanwhile.
struct ValidatorBuilder {
    static let fieldOptions = [
        "type", "many", "null", "default", "optional", "min", "max", "enum", "pattern", "items", "check",
    ]
    static let maximumWeight: Int32 = 10_000
    /// The longest JSON Schema of a validator, in bytes.
    static let longestSchema = 8 << 20
    /// The longest name of a field, in bytes.
    static let longestName = 65_536

    let call: HostCall
    let L: OpaquePointer
    let vm: LuaVM
    /// Stack index of the constants.
    let constants: CInt
    var nextSlot = CInt(PANINI_VALIDATOR_SLOTS_FIRST)
    var rules: [panini_rule] = []
    var depth: Int32 = 1
    var weight: Int32 = 0
    /// What may still be copied out of Lua, and joined here.
    private var allowance: CopyAllowance
    /// How long the schema is by now, in bytes.
    private var schemaLength = 0

    /// A rule and its part of the schema: members of an object, ready to be joined.
    struct Compiled {
        var rule: panini_rule
        var type: FieldType
        var members: [String]
    }

    init(_ call: HostCall) {
        self.call = call
        L = call.L
        vm = call.script.vm
        allowance = CopyAllowance(vm)
        lua_createtable(L, 8, 0)
        constants = lua_gettop(L)
    }

    // MARK: - Memory

    /// Takes the bytes of a copy that is about to be made.
    mutating func take(_ bytes: Int) throws(UsageError) { try allowance.take(bytes, for: call.name) }

    /// Takes the bytes of a part of the schema.
    mutating func takeSchema(_ bytes: Int, _ place: String) throws(UsageError) {
        schemaLength += bytes
        guard schemaLength <= Self.longestSchema else {
            throw misuse(place, "the validator's JSON Schema is longer than \(Self.longestSchema >> 20) MiB")
        }
        try take(bytes)
    }

    /// The members of an object of the schema as one text; it is a copy of them.
    mutating func joined(_ members: [String]) throws(UsageError) -> String {
        try take(members.reduce(0) { $0 + $1.utf8.count + 1 })
        return members.joined(separator: ",")
    }

    /// The JSON text of the value at an index, as a part of the schema; nil when it has none.
    mutating func schemaText(_ index: CInt, _ place: String) throws(UsageError) -> String? {
        let most = Self.longestSchema - schemaLength
        let writer = ByteWriter()
        do throws(LuaJSONError) {
            // The text is there twice for a moment.
            try vm.encodeJSON(L, index, into: writer, limit: min(most + 1, allowance.rest / 2))
        } catch {
            if error.kind == .memory {
                // Which of the two bounds was it?
                try takeSchema(min(most + 1, allowance.rest / 2) + 1, place)
                throw misuse(place, LuaVM.memoryText)
            }
            guard error.kind != .time else { throw misuse(place, error.description) }
            return nil
        }
        try takeSchema(writer.count, place)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    func misuse(_ place: String, _ text: String) -> UsageError { UsageError("\(call.name): \(place)\(text)") }

    /// Pops the value on top into the constants.
    mutating func keep() -> Int32 {
        lua_rawseti(L, constants, lua_Integer(nextSlot))
        nextSlot += 1
        return nextSlot - 1
    }

    mutating func keep(_ text: String) -> Int32 {
        vm.pushString(L, text)
        return keep()
    }

    /// The JSON text of the value at an index; nil when it has none.
    func json(_ index: CInt) -> String? {
        let writer = ByteWriter()
        do throws(LuaJSONError) {
            try vm.encodeJSON(L, index, into: writer)
        } catch {
            return nil
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    static func quoted(_ text: String) -> String {
        JSONText.string(text).written()
    }

    // MARK: - A validator

    /// Compiles the table of fields at an index, and pushes the validator in place of the constants.
    mutating func build(
        fields: CInt,
        refusesUnknown: Bool,
        violationLimit: Int32,
        patternSteps: Int64
    ) throws(UsageError) {
        let names = try fieldNames(fields)
        rules = Array(repeating: panini_rule(), count: names.count)
        lua_createtable(L, 0, CInt(names.count))
        var properties: [String] = []
        var required: [String] = []
        for (position, name) in names.enumerated() {
            vm.pushString(L, name)
            lua_pushboolean(L, 1)
            lua_rawset(L, constants + 1)
            vm.pushString(L, name)
            lua_rawget(L, fields)
            // Errors show no more of a name than this.
            let place = "field \"\(name.beginning(UsageError.longest))\": "
            var compiled = try field(lua_gettop(L), place, depth: 1)
            lua_settop(L, constants + 1)
            vm.pushString(L, name)
            let bytes = vm.stringBytes(L, -1) ?? emptyBytes
            compiled.rule.name = bytes.bindMemory(to: CChar.self).baseAddress
            compiled.rule.name_length = bytes.count
            compiled.rule.name_slot = keep()
            rules[position] = compiled.rule
            let quoted = Self.quoted(name)
            try takeSchema(quoted.utf8.count + 4, place)
            properties.append("\(quoted):{\(try joined(compiled.members))}")
            if compiled.rule.flags & UInt8(PANINI_RULE_OPTIONAL) == 0, compiled.rule.default_slot == 0 {
                try takeSchema(quoted.utf8.count + 1, place)
                required.append(quoted)
            }
        }
        lua_rawseti(L, constants, lua_Integer(PANINI_VALIDATOR_NAMES))
        guard weight <= Self.maximumWeight else {
            throw misuse("", "more than \(Self.maximumWeight) fields, those of nested validators counted")
        }
        var schema = "\"properties\":{\(try joined(properties))}"
        if !required.isEmpty { schema += ",\"required\":[\(try joined(required))]" }
        if refusesUnknown { schema += ",\"additionalProperties\":false" }
        try call.requireRoom(for: schema.utf8.count)
        vm.pushString(L, schema)
        lua_rawseti(L, constants, lua_Integer(PANINI_VALIDATOR_SCHEMA))
        let validator = panini_validator_push(L, call.script.validators.type, CInt(rules.count)).unsafelyUnwrapped
        validator.pointee.field_count = Int32(names.count)
        validator.pointee.depth = depth
        validator.pointee.weight = weight
        validator.pointee.violation_limit = violationLimit
        validator.pointee.refuses_unknown = refusesUnknown ? 1 : 0
        validator.pointee.pattern_steps = patternSteps
        let storage = panini_validator_rules(validator).unsafelyUnwrapped
        for (index, rule) in rules.enumerated() { storage[index] = rule }
        try checkDefaults(names)
    }

    /// The names in order, so that violations have one.
    private mutating func fieldNames(_ fields: CInt) throws(UsageError) -> [String] {
        try countFields(fields)
        var names: [String] = []
        lua_pushnil(L)
        while panini_next(L, fields) != 0 {
            lua_settop(L, -2)
            guard let bytes = vm.stringBytes(L, -1) else {
                throw misuse("", "fields must have names, as in panini.validator{ id = { type = \"integer\" } }")
            }
            guard bytes.count <= Self.longestName else {
                throw misuse("", "a field's name is longer than \(Self.longestName) bytes")
            }
            // The name, and its place in the list.
            try take(bytes.count + 64)
            guard let name = String(validating: bytes, as: UTF8.self) else {
                throw misuse("", "a field's name is not valid UTF-8")
            }
            names.append(name)
        }
        return try call.sorted(names, by: ByteOrder.precedes)
    }

    /// Refuses too many fields before any of their names is copied.
    private func countFields(_ fields: CInt) throws(UsageError) {
        var count = 0
        lua_pushnil(L)
        while panini_next(L, fields) != 0 {
            lua_settop(L, -2)
            count += 1
            guard count <= Self.maximumWeight else {
                throw misuse("", "more than \(Self.maximumWeight) fields, those of nested validators counted")
            }
        }
    }

    /// A default must pass the field's own rule; it is filled in as messages would be.
    private func checkDefaults(_ names: [String]) throws(UsageError) {
        let validator = lua_gettop(L)
        guard lua_checkstack(L, 1000) != 0 else { throw misuse("", "the Lua stack is full") }
        for (index, name) in names.enumerated() where rules[index].default_slot != 0 {
            lua_getiuservalue(L, validator, 1)
            lua_rawgeti(L, validator + 1, lua_Integer(rules[index].default_slot))
            let isAccepted = panini_validator_try_rule(L, validator, CInt(index), validator + 2) != 0
            guard !isAccepted else {
                lua_settop(L, validator)
                continue
            }
            let path = vm.string(L, -2) ?? ""
            throw misuse("field \"\(name)\": ", "default\(path.isEmpty ? "" : " (\(path))") \(vm.string(L, -1) ?? "")")
        }
    }

    // MARK: - A field

    /// Compiles the field at an index.
    mutating func field(
        _ index: CInt,
        _ place: String,
        depth level: Int32,
        isItem: Bool = false
    ) throws(UsageError) -> Compiled {
        guard lua_checkstack(L, 40) != 0, level < PANINI_VALIDATOR_DEPTH else {
            throw misuse(place, "nested deeper than \(PANINI_VALIDATOR_DEPTH) levels")
        }
        guard lua_type(L, index) == LUA_TTABLE else {
            let hint = lua_type(L, index) == LUA_TUSERDATA ? "{ type = validator }" : "{ type = \"string\" }"
            throw misuse(place, "must be a table, as in \(hint), not \(call.typeName(index))")
        }
        try checkNames(index, place)
        weight += 1
        guard weight <= Self.maximumWeight else {
            throw misuse("", "more than \(Self.maximumWeight) fields, those of nested validators counted")
        }
        // The rule, and small parts of the schema.
        try take(MemoryLayout<panini_rule>.stride + 256)
        depth = max(depth, level)
        let isMany = try flag("many", index, place)
        var compiled: Compiled
        if isMany {
            let element = try value(index, place, depth: level + 1)
            rules.append(element.rule)
            compiled = Compiled(rule: panini_rule(), type: .array, members: [])
            compiled.rule.type = FieldType.array.code
            compiled.rule.items = Int32(rules.count - 1)
            var members = element.members
            members.insert(contentsOf: Self.typeMember(element.type, isNullable: false), at: 0)
            compiled.members = ["\"items\":{\(try joined(members))}"]
        } else {
            compiled = try value(index, place, depth: level)
        }
        try presence(&compiled, index, place, isItem: isItem)
        return compiled
    }

    private func checkNames(_ index: CInt, _ place: String) throws(UsageError) {
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            lua_settop(L, -2)
            guard let bytes = vm.stringBytes(L, -1) else { throw misuse(place, "options must have names") }
            // What is longer is unknown, and is not shown in full.
            let name = String(decoding: bytes.prefix(UsageError.longest), as: UTF8.self)
            guard Self.fieldOptions.contains(name) else {
                throw misuse(place, "unknown option \"\(name)\"" + suggestion(for: name, in: Self.fieldOptions))
            }
        }
    }

    private func flag(_ name: StaticString, _ index: CInt, _ place: String) throws(UsageError) -> Bool {
        let type = vm.pushRawField(L, index, name)
        let isSet = lua_toboolean(L, -1) != 0
        lua_settop(L, -2)
        guard type == LUA_TBOOLEAN || type == LUA_TNIL else { throw misuse(place, "\(name) must be true or false") }
        return isSet
    }

    /// `null`, `optional` and `default`, and the schema's type.
    private mutating func presence(
        _ compiled: inout Compiled,
        _ index: CInt,
        _ place: String,
        isItem: Bool
    ) throws(UsageError) {
        let isNullable = try flag("null", index, place)
        if isNullable { compiled.rule.flags |= UInt8(PANINI_RULE_NULL) }
        compiled.members.insert(contentsOf: Self.typeMember(compiled.type, isNullable: isNullable), at: 0)
        if isNullable, let choices = compiled.members.firstIndex(where: { $0.hasPrefix("\"enum\":[") }) {
            // As bytes: characters may be long.
            compiled.members[choices] = "\(Substring(compiled.members[choices].utf8.dropLast())),null]"
        }
        let isOptional = try flag("optional", index, place)
        let hasDefault = vm.pushRawField(L, index, "default") != LUA_TNIL
        defer { lua_settop(L, -2) }
        guard !isItem || !(isOptional || hasDefault) else {
            throw misuse(place, "an element of an array can be neither optional nor have a default")
        }
        if isOptional { compiled.rule.flags |= UInt8(PANINI_RULE_OPTIONAL) }
        guard hasDefault else { return }
        guard let text = try schemaText(-1, place) else {
            throw misuse(place, "the default must be plain data that JSON can hold")
        }
        // A copy of its own: later changes of the script's table are not the default's.
        do throws(LuaJSONError) {
            try vm.pushJSON(text: text, onto: L)
        } catch {
            throw misuse(place, "the default cannot be used: \(error.description)")
        }
        if compiled.type == .array, text == "{}" { vm.markArray(L, -1) }
        compiled.rule.default_slot = keep()
        compiled.members.append("\"default\":\(compiled.type == .array && text == "{}" ? "[]" : text)")
    }

    private static func typeMember(_ type: FieldType, isNullable: Bool) -> [String] {
        let names = type.schemaTypes(isNullable: isNullable).map { "\"\($0)\"" }
        guard names.count != 1 else { return ["\"type\":\(names[0])"] }
        return names.isEmpty ? [] : ["\"type\":[\(names.joined(separator: ","))]"]
    }
}

extension LuaVM {
    /// Reads the JSON text of a Swift string and pushes its value; pushes nothing when it throws.
    func pushJSON(text: String, onto L: OpaquePointer) throws(LuaJSONError) {
        var text = text
        var failure: LuaJSONError?
        text.withUTF8 { bytes in
            do throws(LuaJSONError) {
                try pushJSON(UnsafeRawBufferPointer(bytes), onto: L)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}
