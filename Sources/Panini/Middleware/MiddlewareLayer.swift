// Owns: one middleware that was added, and all of a script's with what is composed of them. Loop-bound values; knows
// nothing of how a chain runs.

import LuaVM

/// One middleware: functions of the script by kind, or one of the host.
struct MiddlewareLayer {
    let id: Int64
    /// By kind; a fallback stands for every kind it serves.
    var functions: [PaniniMiddlewareKind: LuaReference] = [:]
    var native: NativeMiddleware?

    func covers(_ kind: PaniniMiddlewareKind) -> Bool {
        functions[kind] != nil || native?.kinds.contains(kind) == true
    }
}

/// A middleware in Swift, under the number its steps know it by.
struct NativeMiddleware {
    let id: Int64
    let kinds: Set<PaniniMiddlewareKind>
}

/// A message that a middleware in Swift waits for the end of.
struct NativeObservation {
    let token: Int64
    let middleware: any PaniniMiddleware
    let kind: PaniniMiddlewareKind
    let state: AnyObject?
    /// Of a send; a received message has it itself.
    let subject: [UInt8]
}

/// The middlewares of one script.
struct Middlewares {
    /// How many an app may have, and a listener. Each takes two of Lua's 200 nested C calls; a handler behind both lots
    /// that sends through the first again has room left for its own.
    static let maximumLayers = 24

    /// In the order they were added: each wraps those before it.
    var layers: [MiddlewareLayer] = []
    /// Those of the program that embeds the host: they wrap the script's.
    var outer: [MiddlewareLayer] = []
    var natives: [Int64: any PaniniMiddleware] = [:]

    // What sending calls go through; nil when no middleware is interested.
    var publish: LuaReference?
    var publishSync: LuaReference?
    var request: LuaReference?

    /// By the slot of the coroutine that runs or waits.
    private var observations: [[NativeObservation]] = []
    private(set) var observationCount = 0
    private var lastToken: Int64 = 0

    mutating func observe(
        slot: Int,
        _ middleware: any PaniniMiddleware,
        _ kind: PaniniMiddlewareKind,
        _ state: AnyObject?,
        subject: [UInt8]
    ) -> Int64 {
        lastToken += 1
        while observations.count <= slot { observations.append([]) }
        observations[slot].append(
            NativeObservation(token: lastToken, middleware: middleware, kind: kind, state: state, subject: subject)
        )
        observationCount += 1
        return lastToken
    }

    mutating func take(slot: Int, token: Int64) -> NativeObservation? {
        // Calls nest: the last one is nearly always the one.
        guard slot < observations.count, let index = observations[slot].lastIndex(where: { $0.token == token }) else {
            return nil
        }
        observationCount -= 1
        return observations[slot].remove(at: index)
    }

    /// The innermost state of a type that a coroutine has.
    func innermost<State: AnyObject>(slot: Int, _ type: State.Type) -> State? {
        guard slot < observations.count else { return nil }
        for observation in observations[slot].reversed() {
            if let state = observation.state as? State { return state }
        }
        return nil
    }

    /// Those of a coroutine that are left when it ends, innermost first.
    mutating func takeAll(slot: Int) -> [NativeObservation] {
        guard slot < observations.count, !observations[slot].isEmpty else { return [] }
        let rest = observations[slot]
        observations[slot] = []
        observationCount -= rest.count
        return rest.reversed()
    }
}
