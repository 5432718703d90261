// Owns: reading a stream in order on a connection's loop. Each consumer that the machine asks for has a reader of its
// own; what an older one still brings is passed over. Goes on until it is stopped, whoever reads meanwhile (J20).
// Loop-bound.

import Bytes
import NATSProtocol
import NIOCore

/// What is read, and how.
package struct JetStreamOrderedOptions: Sendable {
    /// Which subjects; empty for all.
    package var filters: [String] = []
    package var start = JetStreamConsumer.DeliverPolicy.all
    package var headersOnly = false
    package var pull = PullMachine.Settings()
    /// What the consumers' names begin with.
    package var namePrefix = ""

    package init() {
        pull.messages = 500
    }
}

/// Whoever handles the messages. Called on the loop.
package protocol JetStreamOrderedDelegate: AnyObject {
    /// One message, in order, in the middle of a read burst. It waits here until `taken` is called.
    func ordered(
        _ reader: JetStreamOrderedReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    )
    /// A consumer is there, with so many messages before it. The first of several calls tells of the begin.
    func ordered(_ reader: JetStreamOrderedReader, created pending: UInt64)
    /// The stream is another one of the name: what comes now begins anew (J19).
    func orderedStreamChanged(_ reader: JetStreamOrderedReader)
    /// A second has passed: a time to look for what was taken.
    func orderedTicked(_ reader: JetStreamOrderedReader)
    /// The first consumer could not be created. The reader has ended.
    func ordered(_ reader: JetStreamOrderedReader, failed error: JetStreamError)
    /// Nothing comes any more; nil when somebody asked for that.
    func orderedEnded(_ reader: JetStreamOrderedReader, error: JetStreamError?)
}

package final class JetStreamOrderedReader: JetStreamReaderDelegate {
    private let connection: NATSConnection
    private let apiPrefix: String
    package let stream: String
    private let options: JetStreamOrderedOptions
    private let readers: JetStreamReaders
    private var delegate: (any JetStreamOrderedDelegate)?
    private var machine: OrderedMachine
    private var reader: JetStreamReader?
    private var hasBegun = false
    private var streamChanges = 0
    private let name: String
    private var restTimer: Scheduled<Void>?

    /// - Parameters:
    ///   - apiPrefix: what the API's subjects begin with, a dot at its end.
    ///   - readers: those that hear of the connection.
    ///   - delegate: kept until the end.
    package init(
        connection: NATSConnection,
        apiPrefix: String,
        stream: String,
        options: JetStreamOrderedOptions,
        readers: JetStreamReaders,
        delegate: any JetStreamOrderedDelegate
    ) {
        self.connection = connection
        self.apiPrefix = apiPrefix
        self.stream = stream
        self.options = options
        self.readers = readers
        self.delegate = delegate
        machine = OrderedMachine(options.start, seed: .random(in: 0...UInt64.max))
        name = (options.namePrefix.isEmpty ? "ordered" : options.namePrefix) + "_" + NATSConnection.uniqueName()
    }

    /// The last sequence that was delivered.
    package var lastSequence: UInt64 { machine.lastSequence }
    /// How often something was missing.
    package var gaps: Int { machine.gaps }

    // MARK: - Beginning and end

    package func start() {
        // Its readers hear of the connection; this hears of its end by theirs, and while there is none, by the calls'.
        carryOut(machine.begin())
    }

    /// Ends at once, and removes the consumer.
    package func stop() { end(nil) }

    private func end(_ error: JetStreamError?) {
        guard let delegate else { return }
        self.delegate = nil
        machine.end()
        restTimer?.cancel()
        discard()
        delegate.orderedEnded(self, error: error)
    }

    /// Messages that waited here are being handled.
    package func taken(_ count: Int, bytes: Int) {
        guard let reader else { return machine.taken(count, bytes: bytes) }
        reader.taken(count, bytes: bytes)
    }

    // MARK: - Actions

    private func carryOut(_ action: OrderedMachine.Action) {
        switch action {
        case .none: break
        case .look: look()
        case .create(let policy, let attempt): create(policy, attempt)
        case .discard:
            discard()
            rest()
        }
    }

    private func rest() {
        guard let deadline = machine.deadline else { return }
        restTimer = connection.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            guard let self, delegate != nil else { return }
            carryOut(machine.due(at: .now()))
        }
    }

    /// Throws the reader away and removes its consumer, without waiting for that.
    private func discard() {
        guard let reader else { return }
        self.reader = nil
        machine.leave(reader.waiting)
        readers.remove(reader)
        reader.abandon()
        guard connection.isConnected else { return }
        JetStreamLoopCall.start(
            on: connection,
            "\(apiPrefix)CONSUMER.DELETE.\(stream).\(reader.consumer)",
            timeout: .seconds(1)
        ) { _ in }
    }

    private func look() {
        discard()
        JetStreamLoopCall.start(on: connection, "\(apiPrefix)STREAM.INFO.\(stream)") { [weak self] result in
            guard let self, delegate != nil else { return }
            switch result {
            case .success(let json):
                let last = json["state"]?.sequence("last_seq") ?? 0
                carryOut(machine.streamAnswered(.exists(created: json.time("created"), lastSequence: last), at: .now()))
            case .failure(let error):
                guard !isFinal(error) else { return fail(error) }
                carryOut(machine.streamAnswered(error.code == .noStream ? .gone : .unavailable, at: .now()))
            }
        }
    }

    private func create(_ policy: JetStreamConsumer.DeliverPolicy, _ attempt: Int) {
        if machine.streamChanges > streamChanges {
            streamChanges = machine.streamChanges
            delegate?.orderedStreamChanged(self)
        }
        var configuration = JetStreamConsumer.Configuration(name: "\(name)_\(attempt)")
        configuration.deliver = policy
        configuration.acks.policy = .none
        configuration.acks.maxDeliver = 1
        configuration.filters = options.filters.isEmpty && policy == .lastPerSubject ? [">"] : options.filters
        configuration.headersOnly = options.headersOnly
        configuration.inactiveThreshold = .seconds(60)
        configuration.isInMemory = true
        configuration.replicas = 1
        var body = JSONMembers()
        body.set("stream_name", stream)
        body.set("config", configuration.json)
        body.set("action", "create")
        let subject = apiPrefix + JetStreamStream.createSubject(stream, configuration)
        JetStreamLoopCall.start(on: connection, subject, body.value) { [weak self] result in
            guard let self, delegate != nil else { return }
            switch result {
            case .success(let json): read(configuration.name, pending: json.sequence("num_pending"))
            case .failure(let error):
                guard !isFinal(error) else { return fail(error) }
                carryOut(machine.failed(at: .now()))
            }
        }
    }

    /// Whether whoever has begun to read should hear of an error; once it reads, it goes on.
    private func isFinal(_ error: JetStreamError) -> Bool {
        if error.code == .connection || error.code == .permission { return true }
        return !hasBegun
    }

    private func fail(_ error: JetStreamError) {
        guard !hasBegun, let delegate else { return end(error) }
        self.delegate = nil
        machine.end()
        delegate.ordered(self, failed: error)
    }

    private func read(_ consumer: String, pending: UInt64) {
        hasBegun = true
        machine.created(at: .now())
        var settings = options.pull
        settings.onDeleted = .stop
        var readerOptions = JetStreamReaderOptions()
        readerOptions.pull = settings
        let made = JetStreamReader(
            connection: connection,
            apiPrefix: apiPrefix,
            stream: stream,
            consumer: consumer,
            options: readerOptions,
            delegate: self
        )
        made.inherit(machine.handOver())
        reader = made
        readers.add(made)
        do throws(NATSError) {
            try made.start()
        } catch {
            return end(JetStreamError(error))
        }
        delegate?.ordered(self, created: pending)
    }

    // MARK: - What the reader says

    package func reader(
        _ reader: JetStreamReader,
        received message: borrowing NATSInboundMessage,
        _ delivery: JetStreamDelivery
    ) {
        guard reader === self.reader, let delegate else { return }
        switch machine.received(delivery: delivery.numbers.consumerSequence, sequence: delivery.numbers.streamSequence)
        {
        case .deliver: delegate.ordered(self, received: message, delivery)
        case .skip: reader.taken(1, bytes: delivery.size)
        case .gap:
            reader.taken(1, bytes: delivery.size)
            carryOut(machine.restart(at: .now()))
        }
    }

    package func reader(_ reader: JetStreamReader, heartbeat consumerSequence: UInt64) {
        guard reader === self.reader, machine.isMissing(upTo: consumerSequence) else { return }
        carryOut(machine.restart(at: .now()))
    }

    package func readerTicked(_ reader: JetStreamReader) {
        if reader === self.reader { delegate?.orderedTicked(self) }
    }

    package func reader(_ reader: JetStreamReader, warns warning: PullMachine.Warning) {}

    package func readerRestarted(_ reader: JetStreamReader) {}

    package func readerEnded(_ reader: JetStreamReader, error: JetStreamError?) {
        guard reader === self.reader else { return }
        readers.remove(reader)
        machine.leave(reader.waiting)
        self.reader = nil
        // The connection is closed, or drains.
        guard let error else { return end(nil) }
        guard error.code != .permission, error.code != .connection else { return end(error) }
        carryOut(machine.failed(at: .now()))
    }
}

@available(*, unavailable)
extension JetStreamOrderedReader: Sendable {}
