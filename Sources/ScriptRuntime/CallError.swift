// Owns: the errors that calls return to scripts, and how an error becomes an error reply. Pure values; any thread.

package import LuaVM

/// What `nil, err` carries: a stable code and a text.
package struct CallError: Error, Equatable {
    package enum Code: Equatable {
        case text(String)
        case number(Int64)
    }

    package let code: Code
    package let message: String

    package init(_ code: String, _ message: String) {
        self.code = .text(code)
        self.message = message
    }

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// There is no connection that takes what is sent, now or for good.
    package var isLoss: Bool { code == .text("disconnected") || code == .text("closed") }

    package static func timeout(_ what: String, seconds: Double) -> CallError {
        CallError("timeout", "\(what): no answer within \(formatted(seconds)) s")
    }
}

/// The error reply of a failed request (the number of `Nats-Service-Error-Code`, and the text).
public struct ReplyError: Equatable, Sendable {
    package let code: Int
    package let message: String
    /// JSON of the list `errors`; empty when there is none.
    package var errors: [UInt8] = []

    /// The number on the wire for an error that a script returned or raised.
    ///
    /// Numbers from 400 to 599 go out as they are. Codes of our own calls become the number that says the same.
    package init(code: LuaError.Code?, message: String, errors: [UInt8] = []) {
        self.errors = errors
        switch code {
        case .integer(let number) where (400...599).contains(number): self.code = Int(number)
        case .string("timeout"): self.code = 504
        case .string("no_responders"), .string("disconnected"), .string("closed"): self.code = 503
        default: self.code = 500
        }
        self.message = message
    }

    package init(_ code: Int, _ message: String) {
        self.code = code
        self.message = message
    }

    package static let internalError = ReplyError(500, "internal error")
    package static let overBudget = ReplyError(504, "the handler took too much CPU time and was ended")
    package static let overloaded = ReplyError(429, "overloaded: too many messages are waiting")
    package static let reloaded = ReplyError(
        503,
        "the service was reloaded, and the handler of the version before did not end in time"
    )
    package static let stopping = ReplyError(503, "the service is stopping")
}

/// Seconds as people write them: 0.25, 5, 30.
package func formatted(_ seconds: Double) -> String {
    if let whole = Int(exactly: seconds) { return String(whole) }
    return String(seconds)
}
