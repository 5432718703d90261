// The connection to NATS on one event loop: its state, and who may do what in which state. How it connects, receives,
// sends and drains stands in the extensions beside it. Everything happens on the loop and asserts it; nothing here knows
// Lua or the host.

package import Logging
package import NATSProtocol
package import NIOCore
package import Synchronization

/// A NATS connection that lives on one event loop.
///
/// All calls must come from the loop. Callbacks come on the loop, in the middle of a read burst, and may call everything
/// here, also `close`. What is published goes out with one write at the end of the burst, or of the loop's tick.
package final class NATSConnection {
    package enum State: Sendable, Equatable {
        /// `connect` was not called yet.
        case idle
        case connecting
        case connected
        case reconnecting
        case draining
        case closed
    }

    enum TimerEvent {
        case attemptTimedOut(Int)
        case retry(Int)
        case ping(Int)
        case flushTimedOut(Int)
        case requestTimedOut(NATSRequestID)
        case drainTimedOut
        /// The cluster knows the new place of the subscriptions.
        case spread(Int)
        /// The server that was left need not be listened to any longer.
        case leave(Int)
    }

    /// Opens a TCP connection to a server and adds the handler to it.
    typealias Connector = (NATSServerAddress, NATSChannelHandler) -> EventLoopFuture<Void>

    package let configuration: NATSConnectionConfiguration
    package let eventLoop: any EventLoop
    let logger: Logger
    /// Not weak: a weak reference would make every retain of the delegate slower, and it usually handles messages, too.
    /// Cleared by `close`, before which the delegate may not go.
    unowned var delegate: (any NATSConnectionDelegate)?
    var connector: Connector?

    // State.
    package internal(set) var state = State.idle
    package internal(set) var serverInfo: NATSServerInfo?
    var pool: ServerPool
    /// Whether the last the delegate heard of the cluster is that it has servers that are left out.
    var areServersIgnored = false
    var random = SystemRandomNumberGenerator()
    /// Counts attempts and connections, so that what belongs to an old one is recognised.
    var epoch = 0
    var hasBeenConnected = false
    /// Whether the last the delegate heard is that the connection is up: it hears of each loss once, also when the loss
    /// comes in the middle of closing or the other way round.
    private var isAnnounced = false
    var lastError: NATSError?
    var connectPromise: EventLoopPromise<Void>?
    var outstandingPings = 0
    /// The epoch of `link`.
    var linkEpoch = 0
    /// Set while the server has asked its clients to leave.
    @exclusivity(unchecked) var move: MoveProgress?
    var drain: DrainProgress?

    // Inbound.
    var pongs = PongQueue()
    /// `<prefix>.<unique>.`, what the reply subjects of requests begin with; empty before the first request.
    var inbox: [UInt8] = []
    var inboxSID = 0

    // Outbound.
    /// The TCP connection once its handshake is done; nil while there is none.
    @exclusivity(unchecked) var link: NATSChannelHandler?
    /// How other threads end the link when this one's loop does not come back.
    package let linkCut = NATSLinkCut()
    /// The TCP connection whose handshake is going on.
    var handshaking: NATSChannelHandler?
    /// How many bytes may be unsent in the current state.
    var outboundLimit: Int
    /// Whether sends wait for a server that is too slow.
    @exclusivity(unchecked) var gate: CongestionGate
    var maximumPayload = Int.max
    var headersRefused = false
    /// nil while publishing is allowed.
    var publishRefusal: NATSPublishRefusal?
    @exclusivity(unchecked) var inBurst = false
    /// Looked at after each delivery: not zero when the delegate is to be asked whether it is enough for this turn of the
    /// loop. Another thread may set it.
    @exclusivity(unchecked) package var turnFlag = neverOver
    @exclusivity(unchecked) var flushScheduled = false
    var flushTask: (@Sendable () -> Void)?
    let hot: UnsafeMutablePointer<HotState>

    private var timerStorage: DeadlineTimer<TimerEvent>?

    /// - Parameters:
    ///   - configuration: `servers` must not be empty.
    ///   - logger: gets details at level debug; what people should see is for the delegate to say.
    ///   - delegate: not retained; must live until the connection is closed.
    package init(
        configuration: NATSConnectionConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        delegate: any NATSConnectionDelegate
    ) {
        self.configuration = configuration
        self.eventLoop = eventLoop
        self.logger = logger
        self.delegate = delegate
        hot = .allocate(capacity: 1)
        hot.initialize(to: HotState())
        outboundLimit = max(0, configuration.reconnectBufferBytes)
        gate = CongestionGate(bound: configuration.maxPendingOutboundBytes)
        pool = ServerPool(
            configuration.servers,
            ServerPool.Settings(
                maximumAttempts: configuration.maxReconnectAttempts,
                wait: configuration.reconnectWait,
                maximumWait: configuration.reconnectWaitMaximum,
                jitter: configuration.reconnectJitter,
                delay: configuration.reconnectDelay,
                isRandomized: configuration.randomizeServers,
                maximumDiscovered: max(0, configuration.maxDiscoveredServers)
            ),
            using: &random
        )
    }

    deinit {
        assert(state == .closed || state == .idle, "a connection must be closed before it is dropped")
        hot.deinitialize(count: 1)
        hot.deallocate()
    }

    /// The one timer of the connection; made on first use, as it calls back into `self`.
    var timer: DeadlineTimer<TimerEvent> {
        if let timerStorage { return timerStorage }
        let timer = DeadlineTimer<TimerEvent>(eventLoop: eventLoop) { [unowned self] in self.timerFired($0) }
        timerStorage = timer
        return timer
    }

    private func timerFired(_ event: TimerEvent) {
        switch event {
        case .attemptTimedOut(let epoch): attemptTimedOut(epoch)
        case .retry(let epoch): retry(epoch)
        case .ping(let epoch): pingTick(epoch)
        case .flushTimedOut(let ticket): flushTimedOut(ticket)
        case .requestTimedOut(let id): failRequest(id, .timeout)
        case .drainTimedOut: drainTimedOut()
        case .spread(let epoch): subscriptionsSpread(epoch)
        case .leave(let epoch): leave(epoch)
        }
    }

    /// Whether the handshake is done and the server is there.
    package var isConnected: Bool { link != nil }

    func emit(_ event: NATSEvent) {
        switch event {
        case .connected, .reconnected: isAnnounced = true
        case .disconnected: isAnnounced = false
        default: break
        }
        delegate?.connection(self, event: event)
    }

    // MARK: - Closing

    /// Closes for good. What was published is handed to the socket first; subscriptions end, and everything waiting
    /// fails with `closed`. Further calls do nothing.
    package func close() {
        eventLoop.assertInEventLoop()
        close(error: nil)
    }

    func close(error: NATSError?) {
        guard state != .closed else { return }
        writeOutbound()
        // A write that fails may have closed already.
        guard state != .closed else { return }
        state = .closed
        publishRefusal = .closed
        epoch += 1
        timer.cancelAll()
        let failure = error ?? .closed
        stopMoving()
        if let link {
            giveUp(takeUnwritten(&unwritten, of: link), failure)
        }
        link?.detach()
        handshaking?.detach()
        link = nil
        handshaking = nil
        inBurst = false
        gate.reset()
        giveUpUnsent(failure)
        failWaiters(pongs: failure, requests: .closed)
        for subscription in subscriptions.sorted() {
            end(subscription, .closed)
        }
        let connecting = connectPromise
        let draining = drain?.promise
        connectPromise = nil
        drain = nil
        if isAnnounced {
            emit(.disconnected(error))
        }
        emit(.closed(error))
        delegate = nil
        flushTask = nil
        // Last: whoever waits for the end lets go of the delegate with it, from another thread.
        connecting?.fail(failure)
        draining?.fail(failure)
    }

    /// Fails everything that waits for the server. The state must be set before: those who wait may call back.
    func failWaiters(pongs error: NATSError, requests failure: NATSRequestFailure) {
        fail(pongs.removeAll(), error)
        for id in requests.pending() {
            failRequest(id, failure)
        }
    }

    func fail(_ waiters: [PongWaiter], _ error: NATSError) {
        for waiter in waiters {
            switch waiter {
            case .none, .connectionDrain, .moveSubscribed, .moveUnsubscribed: break
            case .flush(let waiter):
                timer.cancel(waiter.deadline)
                waiter.promise.fail(error)
            case .subscriptionDrained(let subscription, let promise):
                end(subscription, error.code == .closed ? .closed : .disconnected)
                promise.fail(error)
            }
        }
    }
}

@available(*, unavailable)
extension NATSConnection: Sendable {}
