// Owns: the errors that calls return to scripts, and how an error becomes an error reply. Pure values; any thread.

import LuaVM

/// What `nil, err` carries: a stable code and a text.
struct CallError: Error, Equatable {
    enum Code: Equatable {
        case text(String)
        case number(Int64)
    }

    let code: Code
    let message: String

    init(_ code: String, _ message: String) {
        self.code = .text(code)
        self.message = message
    }

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// There is no connection that takes what is sent, now or for good.
    var isLoss: Bool { code == .text("disconnected") || code == .text("closed") }

    static func timeout(_ what: String, seconds: Double) -> CallError {
        CallError("timeout", "\(what): no answer within \(formatted(seconds)) s")
    }
}

/// The error reply of a failed request (the number of `Nats-Service-Error-Code`, and the text).
struct ReplyError: Equatable, Sendable {
    let code: Int
    let message: String
    /// JSON of the list `errors`; empty when there is none.
    var errors: [UInt8] = []

    /// The number on the wire for an error that a script returned or raised.
    ///
    /// Numbers from 400 to 599 go out as they are. Codes of our own calls become the number that says the same.
    init(code: LuaError.Code?, message: String, errors: [UInt8] = []) {
        self.errors = errors
        switch code {
        case .integer(let number) where (400...599).contains(number): self.code = Int(number)
        case .string("timeout"): self.code = 504
        case .string("no_responders"), .string("disconnected"), .string("closed"): self.code = 503
        default: self.code = 500
        }
        self.message = message
    }

    init(_ code: Int, _ message: String) {
        self.code = code
        self.message = message
    }

    static let internalError = ReplyError(500, "internal error")
    static let overBudget = ReplyError(504, "the handler took too much CPU time and was ended")
    static let overloaded = ReplyError(429, "overloaded: too many messages are waiting")
    static let stopping = ReplyError(503, "the service is stopping")
}

/// Seconds as people write them: 0.25, 5, 30.
func formatted(_ seconds: Double) -> String {
    if let whole = Int(exactly: seconds) { return String(whole) }
    return String(seconds)
}
