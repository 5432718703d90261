// Owns: the middlewares of a version of a script, what is composed of them, and the messages that those in Swift wait for the end
// of. Loop-bound; knows nothing of how a chain runs.

import CScriptObjects
import LuaVM
import ScriptRuntime

/// The middlewares of one script.
final class ScriptMiddlewares: ScriptFeature, RunWatcher {
    /// How many an app may have, and a listener. Each takes two of Lua's 200 nested C calls; a handler behind both lots
    /// that sends through the first again has room left for its own.
    static let maximumLayers = 24

    /// What they may be called for.
    let kinds: MiddlewareKinds
    /// Who has the functions of each kind, by the kind's number.
    private(set) var composers = ByMiddlewareKind<(kind: PaniniMiddlewareKind, feature: any MiddlewareComposer)>()
    /// In the order they were added: each wraps those before it.
    var layers: [MiddlewareLayer] = []
    /// Those of the program that embeds the host: they wrap the script's.
    var outer: [MiddlewareLayer] = []
    var swiftMiddlewares: [Int64: any PaniniMiddleware] = [:]

    // What sending calls go through; nil when no middleware is interested.
    var publish: LuaReference?
    var publishSync: LuaReference?
    var request: LuaReference?

    /// The registry references of the metatables of handles, and of middlewares of the host.
    let handleType: CInt
    let swiftType: CInt
    /// What the steps in Swift of chains call; freed after the state is closed.
    let host: UnsafeMutablePointer<panini_middleware_host>
    /// The sending calls behind all middlewares.
    private(set) lazy var directCalls = DirectCalls(
        script.vm,
        context: Unmanaged.passUnretained(script).toOpaque()
    )

    /// By the slot of the coroutine that runs or waits.
    private var observations: [[SwiftObservation]] = []
    private(set) var observationCount = 0
    private var lastToken: Int64 = 0

    required init(_ script: Script) {
        kinds = script.place[MiddlewareKinds.self] ?? MiddlewareKinds([])
        let vm = script.vm
        let L = vm.state
        let context = Unmanaged.passUnretained(script).toOpaque()
        host = .allocate(capacity: 1)
        host.initialize(
            to: panini_middleware_host(
                context: context,
                before: beforeSwiftMiddleware,
                after: afterSwiftMiddleware,
                covered: logCoveredByInner
            )
        )
        panini_handle_push_metatable(L, "panini.middleware", "remove", removeMiddlewareHandle, context)
        handleType = vm.makeReference(L).index
        lua_createtable(L, 0, 2)
        for key in ["__name", "__metatable"] {
            vm.pushString(L, key)
            vm.pushString(L, "panini.native_middleware" as StaticString)
            lua_rawset(L, -3)
        }
        swiftType = vm.makeReference(L).index
        super.init(script)
    }

    deinit { host.deallocate() }

    /// Takes in those of the embedding program.
    override func prepare() {
        for case let feature as any MiddlewareComposer in script.features.all {
            for kind in feature.middlewareKinds { composers[kind.number] = (kind, feature) }
        }
        for middleware in script.place[[any PaniniMiddleware].self] ?? [] { script.addOuter(middleware) }
    }

    /// Of calls inside a coroutine of the script's own that was never run to its end.
    func runWillEnd(_ coroutine: LuaCoroutine, _ activity: Activity) {
        guard observationCount > 0 else { return }
        script.endObservations(
            slot: Int(coroutine.slot),
            activity,
            script.vm.isKilled(coroutine) ? .overBudget : .internalError
        )
    }

    func runIsGivenUp(slot: Int, _ activity: Activity, _ reason: ReplyError) {
        if observationCount > 0 { script.endObservations(slot: slot, activity, reason) }
    }

    func observe(
        slot: Int,
        _ middleware: any PaniniMiddleware,
        _ kind: PaniniMiddlewareKind,
        _ state: AnyObject?,
        subject: [UInt8]
    ) -> Int64 {
        lastToken += 1
        while observations.count <= slot { observations.append([]) }
        observations[slot].append(
            SwiftObservation(token: lastToken, middleware: middleware, kind: kind, state: state, subject: subject)
        )
        observationCount += 1
        script.watchedRuns += 1
        return lastToken
    }

    func take(slot: Int, token: Int64) -> SwiftObservation? {
        // Calls nest: the last one is nearly always the one.
        guard slot < observations.count, let index = observations[slot].lastIndex(where: { $0.token == token }) else {
            return nil
        }
        observationCount -= 1
        script.watchedRuns -= 1
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
    func takeAll(slot: Int) -> [SwiftObservation] {
        guard slot < observations.count, !observations[slot].isEmpty else { return [] }
        let rest = observations[slot]
        observations[slot] = []
        observationCount -= rest.count
        script.watchedRuns -= rest.count
        return rest.reversed()
    }
}

extension Script {
    var middlewares: ScriptMiddlewares { features[ScriptMiddlewares.self] }
}
