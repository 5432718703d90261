// Owns: the options table of one call from Lua, read by name with types and bounds, and what is said of a wrong value. Worker's
// thread, during the call. Knows no function of the host.

import Bytes
import LuaVM

/// The options that a script has given in a call.
///
/// Read them in the order of their names: of several mistakes the first of these is told, whatever the order in which Lua has them.
package struct LuaOptions {
    /// How a value of another type is refused.
    package enum Refusal {
        /// `option "timeout" cannot be a table`.
        case cannotBe
        /// `timeout must be a number of seconds, not a table`.
        case mustBe
    }

    package let call: HostCall
    private let members: [(String, PlainValue)]
    private let refusal: Refusal

    /// Reads the table at an index, when there is one.
    ///
    /// - Throws: Its value is no table, is no plain data, or has a name that is not one of these.
    package init(_ call: HostCall, _ index: CInt, known: [String], _ refusal: Refusal = .cannotBe) throws(UsageError) {
        self.call = call
        self.refusal = refusal
        members = try call.options(index, known: known)
    }

    /// The value of an option; nil when there is none.
    package subscript(_ name: String) -> PlainValue? {
        // A handful of names: looking at each costs less than a table of them.
        members.first { $0.0 == name }?.1
    }

    // MARK: - Refusals

    /// A value of another type than this one.
    package func wrong(_ name: String, _ value: PlainValue, _ type: String) -> UsageError {
        switch refusal {
        case .cannotBe: UsageError("\(call.name): option \"\(name)\" cannot be \(value.typeName)")
        case .mustBe: must(name, "be \(type), not \(value.typeName)")
        }
    }

    /// `timeout must be more than nothing`.
    package func must(_ name: String, _ what: String) -> UsageError { UsageError("\(call.name): \(name) must \(what)") }

    // MARK: - Types

    /// True or false.
    package func flag(_ name: String) throws(UsageError) -> Bool? {
        guard let value = self[name] else { return nil }
        guard case .boolean(let flag) = value else { throw wrong(name, value, "true or false") }
        return flag
    }

    /// A text.
    package func text(_ name: String) throws(UsageError) -> String? {
        guard let value = self[name] else { return nil }
        guard case .string(let text) = value else { throw wrong(name, value, "a string") }
        return text
    }

    /// One of the given texts. The error quotes a text that is not among them.
    package func choice(_ name: String, of choices: [String]) throws(UsageError) -> String? {
        guard let text = try text(name) else { return nil }
        guard choices.holds(text) else {
            throw must(name, "be \(Self.list(choices)), not \"\(text.beginning(UsageError.longest))\"")
        }
        return text
    }

    /// One of the given texts. The error is the same for every other value.
    package func oneOf(_ name: String, _ choices: [String]) throws(UsageError) -> String? {
        guard let value = self[name] else { return nil }
        guard case .string(let text) = value, choices.holds(text) else {
            throw must(name, "be \(Self.list(choices))")
        }
        return text
    }

    /// A whole number. The error quotes a number that is out of range.
    package func integer(_ name: String, in range: ClosedRange<Int64>) throws(UsageError) -> Int? {
        guard let value = self[name] else { return nil }
        guard case .integer(let number) = value else { throw wrong(name, value, "a whole number") }
        guard range.contains(number) else {
            throw must(name, "be from \(range.lowerBound) to \(range.upperBound), not \(number)")
        }
        return Int(number)
    }

    /// A whole number in a range. The error is the same for every other value.
    package func integer(_ name: String, in range: ClosedRange<Int64>, or expected: String) throws(UsageError) -> Int? {
        guard let value = self[name] else { return nil }
        guard case .integer(let number) = value, range.contains(number) else { throw must(name, "be \(expected)") }
        return Int(number)
    }

    /// Seconds up to a year, as ``HostCall/seconds(_:_:)`` has them.
    package func seconds(_ name: String) throws(UsageError) -> Double? {
        guard let value = self[name] else { return nil }
        guard let seconds = Self.number(value) else { throw wrong(name, value, "a number of seconds") }
        return try HostCall.checkSeconds(seconds, "\(call.name): \(name)")
    }

    /// Seconds. The error quotes a number that is out of range.
    package func seconds(_ name: String, in range: ClosedRange<Double>) throws(UsageError) -> Double? {
        guard let value = self[name] else { return nil }
        guard let seconds = Self.number(value) else { throw wrong(name, value, "a number of seconds") }
        guard range.contains(seconds) else { throw must(name, "\(Self.secondsText(range)), not \(seconds)") }
        return seconds
    }

    /// Seconds; everything else is refused with the same words.
    package func onlySeconds(_ name: String, in range: ClosedRange<Double>) throws(UsageError) -> Double? {
        guard let value = self[name] else { return nil }
        guard let seconds = Self.number(value), range.contains(seconds) else {
            throw must(name, Self.secondsText(range))
        }
        return seconds
    }

    /// A list.
    package func list(_ name: String) throws(UsageError) -> [PlainValue]? {
        guard let value = self[name] else { return nil }
        guard case .array(let items) = value else { throw wrong(name, value, "a list") }
        return items
    }

    /// A list of texts, each of which is fine.
    ///
    /// - Parameter what: What they are called: `strings`.
    package func texts(
        _ name: String,
        called what: String,
        where isFine: (String) -> Bool
    ) throws(UsageError) -> [String]? {
        guard let items = try list(name) else { return nil }
        var texts: [String] = []
        for item in items {
            guard case .string(let text) = item, isFine(text) else { throw must(name, "be a list of \(what)") }
            texts.append(text)
        }
        return texts
    }

    /// A table with names.
    ///
    /// - Parameter type: What it is called: `a table of strings`.
    package func table(_ name: String, called type: String = "a table") throws(UsageError) -> [(String, PlainValue)]? {
        guard let value = self[name] else { return nil }
        switch value {
        case .object(let members): return members
        case .array(let items) where items.isEmpty: return []
        default: throw wrong(name, value, type)
        }
    }

    private static func number(_ value: PlainValue) -> Double? {
        switch value {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    private static func secondsText(_ range: ClosedRange<Double>) -> String {
        "be a number of seconds from \(formatted(range.lowerBound)) to \(formatted(range.upperBound))"
    }

    private static func list(_ choices: [String]) -> String {
        choices.map { "\"\($0)\"" }.joined(separator: " or ")
    }
}
