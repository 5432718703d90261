// Owns: one client of a bridge: its commands, one after another, and what it has subscribed to. Loop-bound.

import Bytes
import LuaVM
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

/// A client of `app.http.nats_bridge`.
final class BridgeClient {
    let connection: WebSocketConnection
    private unowned(unsafe) let bridge: NATSBridge
    var route: HTTPRoute
    var settings: BridgeSettings
    unowned(unsafe) var script: Script
    var address = ""
    /// By their names, with where it stands in the list of each.
    var subjects: [ExactText: (subject: BridgeSubject, place: Int)] = [:]
    /// A subscription is on its way to the broker: further commands wait, so that answers keep their order.
    private var isWaiting = false
    /// The broker is slower than what is sent: the next command waits until it has caught up.
    private var isHeld = false

    init(
        _ connection: WebSocketConnection,
        bridge: NATSBridge,
        route: HTTPRoute,
        settings: BridgeSettings,
        script: Script
    ) {
        self.connection = connection
        self.bridge = bridge
        self.route = route
        self.settings = settings
        self.script = script
    }

    /// Sends a frame with a message; one that does not keep up is dropped.
    func deliver(_ frame: ByteBuffer) {
        guard connection.send(frame: frame) == .full else { return }
        let limit = route.webSocket?.settings.maximumUnsent ?? 0
        bridge.dropped(self)
        connection.close(WebSocketCode.policy, "too slow: more than \(limit) bytes waited", keepsMessages: false)
    }

    func answer(_ success: Bool, _ text: String) {
        let bytes = BridgeMessage.answer(success, text)
        let result = bytes.withUnsafeBytes { connection.send(.text, $0) }
        guard result == .full else { return }
        bridge.dropped(self)
        connection.close(WebSocketCode.policy, "too slow", keepsMessages: false)
    }

    /// The broker denied what the bridge permits.
    func denied(_ name: String) {
        // While the command waits its answer says so.
        if !isWaiting { answer(false, "the broker denied \(name)") }
    }

    // MARK: - Commands

    private func run(_ kind: WebSocketKind, _ bytes: UnsafeRawBufferPointer) {
        do throws(BridgeCommand.Problem) {
            switch try BridgeCommand(kind, bytes) {
            case .subscribe(let names): try subscribe(names)
            case .unsubscribe(let names): try unsubscribe(names)
            }
        } catch {
            answer(false, error.message)
        }
    }

    /// All of the subjects, or none.
    private func subscribe(_ names: [String]) throws(BridgeCommand.Problem) {
        // Before anything is done for each of them.
        guard names.count <= settings.maximumSubscriptions else {
            throw BridgeCommand.Problem(message: "more than \(settings.maximumSubscriptions) subscriptions")
        }
        for name in names {
            guard name.utf8.count <= SubjectPattern.maximumLength, NATSSubject.isValidForSubscribe(name) else {
                throw BridgeCommand.Problem(message: "\"\(name.beginning(128))\" is no subject")
            }
            guard settings.permissions.permits(name) else {
                bridge.denied &+= 1
                throw BridgeCommand.Problem(message: "no permission for \(name)")
            }
        }
        let more = names.count { subjects[ExactText($0)] == nil }
        guard subjects.count + more <= settings.maximumSubscriptions else {
            throw BridgeCommand.Problem(message: "more than \(settings.maximumSubscriptions) subscriptions")
        }
        for name in names {
            if let error = bridge.add(self, to: name) { throw BridgeCommand.Problem(message: error.message) }
        }
        let text = "subscribed to \(list(names))"
        guard names.contains(where: { !bridge.isConfirmed($0) }) else { return answer(true, text) }
        isWaiting = true
        bridge.confirm { [self] isConnected in
            isWaiting = false
            guard connection.isOpen else { return }
            let missing = names.filter { subjects[ExactText($0)] == nil }
            if !missing.isEmpty {
                answer(false, "the broker denied \(list(missing))")
            } else if isConnected {
                bridge.confirmed(names)
                answer(true, text)
            } else {
                answer(true, text + ", as soon as the broker is there again")
            }
            runWaiting()
        }
    }

    private func unsubscribe(_ names: [String]) throws(BridgeCommand.Problem) {
        for name in names where subjects[ExactText(name)] == nil {
            throw BridgeCommand.Problem(message: "there is no subscription to \(name.beginning(128))")
        }
        for name in names {
            if let subject = subjects[ExactText(name)]?.subject { bridge.remove(self, from: subject) }
        }
        answer(true, "unsubscribed from \(list(names))")
    }

    private func list(_ names: [String]) -> String {
        let shown = names.prefix(10).joined(separator: ", ")
        return names.count > 10 ? "\(shown) and \(names.count - 10) others" : shown
    }

    private func runWaiting() {
        while !isWaiting, connection.isOpen, mayRun(), let message = connection.popMessage() {
            message.bytes.withUnsafeReadableBytes { run(message.kind, $0) }
        }
    }

    private func mayRun() -> Bool {
        if !isHeld { isHeld = bridge.hold(self) }
        return !isHeld
    }

    /// The broker takes what is sent again.
    func goOn() {
        isHeld = false
        runWaiting()
    }
}

@available(*, unavailable)
extension BridgeClient: Sendable {}

extension BridgeClient: Resumable {
    func goOn(_ token: UInt64) { goOn() }
}

extension BridgeClient: WebSocketDelegate {
    func webSocket(
        _ connection: WebSocketConnection,
        received kind: WebSocketKind,
        _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        guard !isWaiting, mayRun() else { return false }
        let turn = bridge.turn
        let previous = turn.enter()
        run(kind, bytes)
        turn.itemEnded()
        turn.leave(previous)
        return true
    }

    func webSocketIsWritable(_ connection: WebSocketConnection) {}

    func webSocketEnded(_ connection: WebSocketConnection) {
        bridge.left(self)
        // The last: nobody else may hold it.
        connection.delegate = nil
    }

    func webSocketReadBurstEnded(_ connection: WebSocketConnection) {}
}
