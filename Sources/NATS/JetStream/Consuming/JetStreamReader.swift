// Owns: reading a consumer on a connection's loop: the subscription, the pulls that the machine asks for, the
// deliveries that need more time, and what follows when the consumer is gone. Loop-bound; a message costs neither a
// task nor a closure.

import Bytes
import LoopTools
import NATSProtocol
package import NIOCore

/// Which consumer is read, and how.
package struct JetStreamReaderOptions: Sendable {
    package var pull = PullMachine.Settings()
    /// How long the server waits for a delivery to be settled; nil where nothing is settled.
    package var ackWait: TimeAmount?
    /// For how long, from its delivery, more time is asked for a message; nil for never (J23).
    package var extends: TimeAmount?
    /// How the consumer is made again (J12).
    package var recreation: JetStreamConsumer.Configuration?
    /// The group and what else its pulls say (ADR-42).
    package var group = Group()

    package init() {}

    /// What pulls say in a group of clients.
    package struct Group: Sendable, Equatable {
        package var name: String?
        package var minPending: UInt64?
        package var minAckPending: UInt64?
        package var priority: Int?
    }
}

/// A message that was delivered, beside what stands in the read buffer.
package struct JetStreamDelivery: Sendable {
    /// Names it to whoever settles it on the loop.
    package let id: JetStreamDeliveryID
    /// The numbers of its reply subject.
    package let numbers: AckSubject
    /// Where it is settled.
    package let reply: String
    /// What it counts for against the limit in bytes.
    package let size: Int
}

/// Whoever handles the messages of a reader. Called on the loop.
package protocol JetStreamReaderDelegate: AnyObject {
    /// One message, in the middle of a read burst. It waits here until `taken` is called.
    func reader(
        _ reader: JetStreamReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    )
    /// The server is there, and tells the number of the last delivery.
    func reader(_ reader: JetStreamReader, heartbeat consumerSequence: UInt64)
    /// A second has passed: a time to look for what was taken and settled elsewhere.
    func readerTicked(_ reader: JetStreamReader)
    /// Something that somebody should hear of, once.
    func reader(_ reader: JetStreamReader, warns warning: PullMachine.Warning)
    /// The consumer was made again: what waits here is delivered again.
    func readerRestarted(_ reader: JetStreamReader)
    /// Nothing comes any more; nil when somebody asked for that.
    func readerEnded(_ reader: JetStreamReader, error: JetStreamError?)
}

extension JetStreamReaderDelegate {
    package func reader(_ reader: JetStreamReader, heartbeat consumerSequence: UInt64) {}
}

/// Reads one consumer.
package final class JetStreamReader: NATSSubscriptionHandler {
    private enum Alarm {
        case due
        case tick
    }

    private unowned let connection: NATSConnection
    private let apiPrefix: String
    package let stream: String
    package private(set) var consumer: String
    private let options: JetStreamReaderOptions
    private var delegate: (any JetStreamReaderDelegate)?
    private var machine: PullMachine
    private var table = DeliveryTable()
    private var subscription: NATSSubscription?
    /// What reply subjects of pulls begin with, a dot at its end.
    private let prefix: [UInt8]
    private var pinID: String?
    private var timerStorage: DeadlineTimer<Alarm>?
    /// When the machine is called next, and by which entry.
    private var armed: (time: NIODeadline, handle: DeadlineHandle)?
    private var isTicking = false
    private var isProbing = false
    /// Whether a consumer that is made again may not begin at a sequence: that of a work queue, which keeps what is not
    /// settled.
    private var recreatesWhole = false

    /// - Parameters:
    ///   - apiPrefix: what the API's subjects begin with, a dot at its end.
    ///   - delegate: kept until the end.
    package init(
        connection: NATSConnection,
        apiPrefix: String,
        stream: String,
        consumer: String,
        options: JetStreamReaderOptions,
        delegate: any JetStreamReaderDelegate
    ) {
        self.connection = connection
        self.apiPrefix = apiPrefix
        self.stream = stream
        self.consumer = consumer
        self.options = options
        self.delegate = delegate
        var settings = options.pull
        settings.maximumPayload =
            connection.maximumPayload == .max ? settings.maximumPayload : connection.maximumPayload
        machine = PullMachine(settings, seed: .random(in: 0...UInt64.max))
        prefix = Array("\(connection.configuration.inboxPrefix).\(NATSConnection.uniqueName()).".utf8)
    }

    private var timer: DeadlineTimer<Alarm> {
        if let timerStorage { return timerStorage }
        let timer = DeadlineTimer<Alarm>(eventLoop: connection.eventLoop) { [unowned self] alarm in
            switch alarm {
            case .due:
                armed = nil
                let missedBeats = machine.faults.missedBeats
                carryOut(machine.due(at: .now()))
                if machine.faults.missedBeats > missedBeats { probe() }
            case .tick: tick()
            }
        }
        timerStorage = timer
        return timer
    }

    /// How many deliveries are not settled.
    package var unsettled: Int { table.count }
    /// The counters of what should not happen.
    package var faults: PullMachine.Faults { machine.faults }
    /// How many messages the server still owes for what was asked, and how many wait here.
    package var load: (outstanding: Int, held: Int) { (machine.outstanding, machine.held) }
    /// What waits here.
    package var waiting: (count: Int, bytes: Int) { (machine.held, machine.heldBytes) }

    // MARK: - Beginning and end

    /// Subscribes, and pulls as soon as there is a connection.
    ///
    /// - Throws: `NATSError` as `NATSConnection.subscribe`.
    package func start() throws(NATSError) {
        subscription = try connection.subscribe(
            subject: String(decoding: prefix, as: UTF8.self) + "*",
            queue: nil,
            handler: self
        )
        if connection.isConnected { carryOut(machine.connectionUp(at: .now())) }
    }

    /// Ends without loss (J28): what was asked for is taken back, what is under way is still delivered, then the
    /// delegate is told that it has ended. Whoever has messages that were not begun gives them back.
    package func stop() {
        machine.stop()
        guard let subscription, !subscription.isEnded else { return }
        _ = connection.drain(subscription)
    }

    /// Ends at once: what is under way is passed over. The delegate is not told.
    package func abandon() {
        delegate = nil
        machine.stop()
        timerStorage?.cancelAll()
        guard let subscription else { return }
        self.subscription = nil
        connection.unsubscribe(subscription)
    }

    private func end(_ error: JetStreamError?) {
        guard let delegate else { return }
        self.delegate = nil
        machine.stop()
        timerStorage?.cancelAll()
        let subscription = subscription
        self.subscription = nil
        delegate.readerEnded(self, error: error)
        if let subscription { connection.unsubscribe(subscription) }
    }

    package func subscriptionEnded(_ subscription: NATSSubscription, reason: NATSSubscriptionEnd) {
        self.subscription = nil
        end(reason.error.map { JetStreamError($0) })
    }

    // MARK: - Connection

    /// The connection is there again, and the subscription with it.
    package func connectionUp() {
        guard delegate != nil else { return }
        carryOut(machine.connectionUp(at: .now()))
    }

    /// The connection is lost.
    package func connectionLost() {
        machine.connectionLost()
    }

    // MARK: - Messages

    package func receive(_ message: borrowing NATSInboundMessage, on subscription: NATSSubscription) {
        if let token = token(of: message.subject) {
            guard let status = PullStatus(headers: message.headers) else { return }
            if case .wrongPin = status.kind { pinID = nil }
            carryOut(machine.received(status, token: token, at: .now()))
            if case .heartbeat(let sequence?) = status.kind { delegate?.reader(self, heartbeat: sequence) }
            return
        }
        guard let delegate, let numbers = AckSubject(message.reply) else { return }
        let now = NIODeadline.now()
        let size = message.subject.count + message.reply.count + message.headers.count + message.payload.count
        machine.received(bytes: size, at: now)
        if options.group.name != nil, message.hasHeaders { notePin(message.headers) }
        let reply = String(decoding: message.reply, as: UTF8.self)
        var id = JetStreamDeliveryID.none
        if options.ackWait != nil || options.recreation != nil {
            id = table.insert(
                sequence: numbers.streamSequence,
                reply: reply,
                at: now,
                until: options.extends.map { now + $0 } ?? now
            )
        }
        beginTicking()
        delegate.reader(self, received: message, JetStreamDelivery(id: id, numbers: numbers, reply: reply, size: size))
        arm()
    }

    /// The token of a pull, when `subject` is the reply subject of one: what is delivered has the stream's subject
    /// (A6).
    private func token(of subject: UnsafeRawBufferPointer) -> UInt64? {
        guard subject.count > prefix.count,
            UnsafeRawBufferPointer(rebasing: subject[0..<prefix.count]).elementsEqual(prefix)
        else { return nil }
        return ASCII.decimal(UnsafeRawBufferPointer(rebasing: subject[prefix.count...])).map(UInt64.init) ?? 0
    }

    private func notePin(_ headers: UnsafeRawBufferPointer) {
        guard let pin = NATSHeaderLines(headers).firstValue(of: "Nats-Pin-Id") else { return }
        pinID = String(decoding: pin, as: UTF8.self)
    }

    /// Messages that waited here are being handled, or were given back.
    package func taken(_ count: Int, bytes: Int) {
        carryOut(machine.taken(count, bytes: bytes, at: .now()))
    }

    /// What was done elsewhere.
    func note(_ done: DeliveriesDone) {
        for id in done.settled { table.remove(id) }
        if done.taken > 0 { taken(done.taken, bytes: done.bytes) }
    }

    /// Messages that an earlier reader has brought still wait here; to be said before the start.
    package func inherit(_ load: (count: Int, bytes: Int)) {
        machine.inherit(load.count, bytes: load.bytes)
    }

    /// Settles a delivery, once.
    ///
    /// - Returns: false when it was settled before; nothing is sent then.
    @discardableResult
    package func settle(
        _ delivery: JetStreamDelivery,
        _ settlement: JetStreamSettlement,
        backoff: [TimeAmount] = []
    ) -> Bool {
        guard table.remove(delivery.id) else { return false }
        publish(settlement.body(deliveries: delivery.numbers.deliveries, backoff: backoff), to: delivery.reply)
        return true
    }

    /// A delivery was settled by another way.
    package func settled(_ id: JetStreamDeliveryID) {
        table.remove(id)
    }

    /// A plain publish, which goes out with the read burst (J22).
    func publish(_ body: [UInt8], to subject: String) {
        var subject = subject
        _ = subject.withUTF8 { subject in
            body.withUnsafeBytes { body in
                // Without room the server delivers again, as it does without an acknowledgement.
                connection.publish(
                    subject: UnsafeRawBufferPointer(subject),
                    reply: .none,
                    headers: .none,
                    payload: body,
                    room: .reply
                )
            }
        }
    }

    // MARK: - Time

    /// A third of what the server waits for, and a second at most.
    private var tickInterval: TimeAmount {
        let third = options.ackWait.map { TimeAmount.nanoseconds($0.nanoseconds / 3) } ?? .seconds(1)
        return max(.milliseconds(10), min(third, .seconds(1)))
    }

    private func beginTicking() {
        guard !isTicking else { return }
        isTicking = true
        timer.schedule(.tick, at: .now() + tickInterval)
    }

    private func tick() {
        isTicking = false
        guard let delegate else { return }
        delegate.readerTicked(self)
        if let wait = options.ackWait, options.extends != nil {
            // A tick may come late: a little before a third of the time is over is as good.
            let interval = TimeAmount.nanoseconds(wait.nanoseconds / 3 - tickInterval.nanoseconds / 2)
            table.extend(at: .now(), each: interval) { publish(JetStreamSettlement.inProgress, to: $0) }
        }
        if table.count > 0 || machine.held > 0 { beginTicking() }
    }

    /// Asks whether the server is there at all. A link that is dead without a word would be noticed by the client's own pings
    /// minutes later; here a heartbeat's time without an answer is enough to make another connection.
    private func probe() {
        guard !isProbing, connection.isConnected else { return }
        isProbing = true
        let received = connection.statistics.bytesIn
        let deadline = NIODeadline.now() + options.pull.heartbeat
        connection.flush(deadline: deadline).assumeIsolated().whenComplete { [weak self] result in
            guard let self else { return }
            isProbing = false
            guard case .failure(let error) = result, (error as? NATSError)?.code == .timeout, delegate != nil else {
                return
            }
            probeEnded(received)
        }
    }

    /// No answer came in time. A loop that was busy for long finds its alarms due before it looks at its sockets, so they are
    /// looked at first.
    private func probeEnded(_ received: UInt64) {
        connection.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(100)) { [weak self] in
            guard let self, delegate != nil, connection.isConnected, connection.statistics.bytesIn == received else {
                return
            }
            guard connection.link?.waitsForTurn == false else { return }
            connection.reconnect()
        }
    }

    private func arm() {
        guard let deadline = machine.deadline else { return }
        if let armed {
            // Usually the time has become later: the early call then finds nothing.
            guard deadline < armed.time else { return }
            timer.cancel(armed.handle)
        }
        armed = (deadline, timer.schedule(.due, at: deadline))
    }

    // MARK: - Actions

    private func carryOut(_ action: PullMachine.Action) {
        switch action {
        case .none: break
        case .pull(let pull): send(pull)
        case .ask: askInfo()
        case .recreate: recreate()
        case .end(let error): end(error)
        }
        if let warning = machine.takeWarning() { delegate?.reader(self, warns: warning) }
        if delegate != nil { arm() }
    }

    private func send(_ pull: PullMachine.Pull) {
        var members = JSONMembers()
        members.set("batch", pull.messages)
        members.set("max_bytes", pull.bytes)
        members.set("expires", pull.expires)
        members.set("idle_heartbeat", pull.heartbeat)
        members.set("group", options.group.name)
        members.set("id", pinID)
        members.set("min_pending", options.group.minPending)
        members.set("min_ack_pending", options.group.minAckPending)
        members.set("priority", options.group.priority)
        var subject = "\(apiPrefix)CONSUMER.MSG.NEXT.\(stream).\(consumer)"
        let reply = prefix + Array("\(pull.token)".utf8)
        let refusal = subject.withUTF8 { subject in
            reply.withUnsafeBytes { reply in
                members.value.bytes().withUnsafeBytes { body in
                    connection.publish(
                        subject: UnsafeRawBufferPointer(subject),
                        reply: reply,
                        headers: .none,
                        payload: body,
                        room: .reply
                    )
                }
            }
        }
        if refusal != nil { carryOut(machine.pullRefused(at: .now())) }
    }

    private func askInfo() {
        JetStreamLoopCall.start(on: connection, "\(apiPrefix)CONSUMER.INFO.\(stream).\(consumer)") {
            [weak self] result in
            guard let self, delegate != nil else { return }
            let info: PullMachine.Info =
                switch result {
                case .success: .exists
                case .failure(let error) where error.code == .noConsumer || error.code == .noStream: .gone
                case .failure: .unavailable
                }
            carryOut(machine.infoAnswered(info, at: .now()))
        }
    }

    /// The server's number for a consumer of a work queue that does not begin with the first message.
    private static let workQueueStart = 10101

    /// Makes the consumer again, from behind what is settled (J12).
    private func recreate() {
        guard var configuration = options.recreation else { return carryOut(machine.recreated(false, at: .now())) }
        configuration.name = consumer
        // What was settled elsewhere since the last look counts.
        delegate?.readerTicked(self)
        if !recreatesWhole, let first = table.firstUnsettled { configuration.deliver = .fromSequence(first) }
        var body = JSONMembers()
        body.set("stream_name", stream)
        body.set("config", configuration.json)
        body.set("action", "create")
        let subject = apiPrefix + JetStreamStream.createSubject(stream, configuration)
        JetStreamLoopCall.start(on: connection, subject, body.value) { [weak self] result in
            guard let self, let delegate else { return }
            if case .success = result {
                // What was delivered by the consumer that is gone cannot be settled any more.
                table.removeAll()
                delegate.readerRestarted(self)
            }
            guard case .failure(let error) = result else { return carryOut(machine.recreated(true, at: .now())) }
            if error.errorCode == Self.workQueueStart, !recreatesWhole {
                recreatesWhole = true
                return recreate()
            }
            carryOut(machine.recreated(error.code == .consumerExists, at: .now()))
        }
    }
}

@available(*, unavailable)
extension JetStreamReader: Sendable {}

/// The readers of a connection, which must know when it comes and goes.
package final class JetStreamReaders: NATSConnectionAttachment {
    private var readers: [ObjectIdentifier: JetStreamReader] = [:]

    package init() {}

    package func add(_ reader: JetStreamReader) { readers[ObjectIdentifier(reader)] = reader }
    package func remove(_ reader: JetStreamReader) { readers[ObjectIdentifier(reader)] = nil }
    package var count: Int { readers.count }

    package func connectionUp() { for reader in readers.values { reader.connectionUp() } }
    package func connectionLost() { for reader in readers.values { reader.connectionLost() } }
    package func publishDenied(_ subject: String, _ text: String) {}
    package func connectionClosed() { readers = [:] }
}

@available(*, unavailable)
extension JetStreamReaders: Sendable {}

extension NATSClientCore {
    /// The readers of the client's connection.
    var jetStreamReaders: JetStreamReaders { attachment { JetStreamReaders() } }
}
