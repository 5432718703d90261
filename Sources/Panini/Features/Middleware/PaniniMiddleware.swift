// Owns: what a Swift program implements to stand between broker and handler: the protocol and its small values. Its
// methods run on the worker's thread, in the middle of a message.

public import LuaVM

/// What a middleware says when a message comes to it.
public enum PaniniMiddlewareDecision {
    /// The message goes on; the middleware does not hear of it again.
    case proceed
    /// The message goes on, and ``PaniniMiddleware/after(_:_:state:)`` is called once when it is done.
    case observe(state: AnyObject?)
    /// The message ends here without a value: no reply is sent, a sending call returns nothing.
    case stop
    /// The message ends here with this value: the reply, or what the sending call returns.
    case answer(LuaValue)
    /// The message ends here with an error: an error reply, or `nil, err`.
    case refuse(code: Int, message: String)
}

/// Why a message did not succeed.
public struct PaniniMiddlewareError: Error, Sendable, Equatable {
    /// The code: a number as text, or a word such as `timeout`; nil for an error without one.
    public let code: String?
    /// The text for people.
    public let message: String
}

/// A middleware written in Swift. It wraps sends and received messages as the scripts' own middlewares do, without a call
/// of Lua.
///
/// One value serves all scripts it was given to: a host may run them on several threads, so that it is Sendable. Its
/// methods run on the worker's thread and hold up all of its messages: they must not block.
///
/// ```swift
/// struct Doorman: PaniniMiddleware {
///     let kinds: Set<PaniniMiddlewareKind> = [.listenRequest]
///
///     func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
///         message.header("Authorization") == nil ? .refuse(code: 401, message: "who are you?") : .proceed
///     }
/// }
/// ```
public protocol PaniniMiddleware: Sendable {
    /// What it is called for. Asked once, when it is added.
    var kinds: Set<PaniniMiddlewareKind> { get }

    /// A message is on its way inwards.
    ///
    /// - Parameter message: Valid during the call. Sends can be given headers.
    /// - Returns: What becomes of the message.
    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision

    /// What was inside is done. Called exactly once for each ``PaniniMiddlewareDecision/observe(state:)``.
    ///
    /// - Parameters:
    ///   - message: Valid during the call. Of a send whose coroutine was given up, only the kind and the subject are left.
    ///   - outcome: How it ended; can be replaced.
    ///   - state: What `observe` was given.
    func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    )
}

extension PaniniMiddleware {
    /// Does nothing.
    public func after(
        _ message: borrowing PaniniMiddlewareMessage,
        _ outcome: inout PaniniMiddlewareOutcome,
        state: AnyObject?
    ) {}
}
