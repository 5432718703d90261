// Owns: the way from a step of the chain to a middleware in Swift and back. Worker's thread, called by C in the middle of
// a message; nothing here raises.

import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// Called by C when a message comes to a step in Swift.
let beforeSwiftMiddleware:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, Int64, CInt, UnsafeMutablePointer<Int64>?) -> CInt = {
        L,
        context,
        layer,
        kind,
        token in
        let script = Script.from(context)
        guard let L, let composer = script.middlewares.composers[kind] else { return CInt(PANINI_PROCEED) }
        return script.before(L, layer, composer, token.unsafelyUnwrapped)
    }

/// Called by C when the call that a step in Swift wraps has ended.
let afterSwiftMiddleware: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, Int64, CInt, CInt, CInt) -> CInt =
    {
        L,
        context,
        token,
        _,
        base,
        failed in
        guard let L else { return CInt(PANINI_KEEP) }
        return Script.from(context).after(L, token, base: base, failed: failed != 0)
    }

/// A feature that has functions with middlewares around them.
protocol MiddlewareComposer: ScriptFeature {
    /// What its functions are: the kinds that its ``Feature`` declares.
    var middlewareKinds: [PaniniMiddlewareKind] { get }

    /// What a middleware in Swift sees of a call, whose arguments are at 1 and above. The type of an object there is looked at
    /// before it is used.
    func source(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source

    /// The middlewares of the script have changed: its chains are made anew.
    func recompose()
}

/// An owner of runs that middlewares stand around.
protocol MiddlewareSubject: ActivityOwner {
    /// What a middleware of a kind sees of a run; nil when that is not what it stands around.
    func source(of activity: Activity, for kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source?
}

extension Script {
    fileprivate func before(
        _ L: OpaquePointer,
        _ layer: Int64,
        _ composer: (kind: PaniniMiddlewareKind, feature: any MiddlewareComposer),
        _ token: UnsafeMutablePointer<Int64>
    ) -> CInt {
        // Gone for a message that was on its way when it was removed.
        guard let middleware = middlewares.swiftMiddlewares[layer], let slot = vm.running?.slot else {
            return CInt(PANINI_PROCEED)
        }
        let kind = composer.kind
        var message = PaniniMiddlewareMessage(kind, composer.feature.source(L, kind), script: self)
        switch middleware.before(&message) {
        case .proceed: return CInt(PANINI_PROCEED)
        case .observe(let state):
            let subject = kind.isSend ? Array(vm.stringBytes(L, 1) ?? emptyBytes) : []
            token.pointee = middlewares.observe(slot: Int(slot), middleware, kind, state, subject: subject)
            return CInt(PANINI_OBSERVE)
        case .stop: return CInt(PANINI_STOP)
        case .answer(let value): return push(.value(value), onto: L) + CInt(PANINI_STOP)
        case .refuse(let code, let text): return push(.error(code: code, message: text), onto: L) + CInt(PANINI_STOP)
        }
    }

    fileprivate func after(_ L: OpaquePointer, _ token: Int64, base: CInt, failed: Bool) -> CInt {
        guard let slot = vm.running?.slot, let observation = middlewares.take(slot: Int(slot), token: token) else {
            return CInt(PANINI_KEEP)
        }
        let message = PaniniMiddlewareMessage(observation.kind, source(L, observation.kind), script: self)
        var outcome = PaniniMiddlewareOutcome(failed ? .raised(L) : .returned(L, base: base), script: self)
        observation.middleware.after(message, &outcome, state: observation.state)
        switch outcome.replacement {
        case .none: return CInt(PANINI_KEEP)
        case .call(let function):
            // The error first, while it is still where the outcome looks for it.
            outcome.pushError(onto: L)
            vm.push(function, onto: L)
            lua_rotate(L, -2, 1)
            pushInfo(message, onto: L)
            return CInt(PANINI_CALL)
        case let replacement: return push(replacement, onto: L)
        }
    }

    /// What a middleware sees of a step whose arguments are at 1 and above.
    func source(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source {
        middlewares.composers[kind.number]?.feature.source(L, kind) ?? .past(subject: [])
    }

    /// Pushes what is to be the result; returns the number of values.
    private func push(_ replacement: PaniniMiddlewareOutcome.Replacement, onto L: OpaquePointer) -> CInt {
        switch replacement {
        case .none, .call: return 0
        case .value(let value):
            do throws(LuaError) {
                try vm.push(value, onto: L)
                return 1
            } catch {
                lua_pushnil(L)
                push(CallError(.number(500), error.message), onto: L)
                return 2
            }
        case .error(let code, let text):
            lua_pushnil(L)
            push(CallError(.number(Int64(code)), text), onto: L)
            return 2
        }
    }

    /// Pushes `{ kind =, subject =, message =, msg = }` for a function of the script.
    private func pushInfo(_ message: borrowing PaniniMiddlewareMessage, onto L: OpaquePointer) {
        lua_createtable(L, 0, 3)
        let info = lua_gettop(L)
        vm.pushString(L, "kind" as StaticString)
        vm.pushString(L, message.kind.name)
        lua_rawset(L, info)
        vm.pushString(L, "subject" as StaticString)
        vm.pushString(L, message.subject)
        lua_rawset(L, info)
        if message.kind.isSend {
            vm.pushString(L, "message" as StaticString)
            lua_pushvalue(L, 2)
        } else {
            vm.pushString(L, "msg" as StaticString)
            lua_pushvalue(L, 1)
        }
        lua_rawset(L, info)
    }

    /// Tells the middlewares that still wait in a coroutine that it has ended without them.
    func endObservations(slot: Int, _ activity: Activity, _ error: ReplyError) {
        guard middlewares.observationCount > 0 else { return }
        for observation in middlewares.takeAll(slot: slot) {
            var outcome = PaniniMiddlewareOutcome(.abandoned(error), script: self)
            let source = (activity.owner as? any MiddlewareSubject)?.source(of: activity, for: observation.kind)
            let message = PaniniMiddlewareMessage(
                observation.kind,
                source ?? .past(subject: observation.subject),
                script: self
            )
            observation.middleware.after(message, &outcome, state: observation.state)
        }
    }

    /// The bytes a value would be sent as; nil when it cannot be.
    func encoded(_ L: OpaquePointer, _ index: CInt, dataType: DataType?) -> [UInt8]? {
        do throws(SendFailure) {
            return Array(try encode(L, index, dataType: dataType))
        } catch {
            return nil
        }
    }
}
