// Owns: one service on one worker: its connection, its subscriptions, timers and counters. Loop-bound. It outlives the
// scripts that serve it; a script only contributes registrations.

import CLuaShim
import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP

/// A running service.
final class Service {
    /// How far the service has come.
    enum State: Equatable {
        case loaded
        case starting
        case running
        case stopping
        case stopped
    }

    let worker: Worker
    /// What the workers of this service have in common.
    let shared: ServiceShared
    /// The script that serves.
    @exclusivity(unchecked) var script: Script
    /// The next one, while it is made ready beside it.
    var staged: Staging?
    /// Those before it that still run something, the oldest first.
    var draining: [Script] = []
    @exclusivity(unchecked) var options: AppOptions
    let clientName: String
    var logger: Logger
    @exclusivity(unchecked) var state = State.loaded
    let connection: NATSConnection
    private let events: ConnectionEvents

    /// Serialises everything under `app_strategy = "sync"`.
    @exclusivity(unchecked) var sync = SyncStrategy()
    /// The broker was lost before it confirmed the subscriptions.
    var awaitsReconnect = false
    /// The stop has come to the scripts' on_stop.
    var runsStopHooks = false
    /// At the stop: no more messages will arrive.
    var isDrained = false
    /// At the stop: no connection of the web server is left.
    var isWebDrained = true
    var isClosing = false
    var startPromise: EventLoopPromise<Void>?
    var stopPromise: EventLoopPromise<Void>?
    /// Why the service ended by itself.
    var failure: PaniniError?
    var onFailure: ((PaniniError) -> Void)?
    var isConnectedOnce = false
    /// When the log last said that there is no connection, in nanoseconds of the worker's clock, and why; nil when there
    /// is one.
    var lastRetryLogged: (at: UInt64, code: NATSError.Code)?

    /// Told once when a script's Lua state is full even after a collection: where it is replaced, as in a reload.
    var onExhausted: ((Script) -> Void)?

    // Counters.
    var exhaustedScripts: UInt64 = 0
    var undecodable: UInt64 = 0
    var invalidMessages: UInt64 = 0
    var refusedMessages: UInt64 = 0
    var droppedMessages: UInt64 = 0
    var errorReplies: UInt64 = 0
    var failedTasks: UInt64 = 0
    var brokerFaults = BrokerFaults()
    var webFaults = WebFaults()

    /// Serves HTTP; nil when the app does not.
    var web: HTTPServer?
    /// Servers of versions before, on other ports, whose connections end.
    var endingWebs: [HTTPServer] = []
    /// The sockets of all of them.
    let sockets = HTTPSockets()
    /// The port it is bound to.
    var webPort: Int?
    @exclusivity(unchecked) var requestsInFlight = 0
    /// Whether a web server opens its port; without, requests come by ``PaniniHost/handle(_:by:)`` alone.
    let opensWebPort: Bool
    /// It takes the place of one that was lost with its worker.
    let isReplacement: Bool
    /// Requests that came without a socket and are not answered yet.
    var localExchanges: [ObjectIdentifier: HTTPLocalExchange] = [:]
    /// Fetches for scripts.
    private(set) lazy var fetcher = HTTPFetcher(
        eventLoop: worker.eventLoop,
        maximumConnections: options.fetchMaxConnections
    )
    var refusedRequests: UInt64 = 0
    /// The subjects of `app.http.nats_bridge`.
    private(set) lazy var bridge = NATSBridge(service: self)

    @exclusivity(unchecked) var housekeeping = Housekeeping()
    /// Its part of the worker's time.
    let turn: ServiceTurn
    var rest = RestWatch()
    /// What waits for a broker that is too slow.
    var outflow = Outflow()

    /// Answers the NATS services protocol; nil when it is off.
    var directory: ServiceDirectory?
    /// The others are to be told anew what this worker serves.
    var isEndpointsChangeTold = false
    /// The clock at the first request of the read burst that is going on; 0 when there was none.
    @exclusivity(unchecked) var burstTime: UInt64 = 0

    private let errorWriter = ByteWriter()

    /// - Parameter isReplacement: It takes the place of one that was lost, so that its start is none of the service's.
    init(
        worker: Worker,
        shared: ServiceShared,
        script: Script,
        options: AppOptions,
        clientName: String,
        opensWebPort: Bool = true,
        isReplacement: Bool = false,
        logger: Logger
    ) throws(PaniniError) {
        self.worker = worker
        self.shared = shared
        self.script = script
        self.options = options
        self.clientName = clientName
        self.opensWebPort = opensWebPort
        self.isReplacement = isReplacement
        self.logger = logger
        self.events = ConnectionEvents()
        self.turn = ServiceTurn(worker, slice: options.sliceLimit)
        self.connection = NATSConnection(
            configuration: try Self.configuration(options, clientName: clientName, isPatient: isReplacement),
            eventLoop: worker.eventLoop,
            logger: logger,
            delegate: events
        )
        sync.isOn = options.isSync
        events.service = self
        turn.service = self
        connection.turnFlag = turn.flag
        attach(script, options)
        script.standing = .serving
        if options.services { directory = ServiceDirectory(service: self) }
    }

    var debug: Bool { options.debug }

    /// Every script that may run something.
    var scripts: [Script] { [script] + draining + (staged.map { [$0.script] } ?? []) }

    /// Makes what a script registered the service's.
    func attach(_ script: Script, _ options: AppOptions) {
        script.service = self
        for listener in script.registrations.listeners { adopt(listener, options) }
    }

    /// Makes a listener of a script one of the service's.
    func adopt(_ listener: Listener, _ options: AppOptions) {
        listener.queue = listener.options.queueGroup(ofApp: options.queueGroup)
        listener.timeoutNanoseconds = nanoseconds(listener.options.timeout ?? options.handlerTimeout)
        listener.script.listeners.insert(listener)
    }
}

@available(*, unavailable)
extension Service: Sendable {}

/// Seconds as nanoseconds; the callers' checks keep the value far from overflow.
func nanoseconds(_ seconds: Double) -> Int64 { Int64((seconds * 1e9).rounded()) }

// MARK: - Sending

extension Service {
    /// Hands a message to the connection; nothing is awaited.
    @inline(__always)
    func publish(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        room: NATSRoomPolicy = .refuse
    ) -> CallError? {
        guard
            let refusal = connection.publish(
                subject: subject,
                reply: reply,
                headers: headers,
                payload: payload,
                room: room
            )
        else { return nil }
        return describe(refusal)
    }

    func describe(_ refusal: NATSPublishRefusal) -> CallError {
        switch refusal {
        case .tooLarge(let limit):
            CallError("too_large", "the message is larger than the broker's limit of \(limit) bytes")
        case .closed, .draining: CallError("closed", "the connection to the broker is closed")
        case .bufferExceeded:
            connection.isConnected
                ? CallError(
                    "disconnected",
                    "the broker does not take messages fast enough: the outbound buffer is full"
                )
                : CallError("disconnected", "no connection to a broker, and the reconnect buffer is full")
        case .invalidSubject: CallError("invalid_subject", "the subject is not valid")
        case .invalidReply: CallError("invalid_subject", "the reply subject is not valid")
        case .lineTooLong(let limit):
            CallError("too_large", "the subject is too long: the broker takes lines of \(limit) bytes")
        case .headersUnsupported: CallError("headers", "the broker does not support headers")
        case .disconnected: CallError("disconnected", "there is no connection to a broker")
        case .tooManyRequests: CallError("too_many_requests", "too many requests wait for their reply already")
        }
    }

    /// Sends the error reply of lua-api §5.
    func sendError(_ error: ReplyError, to reply: UnsafeRawBufferPointer) {
        errorReplies &+= 1
        let limit = connection.payloadLimit
        let (block, isShortened) = ErrorReply.write(
            error,
            into: errorWriter,
            limit: limit,
            hasHeaders: connection.takesHeaders
        )
        let refusal = block.withUnsafeBytes {
            connection.publish(
                subject: reply,
                reply: emptyBytes,
                headers: $0,
                payload: errorWriter.bytes,
                room: .reply
            )
        }
        if isShortened {
            logger.warning(
                "an error reply (\(error.code)) was shortened: it is larger than the broker's limit of \(limit) bytes"
            )
        }
        var last = refusal
        switch refusal {
        case .headersUnsupported, .lineTooLong:
            // An old broker, or a reply subject that leaves no room for the headers' numbers: the body says the same.
            last = connection.publish(
                subject: reply,
                reply: emptyBytes,
                headers: emptyBytes,
                payload: errorWriter.bytes,
                room: .reply
            )
        default: break
        }
        guard let last else { return }
        let reason = describe(last)
        if reason.isLoss { return replyLost(reason) }
        fault(.unsentReply, .warning, "an error reply (\(error.code)) was not sent: \(reason.message)")
    }
}
