// Owns: checking option values, from a script's table or from text (command line, environment). Pure; any thread.

import ScriptRuntime

/// A wrong option: a text that says which and why, without the place (the caller knows it).
struct OptionError: Error {
    let message: String
}

extension OptionDefinition {
    /// Checks a value that a script or a JSON file gave.
    func check(_ value: PlainValue) throws(OptionError) -> OptionValue { try checking.check(value) }

    /// Checks a value that came as text: a flag, an environment variable.
    func parse(_ text: String) throws(OptionError) -> OptionValue { try checking.parse(text) }

    private var checking: OptionCheck { OptionCheck(name: name, kind: kind) }

    /// What is wrong with a value that came as text; nil when it is fine.
    package func problem(with text: String) -> String? {
        do throws(OptionError) {
            _ = try parse(text)
            return nil
        } catch {
            return error.message
        }
    }

    /// The same for a list of texts.
    package func problem(with texts: [String]) -> String? {
        do throws(OptionError) {
            _ = try check(.array(texts.map { .string($0) }))
            if name == "servers" { try MergedOptions.checkServers(texts) }
            return nil
        } catch {
            return error.message
        }
    }

    /// Yes and no as texts say them; nil for every other text.
    package static func boolean(_ text: String) -> Bool? {
        switch text.lowercased() {
        case "true", "yes", "on", "1": true
        case "false", "no", "off", "0": false
        default: nil
        }
    }
}

/// What the value of a name must be: of an option of the app, or of one of a call.
struct OptionCheck {
    let name: String
    let kind: OptionDefinition.Kind

    /// Checks a value that a script or a JSON file gave.
    func check(_ value: PlainValue) throws(OptionError) -> OptionValue {
        switch (kind, value) {
        case (.string, .string(let text)), (.path, .string(let text)):
            return .string(text)
        case (.choice(let choices), .string(let text)):
            guard choices.contains(text) else {
                throw wrong("must be \(choices.map { "\"\($0)\"" }.joined(separator: " or ")), not \"\(text)\"")
            }
            return .string(text)
        case (.integer(let range), .integer(let number)):
            return .integer(try checkRange(number, range))
        case (.integer(let range), .number(let number)):
            guard let exact = Int64(exactly: number) else { throw wrong("must be a whole number, not \(number)") }
            return .integer(try checkRange(exact, range))
        case (.number(let range), .integer(let number)):
            return .number(try checkRange(Double(number), range))
        case (.number(let range), .number(let number)):
            return .number(try checkRange(number, range))
        case (.boolean, .boolean(let flag)):
            return .boolean(flag)
        case (.size(let range), .integer(let bytes)):
            return .integer(try checkRange(bytes, range))
        case (.size(let range), .string(let text)):
            guard let bytes = parseSize(text) else {
                throw wrong("must be a number of bytes or a text such as \"64MB\", not \"\(text)\"")
            }
            return .integer(try checkRange(bytes, range))
        case (.list, .string(let text)):
            return .list([text])
        case (.list, .array(let items)):
            return .list(try texts(items))
        case (.map, .object(let entries)):
            var map: [String: String] = [:]
            for (key, item) in entries {
                guard case .string(let text) = item else {
                    throw wrong("must hold texts only; \"\(key)\" is \(item.typeName)")
                }
                map[key] = text
            }
            return .map(map)
        case (.map, .array(let items)) where items.isEmpty:
            return .map([:])
        case (.list, .object(let entries)) where entries.isEmpty:
            return .list([])
        default:
            throw wrong("must be \(expectation), not \(value.typeName)")
        }
    }

    /// Checks a value that came as text: a flag, an environment variable.
    func parse(_ text: String) throws(OptionError) -> OptionValue {
        switch kind {
        case .string, .path, .choice:
            return try check(.string(text))
        case .integer, .size:
            if let number = Int64(text) { return try check(.integer(number)) }
            if case .size = kind { return try check(.string(text)) }
            throw wrong("must be \(expectation), not \"\(text)\"")
        case .number:
            guard let number = Double(text), number.isFinite else {
                throw wrong("must be \(expectation), not \"\(text)\"")
            }
            return try check(.number(number))
        case .boolean:
            guard let flag = OptionDefinition.boolean(text) else {
                throw wrong("must be true or false, not \"\(text)\"")
            }
            return .boolean(flag)
        case .list:
            return .list(text.split(separator: ",").map { String($0.trimmingSpaces()) })
        case .map:
            var map: [String: String] = [:]
            for pair in text.split(separator: ",") {
                guard let sign = pair.firstIndex(of: "=") else {
                    throw wrong("must be name=text pairs with commas between")
                }
                map[String(pair[..<sign].trimmingSpaces())] = String(pair[pair.index(after: sign)...])
            }
            return .map(map)
        }
    }

    private var expectation: String {
        switch kind {
        case .string, .path, .choice: "a string"
        case .integer: "a whole number"
        case .number: "a number"
        case .boolean: "true or false"
        case .size: "a number of bytes"
        case .list: "a list of strings"
        case .map: "a table of strings by name"
        }
    }

    private func wrong(_ text: String) -> OptionError { OptionError(message: "option \"\(name)\" \(text)") }

    private func texts(_ items: [PlainValue]) throws(OptionError) -> [String] {
        var result: [String] = []
        for (index, item) in items.enumerated() {
            guard case .string(let text) = item else {
                throw wrong("must hold strings only; entry \(index + 1) is \(item.typeName)")
            }
            result.append(text)
        }
        return result
    }

    private func checkRange<Number: Comparable>(
        _ value: Number,
        _ range: ClosedRange<Number>
    ) throws(OptionError) -> Number {
        guard range.contains(value) else {
            throw wrong("must be from \(range.lowerBound) to \(range.upperBound), not \(value)")
        }
        return value
    }
}

/// Reads "64MB", "10 KB", "512": powers of 1024, no sign, no fraction.
package func parseSize(_ text: String) -> Int64? {
    let trimmed = text.trimmingSpaces()
    let digits = trimmed.prefix { $0.isASCII && $0.isNumber }
    guard !digits.isEmpty, let number = Int64(digits) else { return nil }
    let factor: Int64
    switch trimmed.dropFirst(digits.count).trimmingSpaces().uppercased() {
    case "", "B": factor = 1
    case "KB": factor = 1 << 10
    case "MB": factor = 1 << 20
    case "GB": factor = 1 << 30
    default: return nil
    }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: factor)
    return overflow ? nil : bytes
}

extension StringProtocol {
    /// The text without white space at its ends.
    func trimmingSpaces() -> SubSequence {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace })
        else {
            return self[endIndex...]
        }
        return self[first...last]
    }
}
