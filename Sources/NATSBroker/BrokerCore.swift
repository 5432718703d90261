// The heart of the broker: who is connected, who subscribed to what, and the way of a message from one client to the
// others. Everything here lives on the broker's one event loop, so there is no lock; it knows the protocol's meaning
// but neither sockets nor timers. Nothing is written to a socket while a burst of commands is read: clients that got
// something are collected and flushed once when the burst ends.

import Glibc
import Logging
import NATSProtocol
import NIOCore

final class BrokerCore {
    let configuration: EmbeddedBroker.Configuration
    let logger: Logger
    var statistics = EmbeddedBroker.Statistics()

    var index = SubjectIndex()
    /// By their number in the index; nil where a number is free.
    var subscriptions: [BrokerSubscription?] = []
    private var freeSlots: [Int] = []

    private(set) var clients: [Int: BrokerClient] = [:]
    private var lastClientID = 0
    /// Clients with bytes to send, and clients to close with what they are told, at the end of the burst.
    private var toFlush: [BrokerClient] = []
    private var toEnd: [(client: BrokerClient, lastWords: String)] = []
    /// How many receivers the client whose turn it is may still be served.
    var receiversLeft = 0
    private var subscriptionBytes = 0
    private var warnings = ClientWarnings()
    private var memory = HighWaterMark()
    /// Subscriptions that reached their maximum while a message was routed.
    var exhausted: [BrokerSubscription] = []
    /// Where the search for a queue group's member begins; a cheap random number is random enough.
    var random = UInt64.random(in: 1 ... .max)

    init(configuration: EmbeddedBroker.Configuration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }
}

// MARK: - Clients

extension BrokerCore {
    /// Takes a new connection in; nil when there are too many.
    func register(_ transport: any BrokerTransport) -> BrokerClient? {
        guard clients.count < configuration.maximumConnections else {
            statistics.refusedConnections += 1
            warn(.refusal, "refused a client: there are already \(clients.count) connections")
            return nil
        }
        lastClientID += 1
        let client = BrokerClient(id: lastClientID, transport: transport)
        clients[client.id] = client
        statistics.totalConnections += 1
        statistics.connections = clients.count
        return client
    }

    /// A client was accepted with a descriptor that is kept for the program: it is closed.
    func refuseDescriptor() {
        statistics.refusedConnections += 1
        warn(.refusal, "refused a client: the program has too many files open; a higher limit (ulimit -n) takes more")
    }

    /// A connection could not be accepted for want of descriptors or memory; nothing is accepted for a moment.
    func acceptFailed(_ code: CInt) {
        statistics.failedAccepts += 1
        warn(.accept, "cannot accept connections: \(String(cString: strerror(code)))")
    }

    /// Forgets a client whose connection has ended, with all its subscriptions.
    func unregister(_ client: BrokerClient) {
        client.isEnding = true
        forget(client)
        client.transport = nil
        guard clients.removeValue(forKey: client.id) != nil else { return }
        statistics.connections = clients.count
        endSubscriptions(of: client)
        if statistics.subscriptions == 0 {
            // Never while a message is routed, whose receivers are known by their places.
            subscriptions = []
            freeSlots = []
        }
        logger.debug("\(client.label) disconnected")
    }

    private func endSubscriptions(of client: BrokerClient) {
        for subscription in client.subscriptions.values {
            removeFromIndex(subscription)
        }
        client.subscriptions = [:]
    }

    /// One look of the ping timer at every client.
    func pingClients() {
        for client in clients.values where !client.isEnding {
            if client.wasHeard {
                client.wasHeard = false
                client.pingsOutstanding = 0
                continue
            }
            if client.pingsOutstanding >= configuration.maximumPingsOutstanding {
                statistics.staleConnections += 1
                warn(.stale, "closing \(client.label): no answer to \(client.pingsOutstanding) pings")
                client.isEnding = true
                client.transport?.end(lastWords: "Stale Connection")
                continue
            }
            client.pingsOutstanding += 1
            client.append("PING\r\n")
            queued(client)
        }
        endBurst()
    }

    /// Sends what was collected since the last call, and closes whom it must.
    func endBurst() {
        var position = 0
        while position < toFlush.count {
            let client = toFlush[position]
            client.isMarkedForFlush = false
            client.transport?.flush()
            position += 1
        }
        toFlush.removeAll(keepingCapacity: true)
        while let (client, lastWords) = toEnd.popLast() {
            client.transport?.end(lastWords: lastWords)
        }
    }

    /// Something was appended to what waits for a client.
    @inline(__always)
    func queued(_ client: BrokerClient) {
        if !client.isMarkedForFlush {
            client.isMarkedForFlush = true
            toFlush.append(client)
        }
        account(client)
    }

    /// Ends every connection, at the end of the broker.
    func closeAll() {
        for client in clients.values {
            client.isEnding = true
            client.transport?.end(lastWords: nil)
        }
    }

    /// How many numbers for subscriptions exist, free ones included (tests watch it for leaks).
    var subscriptionSlotCount: Int { subscriptions.count }

    /// Closes a client that does not keep to the protocol.
    func refuse(_ client: BrokerClient, ending reason: String, lastWords: String?) {
        statistics.protocolErrors += 1
        warn(.refusal, "closing \(client.label): \(reason)")
        client.isEnding = true
        client.transport?.end(lastWords: lastWords)
    }

    func countPause() {
        statistics.pauses += 1
    }

    func countHold() {
        statistics.holds += 1
    }
}

// MARK: - Bounds

extension BrokerCore {
    /// Brings the account of what is held for a client up to date; closes it when it is too much for one, and whoever holds
    /// most when it is too much for all.
    @inline(__always)
    func account(_ client: BrokerClient) {
        let held = client.outbound.byteCount &+ client.unfinishedBytes
        statistics.heldBytes &+= held &- client.accountedBytes
        client.accountedBytes = held
        if client.outbound.byteCount > configuration.maximumPendingBytesPerClient
            || statistics.heldBytes > configuration.maximumHeldBytes
        {
            relieve(client)
        }
    }

    @inline(never)
    private func relieve(_ client: BrokerClient) {
        if client.outbound.byteCount > configuration.maximumPendingBytesPerClient {
            dropSlowConsumer(client, "more than \(configuration.maximumPendingBytesPerClient) bytes wait for it")
        }
        while statistics.heldBytes > configuration.maximumHeldBytes,
            let worst = clients.values.lazy.filter({ !$0.isEnding }).max(by: { $0.accountedBytes < $1.accountedBytes })
        {
            statistics.shedClients += 1
            warn(
                .slow,
                """
                closing \(worst.label): all clients hold more than \(configuration.maximumHeldBytes) bytes, it alone \
                \(worst.accountedBytes)
                """
            )
            drop(worst, worst.outbound.byteCount >= worst.unfinishedBytes ? "Slow Consumer" : "maximum memory exceeded")
        }
    }

    /// Closes a client that does not take what is sent to it.
    func dropSlowConsumer(_ client: BrokerClient, _ reason: String) {
        guard !client.isEnding else { return }
        statistics.slowConsumers += 1
        warn(.slow, "closing \(client.label) as a slow consumer: \(reason)")
        drop(client, "Slow Consumer")
    }

    /// What waits for it, and what it subscribed to, is gone at once, the rest at the end of the burst.
    private func drop(_ client: BrokerClient, _ lastWords: String) {
        client.isEnding = true
        forget(client)
        endSubscriptions(of: client)
        toEnd.append((client, lastWords))
    }

    /// What waits for a client goes nowhere any more.
    private func forget(_ client: BrokerClient) {
        memory.note(statistics.heldBytes)
        client.outbound.removeAll()
        client.unfinishedBytes = 0
        statistics.heldBytes -= client.accountedBytes
        client.accountedBytes = 0
    }

    /// Has free memory given back when clients have taken much of what waited for them, or have gone; once a second.
    func settleMemory() {
        if memory.hasFallen(to: statistics.heldBytes) { configuration.giveBackMemory?() }
    }

    /// Logs one line for many warnings of a kind: clients can cause as many as they like.
    func warn(_ kind: ClientWarnings.Kind, _ text: @autoclosure () -> String) {
        let now = NIODeadline.now().uptimeNanoseconds
        settleWarnings(at: now)
        if warnings.note(kind, at: now) { logger.warning("\(text())") }
    }

    /// Logs how many warnings were left out, once they are over; nothing to do while there are none.
    func settleWarnings(at now: UInt64 = NIODeadline.now().uptimeNanoseconds) {
        for (kind, count) in warnings.settle(at: now) { logger.warning("\(count) \(kind.rest)") }
    }
}

// MARK: - Commands

extension BrokerCore {
    /// Carries out one command. Returns false when the client was closed by it.
    @inline(__always)
    func execute(_ command: ClientCommand, bytes: UnsafeRawBufferPointer, from client: BrokerClient) -> Bool {
        switch command {
        case .publish(let publication):
            return publish(publication, bytes: bytes, from: client)
        case .ping:
            client.append("PONG\r\n")
            queued(client)
        case .pong:
            client.pingsOutstanding = 0
        case .ignored:
            break
        case .connect(let options):
            return connect(UnsafeRawBufferPointer(rebasing: bytes[options]), client)
        case .subscribe(let subject, let queue, let sid):
            subscribe(
                subject: UnsafeRawBufferPointer(rebasing: bytes[subject]),
                queue: UnsafeRawBufferPointer(rebasing: bytes[queue]),
                sid: UnsafeRawBufferPointer(rebasing: bytes[sid]),
                client
            )
        case .unsubscribe(let sid, let maximum):
            unsubscribe(sid: UnsafeRawBufferPointer(rebasing: bytes[sid]), maximum: maximum, client)
        }
        return true
    }

    private func connect(_ json: UnsafeRawBufferPointer, _ client: BrokerClient) -> Bool {
        do throws(ClientOptions.Refusal) {
            try client.options.apply(json: json)
        } catch {
            refuse(client, ending: error.wireText, lastWords: error.wireText)
            return false
        }
        logger.debug("\(client.label) connected")
        confirm(client)
        return true
    }

    private func subscribe(
        subject: UnsafeRawBufferPointer,
        queue: UnsafeRawBufferPointer,
        sid: UnsafeRawBufferPointer,
        _ client: BrokerClient
    ) {
        guard NATSSubject.isAcceptedForSubscribe(subject) else {
            refuse(client, "Invalid Subject")
            return
        }
        // The same id again is no second subscription.
        if client.subscriptions[ByteKey(borrowing: sid)] == nil {
            let cost = BrokerSubscription.cost(subject: subject, queue: queue.count, sid: sid.count)
            guard client.subscriptions.count < configuration.maximumSubscriptionsPerClient,
                client.subscriptionBytes + cost <= configuration.maximumSubscriptionBytesPerClient,
                subscriptionBytes + cost <= configuration.maximumSubscriptionBytes
            else {
                statistics.refusedSubscriptions += 1
                warn(
                    .subscription,
                    "refused a subscription of \(client.label), which has \(client.subscriptions.count): too many"
                )
                refuse(client, "maximum subscriptions exceeded")
                return
            }
            let slot = freeSlots.popLast() ?? subscriptions.count
            let subscription = BrokerSubscription(
                client: client,
                slot: slot,
                subject: Array(subject),
                queue: Array(queue),
                sid: Array(sid)
            )
            if slot == subscriptions.count {
                subscriptions.append(subscription)
            } else {
                subscriptions[slot] = subscription
            }
            client.subscriptions[ByteKey(copying: sid)] = subscription
            index.insert(slot, subject: subject, queue: queue)
            statistics.subscriptions += 1
            client.subscriptionBytes += cost
            subscriptionBytes += cost
        }
        confirm(client)
    }

    private func unsubscribe(sid: UnsafeRawBufferPointer, maximum: Int?, _ client: BrokerClient) {
        if let subscription = client.subscriptions[ByteKey(borrowing: sid)] {
            if let maximum, maximum > subscription.delivered {
                subscription.maximum = maximum
            } else {
                remove(subscription)
            }
        }
        confirm(client)
    }

    func remove(_ subscription: BrokerSubscription) {
        let known = subscription.sid.withUnsafeBytes {
            subscription.client.subscriptions.removeValue(forKey: ByteKey(borrowing: $0))
        }
        if known != nil {
            removeFromIndex(subscription)
        }
    }

    private func removeFromIndex(_ subscription: BrokerSubscription) {
        subscription.subject.withUnsafeBytes { subject in
            subscription.queue.withUnsafeBytes { queue in
                _ = index.remove(subscription.slot, subject: subject, queue: queue)
            }
        }
        subscriptions[subscription.slot] = nil
        freeSlots.append(subscription.slot)
        statistics.subscriptions -= 1
        subscription.client.subscriptionBytes -= subscription.cost
        subscriptionBytes -= subscription.cost
    }

    @inline(__always)
    func confirm(_ client: BrokerClient) {
        guard client.options.verbose else { return }
        client.append("+OK\r\n")
        queued(client)
    }

    /// Says what was wrong; the connection goes on.
    func refuse(_ client: BrokerClient, _ text: String) {
        client.appendError(text)
        queued(client)
    }
}

@available(*, unavailable)
extension BrokerCore: Sendable {}
