// Owns: a connection to NATS on one event loop, and what it consists of. What happens next is decided by its machine; the
// extensions beside it carry that out, receive, send and subscribe. Everything happens on the loop and asserts it; nothing
// here may know Lua or the host.

package import Logging
import LoopTools
package import NATSProtocol
package import NIOCore
package import Synchronization

/// A NATS connection that lives on one event loop.
///
/// All calls must come from the loop. Callbacks come on the loop, in the middle of a read burst, and may call everything
/// here, also `close`. What is published goes out with one write at the end of the burst, or of the loop's tick.
package final class NATSConnection {
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
    var machine: ConnectionMachine
    package internal(set) var serverInfo: NATSServerInfo?
    /// Completed by the first connection, or by the end.
    var connectPromise: EventLoopPromise<Void>?
    var drain: RunningDrain?

    /// The TCP connection once its handshake is done; nil while there is none.
    @exclusivity(unchecked) var link: NATSChannelHandler?
    /// The TCP connection whose handshake is going on.
    var handshaking: NATSChannelHandler?
    /// The TCP connection before `link`, as long as its server may still have something to say.
    @exclusivity(unchecked) var oldLink: OldLink?
    /// How other threads end the link when this one's loop does not come back.
    package let linkCut = NATSLinkCut()

    var pongs = PongQueue()
    var inbox = Inbox()
    /// Whether sends wait for a server that is too slow.
    @exclusivity(unchecked) var gate: CongestionGate
    @exclusivity(unchecked) var flushing = Flushing()
    /// Looked at after each delivery: not zero when the delegate is to be asked whether it is enough for this turn of the
    /// loop. Another thread may set it.
    @exclusivity(unchecked) package var turnFlag = neverOver
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
        hot.initialize(to: HotState(terms: SendTerms(outboundLimit: max(0, configuration.reconnectBufferBytes))))
        gate = CongestionGate(bound: configuration.maxPendingOutboundBytes)
        var random = SystemRandomNumberGenerator()
        let pool = ServerPool(configuration.servers, configuration.poolSettings, using: &random)
        machine = ConnectionMachine(configuration.machineSettings, pool)
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
        case .retry(let epoch): carryOut(machine.retryDue(epoch))
        case .ping(let epoch): pingTick(epoch)
        case .flushTimedOut(let ticket): flushTimedOut(ticket)
        case .requestTimedOut(let id): failRequest(id, .timeout)
        case .drainTimedOut: drainTimedOut()
        case .spread(let epoch): carryOut(machine.spreadingEnded(epoch))
        case .leave(let epoch): carryOut(machine.lateRepliesEnded(epoch))
        }
    }

    // MARK: - Looking

    package var state: NATSConnectionState { machine.state }

    /// Whether the handshake is done and the server is there.
    package var isConnected: Bool { link != nil }

    var epoch: Int { machine.epoch }
    var pool: ServerPool { machine.pool }
    var outstandingPings: Int { machine.outstandingPings }

    /// How far leaving a server has come, and which drains wait for that; nil while no server is left.
    var move: (step: ConnectionMachine.Move.Step, drains: [PongWaiter])? {
        machine.move.map { ($0.step, oldLink?.drains ?? []) }
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
        // A write that fails may close already.
        writeOutbound()
        carryOut(machine.close(error))
    }
}

@available(*, unavailable)
extension NATSConnection: Sendable {}

extension NATSConnectionConfiguration {
    fileprivate var machineSettings: ConnectionMachine.Settings {
        ConnectionMachine.Settings(
            reconnects: reconnect,
            retriesFirstConnection: retryOnFailedConnect,
            maximumAttempts: maxReconnectAttempts,
            refusalTime: ignoresAuthenticationErrors ? nil : authenticationRetryTime,
            maximumPings: maxPingsOutstanding,
            ignoresDiscoveredServers: ignoresDiscoveredServers
        )
    }

    fileprivate var poolSettings: ServerPool.Settings {
        ServerPool.Settings(
            maximumAttempts: maxReconnectAttempts,
            wait: reconnectWait,
            maximumWait: reconnectWaitMaximum,
            jitter: reconnectJitter,
            delay: reconnectDelay,
            isRandomized: randomizeServers,
            maximumDiscovered: max(0, maxDiscoveredServers)
        )
    }
}
