// Validators against an independent model: random schemas and values, the same violations at the same paths.

import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// A field as the model sees it.
private final class ModelField {
    var type = "any"
    var nested: [String: ModelField] = [:]
    var refusesUnknown = false
    var element: ModelField?
    var isNullable = false
    var isOptional = false
    var fallback: LuaValue?
    var minimum: Int?
    var maximum: Int?
    var choices: [LuaValue] = []

    /// What to write in Lua.
    var source: String {
        var parts = [type == "validator" ? "type = \(validatorSource)" : "type = \"\(type)\""]
        if let element { parts.append("items = \(element.source)") }
        if isNullable { parts.append("null = true") }
        if isOptional { parts.append("optional = true") }
        if case .integer(let number)? = fallback { parts.append("default = \(number)") }
        if let minimum { parts.append("min = \(minimum)") }
        if let maximum { parts.append("max = \(maximum)") }
        if !choices.isEmpty {
            let texts = choices.map { choice in
                if case .string(let text) = choice {
                    "\"\(text)\""
                } else {
                    "\(choice)".filter { "-0123456789".contains($0) }
                }
            }
            parts.append("enum = { \(texts.joined(separator: ", ")) }")
        }
        return "{ \(parts.joined(separator: ", ")) }"
    }

    var validatorSource: String {
        let fields = nested.map { "\($0.key) = \($0.value.source)" }.joined(separator: ", ")
        return "panini.validator({ \(fields) }, { unknown = \"\(refusesUnknown ? "refuse" : "pass")\" })"
    }

    /// Checks a value, and returns it with its defaults.
    func check(_ value: LuaValue, _ path: String, _ found: inout Set<String>) -> LuaValue {
        if value == .null {
            if !isNullable { found.insert("\(path) null") }
            return value
        }
        let before = found
        switch (type, value) {
        case ("any", _), ("boolean", .boolean): break
        case ("string", .string(let text)): bound(Double(text.unicodeScalars.count), path, &found)
        case ("integer", .integer(let number)): bound(Double(number), path, &found)
        case ("integer", .number(let number)) where Int64(exactly: number) != nil: bound(number, path, &found)
        case ("number", .integer(let number)): bound(Double(number), path, &found)
        case ("number", .number(let number)): bound(number, path, &found)
        case ("array", .table(let table)) where isList(table):
            bound(Double(table.count), path, &found)
            if let element, found == before || maximum.map({ table.count <= $0 }) != false {
                var result = table
                for position in 0..<table.count {
                    let key = LuaValue.integer(Int64(position + 1))
                    result[key] = element.check(table[key] ?? .nil, "\(path)[\(position + 1)]", &found)
                }
                return .table(result)
            }
        case ("object", .table(let table)) where table.isEmpty || !isList(table): break
        case ("validator", .table(let table)) where table.isEmpty || !isList(table):
            return .table(checkFields(table, path + ".", &found))
        default: found.insert("\(path) type")
        }
        if found == before || found.subtracting(before).allSatisfy({ !$0.hasSuffix("type") }), !choices.isEmpty,
            !choices.contains(where: { same($0, value) })
        {
            found.insert("\(path) enum")
        }
        return value
    }

    func checkFields(
        _ table: [LuaValue: LuaValue],
        _ prefix: String,
        _ found: inout Set<String>
    ) -> [LuaValue: LuaValue] {
        var result = table
        for (name, field) in nested {
            if let value = table[.string(name)] {
                result[.string(name)] = field.check(value, prefix + name, &found)
            } else if let fallback = field.fallback {
                result[.string(name)] = fallback
            } else if !field.isOptional {
                found.insert("\(prefix)\(name) required")
            }
        }
        if refusesUnknown {
            for case (.string(let name), _) in table where nested[name] == nil {
                found.insert("\(prefix)\(name) unknown")
            }
        }
        return result
    }

    private func isList(_ table: [LuaValue: LuaValue]) -> Bool {
        table.keys.allSatisfy { if case .integer = $0 { true } else { false } }
    }

    private func same(_ a: LuaValue, _ b: LuaValue) -> Bool {
        switch (a, b) {
        case (.integer(let x), .number(let y)), (.number(let y), .integer(let x)): Double(x) == y
        default: a == b
        }
    }

    private func bound(_ size: Double, _ path: String, _ found: inout Set<String>) {
        if let minimum, size < Double(minimum) { found.insert("\(path) min") }
        if let maximum, size > Double(maximum) { found.insert("\(path) max") }
    }
}

private struct Generator {
    var random: SplitMix64
    static let names = ["a", "b", "c", "d", "e", "f"]

    mutating func field(_ depth: Int, isElement: Bool = false) -> ModelField {
        let field = ModelField()
        let types = ["any", "string", "integer", "number", "boolean", "array", "object", "validator"]
        field.type = types[Int.random(in: 0..<(depth < 3 ? 8 : 5), using: &random)]
        if field.type == "validator" { fields(field, depth + 1) }
        if field.type == "array", chance(2) { field.element = self.field(depth + 1, isElement: true) }
        field.isNullable = chance(3)
        if !isElement { field.isOptional = chance(3) }
        if ["string", "integer", "number", "array"].contains(field.type) {
            if chance(2) { field.minimum = Int.random(in: 0...3, using: &random) }
            if chance(2) { field.maximum = Int.random(in: 3...5, using: &random) }
        }
        if field.type == "integer", !isElement, chance(3) { field.fallback = .integer(3) }
        if field.type == "string", chance(4) { field.choices = ["x", "äöü"] }
        if field.type == "integer", chance(4) { field.choices = [3, 4] }
        return field
    }

    mutating func fields(_ field: ModelField, _ depth: Int) {
        field.type = "validator"
        field.refusesUnknown = chance(2)
        for name in Self.names where chance(2) { field.nested[name] = self.field(depth) }
    }

    /// A value that fits more often than not, and goes wrong in every way.
    mutating func value(_ field: ModelField?, _ depth: Int) -> LuaValue {
        guard let field, !chance(8) else { return anything(depth) }
        switch field.type {
        case "string": return .string(["", "x", "äöü", "xxxx", "yyyyyy"].randomElement(using: &random) ?? "")
        case "integer": return chance(4) ? .number(Double(small())) : .integer(Int64(small()))
        case "number": return chance(2) ? .number(Double(small()) / 2) : .integer(Int64(small()))
        case "boolean": return .boolean(chance(2))
        case "array":
            return .list((0..<Int.random(in: 0...6, using: &random)).map { _ in value(field.element, depth + 1) })
        case "validator": return .table(object(field, depth))
        case "object": return ["k": 1]
        default: return anything(depth)
        }
    }

    mutating func object(_ field: ModelField, _ depth: Int) -> [LuaValue: LuaValue] {
        var table: [LuaValue: LuaValue] = [:]
        for name in Self.names where chance(field.nested[name] == nil ? 8 : 1) && !chance(6) {
            table[.string(name)] = value(field.nested[name], depth + 1)
        }
        return table
    }

    private mutating func anything(_ depth: Int) -> LuaValue {
        let values: [LuaValue] = [
            .null, true, false, 0, -1, 3, 2.5, 3.0, "", "x", ["p": 1], [1, "x"], .table([:]), .number(1e300),
        ]
        return values.randomElement(using: &random) ?? .null
    }

    private mutating func small() -> Int { Int.random(in: -2...7, using: &random) }

    mutating func chance(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &random) == 0 }
}

@Suite("Validators")
struct ValidatorTests {
    private func script() throws -> Script {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
    }

    @Test("random schemas and values: the model's violations, the model's defaults", arguments: 0..<25 as Range<UInt64>)
    func againstModel(seed: UInt64) throws {
        var generator = Generator(random: SplitMix64(state: seed))
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        var refusals = 0
        for _ in 0..<12 {
            let root = ModelField()
            generator.fields(root, 0)
            try vm.run(
                """
                local v = \(root.validatorSource)
                function validate(value)
                  local result, list = v:validate(value)
                  local found = {}
                  for _, one in ipairs(list or {}) do found[one.path .. " " .. one.code] = true end
                  return result, found
                end
                """
            )
            for _ in 0..<25 {
                let table = generator.object(root, 0)
                var expected: Set<String> = []
                let filled = root.checkFields(table, "", &expected)
                let results = try vm.callGlobal("validate", [.table(table)])
                let found: [LuaValue: LuaValue] = if case .table(let table) = results[1] { table } else { [:] }
                let seen = Set(found.keys.map { if case .string(let text) = $0 { text } else { "?" } })
                #expect(seen == expected, "\(root.validatorSource) on \(table)")
                if expected.isEmpty { #expect(results[0] == .table(filled)) } else { #expect(results[0] == .nil) }
                refusals += expected.isEmpty ? 0 : 1
            }
        }
        #expect(refusals > 20 && refusals < 300)
    }

    @Test("a validator keeps what it needs through collections, and checks in a chain are skipped upwards")
    func keeps() throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        try vm.run(
            """
            local inner = panini.validator{ s = { type = "string", pattern = "%a+", enum = { "ab" }, default = "ab",
              check = function(s) return s == "ab" end } }
            local ran = 0
            outer = panini.validator{ x = { type = inner, check = function() ran = ran + 1 return true end },
              y = { type = "integer", check = function() return false, "never" end, optional = true } }
            inner = nil
            function try(value) local r, l = outer:validate(value) return r and r.x.s or l[1].path, ran end
            """
        )
        for round in 1...5 {
            vm.collectGarbage()
            #expect(try vm.callGlobal("try", [["x": .table([:])]]) == ["ab", .integer(Int64(round))])
            #expect(try vm.callGlobal("try", [["x": ["s": "1"]]])[0] == "x.s")
        }
        #expect(try vm.callGlobal("try", [["x": .table([:]), "y": 1]])[0] == "y")
    }

    @Test("names that are no words, and long ones, show in paths as JSON errors show them")
    func paths() throws {
        let script = try script()
        let vm = script.vm
        defer { withExtendedLifetime(script) {} }
        let long = String(repeating: "ä", count: 40)
        try vm.run(
            """
            local v = panini.validator{ ["a b"] = { type = "string" }, ["\(long)"] = { type = "string" } }
            function paths(value) local _, l = v:validate(value) return l[1].path, l[2].path end
            """
        )
        #expect(
            try vm.callGlobal("paths", [.table([:])]) == [
                #"["a b"]"#, .string(String(repeating: "ä", count: 32) + "..."),
            ]
        )
    }
}
