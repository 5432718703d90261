// Owns: the subjects that clients of bridges have subscribed to: one subscription at the broker for each, however many
// clients share it. Loop-bound, of one service; no Lua anywhere on a message's way.

import Bytes
import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

/// All bridges of a service.
final class NATSBridge {
    private unowned(unsafe) let service: Service
    private var subjects: [ExactText: BridgeSubject] = [:]
    private var clients: [ObjectIdentifier: BridgeClient] = [:]
    /// How many clients each script has.
    private var counts: [ObjectIdentifier: Int] = [:]
    /// The frame of the message that is being given; reused.
    fileprivate var frame = ByteBuffer()

    // Counters.
    var messages: UInt64 = 0
    /// Clients that were dropped because they read too slowly.
    private(set) var slowClients: UInt64 = 0
    /// Subscriptions that no pattern permits, or that the broker denied.
    var denied: UInt64 = 0
    private var lastSlowLogged: (at: UInt64, count: UInt64)?

    /// The log tells of slow clients at once and then at most this often.
    private static let slowLogInterval: UInt64 = 30_000_000_000

    init(service: Service) { self.service = service }

    var logger: Logger { service.logger }

    // MARK: - Clients

    func join(_ connection: WebSocketConnection, route: HTTPRoute, script: Script, address: String) {
        guard let settings = route.webSocket?.bridge else { return }
        let client = BridgeClient(connection, bridge: self, route: route, settings: settings, script: script)
        client.address = address
        connection.delegate = client
        clients[ObjectIdentifier(client)] = client
        count(1, of: script)
    }

    func left(_ client: BridgeClient) {
        clients[ObjectIdentifier(client)] = nil
        count(-1, of: client.script)
        for (subject, _) in client.subjects.values { remove(client, from: subject) }
        if client.script.isEnding { service.endIfIdle(client.script) }
    }

    func clientCount(of script: Script) -> Int { counts[ObjectIdentifier(script)] ?? 0 }

    private func count(_ change: Int, of script: Script) {
        let count = clientCount(of: script) + change
        counts[ObjectIdentifier(script)] = count > 0 ? count : nil
    }

    /// Clients of a route that the newer script has, too, are its own from here on, under its permissions.
    func move(from old: Script, to new: Script) {
        for client in Array(clients.values) where client.script === old {
            guard let route = Service.successor(of: client.route, in: new), let webSocket = route.webSocket,
                let settings = webSocket.bridge
            else { continue }
            count(-1, of: old)
            count(1, of: new)
            client.script = new
            client.route = route
            client.settings = settings
            client.connection.apply(webSocket.settings)
            for (subject, _) in client.subjects.values where !settings.permissions.permits(subject.name) {
                remove(client, from: subject)
                client.answer(false, "no permission for \(subject.name) any more")
            }
        }
    }

    func close(of script: Script, _ code: UInt16, _ reason: String) {
        for client in Array(clients.values) where client.script === script { client.connection.close(code, reason) }
    }

    func dropped(_ client: BridgeClient) {
        slowClients &+= 1
        let now = service.worker.now
        if let last = lastSlowLogged, now &- last.at < Self.slowLogInterval { return }
        let more = lastSlowLogged.map { slowClients - $0.count - 1 } ?? 0
        lastSlowLogged = (now, slowClients)
        logger.warning(
            """
            a client of the bridge \(client.route.path) (\(client.address)) read too slowly and was dropped\
            \(more > 0 ? ", and \(more) others since the last such line" : "")
            """
        )
    }

    // MARK: - Subjects

    /// Subscribes a client; once per subject at the broker. Nil, or why not.
    func add(_ client: BridgeClient, to name: String) -> CallError? {
        let subject: BridgeSubject
        if let known = subjects[ExactText(name)] {
            subject = known
        } else {
            subject = BridgeSubject(name, bridge: self)
            do throws(NATSError) {
                subject.subscription = try service.connection.subscribe(
                    subject: name,
                    queue: nil,
                    context: 0,
                    handler: subject
                )
            } catch {
                return CallError("subscribe", error.message)
            }
            subjects[subject.key] = subject
        }
        subject.add(client)
        return nil
    }

    func remove(_ client: BridgeClient, from subject: BridgeSubject) {
        subject.remove(client)
        guard subject.clients.isEmpty else { return }
        subjects[subject.key] = nil
        if let subscription = subject.subscription { service.connection.unsubscribe(subscription) }
        subject.subscription = nil
    }

    /// The broker has ended the subscription: nobody has it any more.
    fileprivate func ended(_ subject: BridgeSubject, _ reason: NATSSubscriptionEnd) {
        guard subject.subscription != nil else { return }
        subject.subscription = nil
        subjects[subject.key] = nil
        guard case .permissionViolation(let text) = reason else { return }
        denied &+= 1
        logger.error("the broker denied the subscription to \(subject.name), which a bridge permits: \(text)")
        for client in subject.clients {
            subject.remove(client)
            client.denied(subject.name)
        }
    }

    /// Whether a client's next command must wait, for the broker or for the service's turn, which is told by its `goOn`.
    func hold(_ client: BridgeClient) -> Bool {
        if service.connection.isCongested {
            service.sendBacklog.heldClients.append(client)
            return true
        }
        guard service.turn.isWaiting || service.turn.isOver else { return false }
        service.turn.later(client, 0)
        return true
    }

    var turn: ServiceTurn { service.turn }

    /// Calls back when the broker has every subscription made so far; false without a connection, which has them when it is
    /// there again.
    func confirm(_ completion: @escaping (Bool) -> Void) {
        service.barrier(seconds: 5, publishing: []) { completion($0 == nil) }
    }

    func confirmed(_ names: [String]) { for name in names { subjects[ExactText(name)]?.isConfirmed = true } }

    func isConfirmed(_ name: String) -> Bool { subjects[ExactText(name)]?.isConfirmed == true }
}

@available(*, unavailable)
extension NATSBridge: Sendable {}

/// One subject, or pattern, of the broker with its clients.
final class BridgeSubject {
    let name: String
    let key: ExactText
    private unowned(unsafe) let bridge: NATSBridge
    var subscription: NATSSubscription?
    /// The broker has it for certain.
    var isConfirmed = false
    private(set) var clients: [BridgeClient] = []

    init(_ name: String, bridge: NATSBridge) {
        self.name = name
        key = ExactText(name)
        self.bridge = bridge
    }

    func add(_ client: BridgeClient) {
        guard client.subjects[key] == nil else { return }
        client.subjects[key] = (self, clients.count)
        clients.append(client)
    }

    /// The last client takes the place of the one that leaves.
    func remove(_ client: BridgeClient) {
        guard let place = client.subjects.removeValue(forKey: key)?.place else { return }
        let last = clients.removeLast()
        guard last !== client else { return }
        clients[place] = last
        last.subjects[key]?.place = place
    }
}

extension BridgeSubject: NATSSubscriptionHandler {
    /// The frame is made once; each client gets the same bytes.
    func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        guard !clients.isEmpty else { return }
        bridge.messages &+= 1
        let subject = message.subject
        let payload = message.payload
        WebSocketFrame.make(.text, in: &bridge.frame) { BridgeMessage.write(subject: subject, payload, into: &$0) }
        let frame = bridge.frame
        for client in clients { client.deliver(frame) }
    }

    func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        bridge.ended(self, reason)
    }
}

@available(*, unavailable)
extension BridgeSubject: Sendable {}
