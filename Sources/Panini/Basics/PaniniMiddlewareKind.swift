// Owns: what middlewares are called for, as features declare it. Values; any thread.

/// What a middleware is called for. Each feature that sends or receives has kinds of its own.
public struct PaniniMiddlewareKind: Hashable, Sendable, CustomStringConvertible {
    /// The name in Lua: `listen_request`.
    public let name: String
    /// What steps of chains know it by: no two kinds have the same, and the lowest bit says that it is a send.
    let number: Int32
    /// The function of a middleware that serves when it has none of this kind's name: `listen_any`.
    let fallback: String?
    /// What errors call the function that goes on with a send: `publish`.
    let verb: StaticString
    /// Whether it is a send whose caller waits for a response, within a time limit.
    let isAwaited: Bool

    /// A kind of something that comes in; what its handler gets is at 1.
    static func received(_ name: String, _ number: Int32, fallback: String? = "listen_any") -> PaniniMiddlewareKind {
        PaniniMiddlewareKind(name: name, number: number << 1, fallback: fallback, verb: "callback", isAwaited: false)
    }

    /// A kind of something that goes out; its subject, value and options are at 1, 2 and 3.
    ///
    /// - Parameter isAwaited: Its caller waits for a response; the options have a `timeout`.
    static func sent(
        _ name: String,
        _ number: Int32,
        verb: StaticString,
        isAwaited: Bool = false
    ) -> PaniniMiddlewareKind {
        PaniniMiddlewareKind(
            name: name,
            number: number << 1 | 1,
            fallback: "send_any",
            verb: verb,
            isAwaited: isAwaited
        )
    }

    private init(name: String, number: Int32, fallback: String?, verb: StaticString, isAwaited: Bool) {
        self.name = name
        self.number = number
        self.fallback = fallback
        self.verb = verb
        self.isAwaited = isAwaited
    }

    /// The name without the direction: `publish`.
    var shortName: String {
        String(name[(name.firstIndex(of: "_").map { name.index(after: $0) } ?? name.startIndex)...])
    }

    /// Whether it is of something that goes out.
    var isSend: Bool { number & 1 != 0 }

    /// The name in Lua.
    public var description: String { name }

    /// Two kinds are the same when their steps are.
    public static func == (one: PaniniMiddlewareKind, other: PaniniMiddlewareKind) -> Bool {
        one.number == other.number
    }

    /// Hashes what tells it from others.
    public func hash(into hasher: inout Hasher) { hasher.combine(number) }
}

/// Values by the numbers of kinds of middlewares.
struct ByMiddlewareKind<Value> {
    private var values: [Value?] = []

    subscript(number: Int32) -> Value? {
        get {
            let place = Int(number >> 1)
            return values.indices.contains(place) ? values[place] : nil
        }
        set {
            let place = Int(number >> 1)
            while values.count <= place { values.append(nil) }
            values[place] = newValue
        }
    }
}

/// The kinds that a script has: those of its features.
struct MiddlewareKinds: Sendable {
    let all: [PaniniMiddlewareKind]

    init(_ all: [PaniniMiddlewareKind]) {
        precondition(
            Set(all.map { $0.number >> 1 }).count == all.count,
            "the kinds of middlewares have numbers of their own"
        )
        self.all = all
    }
}
