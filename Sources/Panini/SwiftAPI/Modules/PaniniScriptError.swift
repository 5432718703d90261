// Owns: how a Swift function tells a script that something went wrong. Plain values; any thread.

import ScriptRuntime

/// What a Swift function throws when it could not do what it was asked to: the script's call returns `nil, err`.
///
/// That is how every call of a script reports a failure of the outside world. An error of another type is a bug or a
/// surprise, and is raised at the script's line; so is ``PaniniMisuse``, for a call that was wrong in itself.
///
/// ```swift
/// module.function("find") { (id: Int) throws -> Order in
///     guard let order = store[id] else { throw PaniniScriptError(code: 404, "no order \(id)") }
///     return order
/// }
/// ```
public struct PaniniScriptError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `err.code` in the script.
    public enum Code: Hashable, Sendable, ExpressibleByIntegerLiteral, ExpressibleByStringLiteral {
        /// A number; from 400 to 599 it is the code of the error reply, when a handler returns the error.
        case number(Int64)
        /// A word such as `full`.
        case text(String)

        /// A number.
        public init(integerLiteral value: Int64) { self = .number(value) }

        /// A word.
        public init(stringLiteral value: String) { self = .text(value) }
    }

    /// `err.code`.
    public let code: Code
    /// `err.message`, and what `tostring(err)` gives.
    public let message: String

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - code: What scripts decide by.
    ///   - message: One line for people.
    public init(code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}

/// What a Swift function throws for a call that is wrong in itself: raised at the script's line.
public struct PaniniMisuse: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong; the function's name is put in front.
    public let message: String

    /// Makes one.
    ///
    /// - Parameter message: One line: `the range is empty`.
    public init(_ message: String) { self.message = message }

    /// The message.
    public var description: String { message }
}

extension CallError {
    init(_ error: PaniniScriptError) {
        switch error.code {
        case .number(let number): self.init(.number(number), error.message)
        case .text(let text): self.init(text, error.message)
        }
    }
}
