// Owns: how middlewares stand around a listener. Worker's thread.

import CScriptObjects
import LuaVM
import ScriptRuntime

extension Listener: MiddlewareSubject {
    func source(of activity: Activity, for kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source? {
        kind.isSend ? nil : .received(Self.message(of: activity))
    }
}

extension PaniniMiddlewareKind {
    /// `app.publish` and `app.publish_sync`.
    public static let sendPublish = sent("send_publish", 0, verb: "publish")
    /// `app.request`.
    public static let sendRequest = sent("send_request", 1, verb: "request", isAwaited: true)
    /// A message without a reply subject has arrived.
    public static let listenPublish = received("listen_publish", 2)
    /// A message with a reply subject has arrived.
    public static let listenRequest = received("listen_request", 3)

    /// Those of messaging.
    static let messaging = [sendPublish, sendRequest, listenPublish, listenRequest]
}

extension ScriptMessaging: MiddlewareComposer {
    var middlewareKinds: [PaniniMiddlewareKind] { PaniniMiddlewareKind.messaging }

    func source(_ L: OpaquePointer, _ kind: PaniniMiddlewareKind) -> PaniniMiddlewareMessage.Source {
        if kind.isSend { return .sent(L) }
        return panini_message_at(L, 1, messageType).map { .received($0) } ?? .past(subject: [])
    }

    func recompose() {
        script.composeSends()
        for listener in loadTimeListeners where !listener.isEnded { script.compose(listener) }
        for listener in listeners where listener.isDynamic && !listener.isEnded { script.compose(listener) }
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
