// Owns: how middlewares stand around a listener. Worker's thread.

import LuaVM
import ScriptRuntime

extension Listener: MiddlewareSubject {
    func source(of activity: Activity, for kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source? {
        kind.isSend ? nil : .received(Self.message(of: activity))
    }
}

extension Script {
    /// Puts the middlewares around a listener's handler.
    func compose(_ listener: Listener) {
        let layers = listener.middlewares + middlewares.layers + middlewares.outer
        let old = [listener.publishEntry, listener.requestEntry]
        listener.publishEntry = chain(.listenPublish, layers, to: listener.handler) ?? listener.handler
        listener.requestEntry = chain(.listenRequest, layers, to: listener.handler) ?? listener.handler
        for entry in old where entry.index != listener.handler.index { vm.release(entry) }
    }
}
