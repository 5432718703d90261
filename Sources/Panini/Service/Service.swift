// Owns: one service on one worker: its connection, its subscriptions, timers and counters. Loop-bound. It outlives the
// scripts that serve it; a script only contributes registrations.

import Logging
import LuaVM
import NATS
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

/// A running service.
final class Service: ScriptHost {
    /// How far the service has come.
    enum State: Equatable {
        case loaded
        case starting
        case running
        case stopping
        case stopped
    }

    /// What the workers of this service have in common.
    let shared: SharedServiceState
    /// The script that serves.
    @exclusivity(unchecked) var script: Script
    /// The next one, while it is made ready beside it.
    var staged: Staging?
    /// Those before it that still run something, the oldest first.
    @exclusivity(unchecked) var draining: [Script] = []
    @exclusivity(unchecked) var options: AppOptions
    let clientName: String
    var logger: Logger
    /// How far it has come.
    @exclusivity(unchecked) var lifecycle = ServiceMachine<PaniniError>()
    /// Those who wait for the end of its start, and of its stop.
    var promises = ServicePromises()
    let connection: NATSConnection
    let events: ConnectionEvents

    /// Serialises everything under `app_strategy = "sync"`.
    @exclusivity(unchecked) var sync = SyncStrategy()
    /// Where the host hears of it.
    var callbacks = ServiceCallbacks()
    var counters = ServiceCounters()
    /// It takes the place of one that was lost with its worker.
    let isReplacement: Bool
    /// What its features have of it.
    @exclusivity(unchecked) private(set) var features = ServiceFeatures()

    @exclusivity(unchecked) var housekeeping = Housekeeping()
    /// Which losses of the connection to the broker were logged.
    @exclusivity(unchecked) var losses = BrokerLosses()
    /// - Parameter isReplacement: It takes the place of one that was lost, so that its start is none of the service's.
    init(
        worker: Worker,
        shared: SharedServiceState,
        script: Script,
        options: AppOptions,
        clientName: String,
        opensWebPort: Bool = true,
        isReplacement: Bool = false,
        features kinds: [ServiceFeature.Type],
        logger: Logger
    ) throws(PaniniError) {
        self.shared = shared
        self.script = script
        self.options = options
        self.clientName = clientName
        self.isReplacement = isReplacement
        self.logger = logger
        self.events = ConnectionEvents()
        guard let turn = ServiceTurn(worker, slice: options.sliceLimit) else {
            throw PaniniError(
                code: .scriptFailed,
                message: "no memory, or no free real-time signal, for the watchdog of Lua"
            )
        }
        self.connection = NATSConnection(
            configuration: try Self.configuration(options, clientName: clientName, isPatient: isReplacement),
            eventLoop: worker.eventLoop,
            logger: logger,
            delegate: events
        )
        super.init(worker: worker, turn: turn)
        sync.isOn = options.isSync
        events.service = self
        events.share = turn.share
        turn.delegate = self
        connection.turnFlag = turn.flag
        for kind in kinds { features.add(kind.init(self)) }
        web.opensPort = opensWebPort
        attach(script)
        script.lifecycle.serve()
    }

    var debug: Bool { options.debug }

    override func awaitsEnd(of script: Script) -> Bool { script.version.lifecycle.isDraining || lifecycle.isStopping }

    /// Something of a script has ended.
    @inline(__always)
    func endIfAwaited(_ script: Script) {
        // Most often there is no other version, and nobody waits.
        if !draining.isEmpty || lifecycle.isStopping, awaitsEnd(of: script) { endIfIdle(script) }
    }

    /// Goes on with the stop, or with the end of a script that was replaced, when nothing of it runs any more.
    override func endIfIdle(_ script: Script) {
        if lifecycle.isStopping { stopIfIdle() } else { retireIfIdle(script) }
    }

    override func workWasDone() { noteWork() }

    override func scriptExhausted(_ script: Script) {
        counters.scriptExhausted()
        logger.error(
            """
            the memory of the Lua state is used up: \(script.vm.memoryInUse) of \(script.vm.memoryLimit) bytes are in use \
            after a collection (limits.memory)
            """
        )
        callbacks.exhausted?(script)
    }

    var state: State {
        switch lifecycle.phase {
        case .loaded: .loaded
        case .connecting, .preparing, .runningStartTasks, .subscribing, .confirming, .awaitingReconnect, .subscribed:
            .starting
        case .openingPort, .serving: .running
        case .draining, .runningStopHooks, .closing: .stopping
        case .stopped: .stopped
        }
    }

    /// Every script that may run something.
    var scripts: [Script] { [script] + draining + (staged.map { [$0.script] } ?? []) }

    /// Makes what a script registered the service's.
    func attach(_ script: Script) {
        script.host = self
        for feature in features.all { feature.attach(script) }
    }
}

extension Script {
    /// The service this script serves; `nil` for `panini check`.
    var service: Service? {
        @inline(__always) get { host.map { unsafeDowncast($0, to: Service.self) } }
    }
}

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

    func describe(_ refusal: NATSPublishError) -> CallError {
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
}
