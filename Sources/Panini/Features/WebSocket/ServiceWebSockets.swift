// Owns: what a service has of WebSocket: the bridge to the broker, and the moves of connections between versions. Loop-bound.

import PaniniHTTP
import ScriptRuntime

/// Sockets of a service on one worker.
final class ServiceWebSockets: ServiceFeature {
    /// The subjects of `app.http.nats_bridge`.
    private(set) lazy var bridge = NATSBridge(service: service)

    override func commit(_ staging: Staging, from old: Script, to new: Script) {
        service.webSocketsMove(from: old, to: new)
    }

    override func drainTimedOut(_ version: Script) { service.webSocketsClose(of: version) }
}

extension Service {
    var bridge: NATSBridge { features[ServiceWebSockets.self].bridge }
}
