// Owns: what a Swift program implements to stand between broker and handler: the protocol and its small values. Its
// methods run on the worker's thread, in the middle of a message.

public import LuaVM
import ScriptRuntime

/// What a middleware is called for. Each feature that sends or receives has kinds of its own.
public struct PaniniMiddlewareKind: Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The name in Lua: `listen_request`.
    public let name: String
    /// What steps of chains know it by: no two kinds have the same, and the lowest bit says that it is a send.
    let number: Int32
    /// The function of a middleware that serves when it has none of this kind's name: `listen_any`.
    let fallback: String?
    /// What errors call the function that goes on with a send: `publish`.
    let verb: StaticString
    /// What a middleware in Swift sees of it; the arguments of the step are at 1 and above.
    let source: @Sendable (OpaquePointer, Script) -> PaniniMiddlewareMessage.Source

    /// A kind of something that comes in; what its handler gets is at 1.
    static func received(
        _ name: String,
        _ number: Int32,
        fallback: String? = "listen_any",
        source: @escaping @Sendable (OpaquePointer, Script) -> PaniniMiddlewareMessage.Source
    ) -> PaniniMiddlewareKind {
        PaniniMiddlewareKind(name: name, number: number << 1, fallback: fallback, verb: "callback", source: source)
    }

    /// A kind of something that goes out; its subject, value and options are at 1, 2 and 3.
    static func sent(_ name: String, _ number: Int32, verb: StaticString) -> PaniniMiddlewareKind {
        PaniniMiddlewareKind(name: name, number: number << 1 | 1, fallback: "send_any", verb: verb) { L, _ in .sent(L) }
    }

    private init(
        name: String,
        number: Int32,
        fallback: String?,
        verb: StaticString,
        source: @escaping @Sendable (OpaquePointer, Script) -> PaniniMiddlewareMessage.Source
    ) {
        self.name = name
        self.number = number
        self.fallback = fallback
        self.verb = verb
        self.source = source
    }

    /// Those of all features, in the order in which errors name them.
    public static let allCases: [PaniniMiddlewareKind] = FeatureList.all.flatMap(\.middlewareKinds)

    /// The name without the direction: `publish`.
    var shortName: String {
        String(name[(name.firstIndex(of: "_").map { name.index(after: $0) } ?? name.startIndex)...])
    }

    /// Whether it is of something that goes out.
    var isSend: Bool { number & 1 != 0 }

    /// The name in Lua.
    public var description: String { name }

    /// Two kinds are the same when their steps are.
    public static func == (one: PaniniMiddlewareKind, other: PaniniMiddlewareKind) -> Bool { one.number == other.number }

    /// Hashes what tells it from others.
    public func hash(into hasher: inout Hasher) { hasher.combine(number) }
}

/// The kinds that a script has: those of its features.
struct MiddlewareKinds: Sendable {
    let all: [PaniniMiddlewareKind]
    /// By half of their numbers.
    private let places: [PaniniMiddlewareKind?]

    init(_ all: [PaniniMiddlewareKind]) {
        self.all = all
        var places: [PaniniMiddlewareKind?] = []
        for kind in all {
            let place = Int(kind.number >> 1)
            while places.count <= place { places.append(nil) }
            precondition(places[place] == nil, "the kinds of middlewares have numbers of their own")
            places[place] = kind
        }
        self.places = places
    }

    subscript(number: Int32) -> PaniniMiddlewareKind? {
        let place = Int(number >> 1)
        return places.indices.contains(place) ? places[place] : nil
    }
}

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
