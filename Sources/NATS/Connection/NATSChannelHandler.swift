// Owns: the end of one TCP connection's pipeline: it feeds the read buffer to the parser and hands each operation to the
// connection. There is one instance per TCP connection; once detached it drops whatever still comes, so a dying socket can
// never touch its successor. Loop-bound; may not know what operations mean.

import NATSProtocol
import NIOCore
import NIOTLS
import Synchronization

final class NATSChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// nil once detached.
    @exclusivity(unchecked) private(set) var connection: NATSConnection?
    var handshake = HandshakeMachine()
    /// What the server said last.
    var info = NATSServerInfo()
    /// Whom it is connected to.
    let address: NATSServerAddress
    /// Whether TLS protects it, or will before another byte is sent.
    var isEncrypted = false
    /// Whether the TLS handshake is done; below a WebSocket it always is.
    private(set) var hasTLSBegun: Bool
    /// The socket, while a WebSocket upgrade keeps this handler out of its pipeline.
    var socket: (any Channel)?
    /// What this connection proves its identity with.
    var credentials = NATSPreparedCredentials.pending
    private(set) var context: ChannelHandlerContext?
    private(set) var isWritable = true
    /// PINGs that wait until the server reads their answers.
    private(set) var owedPongs: OwedPongs
    @exclusivity(unchecked) private var parser: NATSOperationParser
    /// What the last read left: the beginning of an operation, and what is held.
    @exclusivity(unchecked) private var leftover = ByteBuffer()

    /// Whether something was read that is not worked on yet: the beginning of an operation, or what is held.
    var hasLeftover: Bool { leftover.readableBytes > 0 }

    /// Above this, a leftover buffer is not kept after the large message that needed it.
    static let retainedCapacity = 1 << 20

    init(connection: NATSConnection, address: NATSServerAddress, limits: NATSOperationParser.Limits) {
        self.connection = connection
        self.address = address
        hasTLSBegun = address.scheme.isWebSocket
        owedPongs = OwedPongs(limit: connection.configuration.maxOwedPongs)
        parser = NATSOperationParser(limits: limits)
    }

    /// Cuts the tie to the connection and closes the socket; what was flushed before still goes out.
    func detach() {
        connection = nil
        if let context {
            context.close(promise: nil)
        } else {
            socket?.close(promise: nil)
        }
        socket = nil
    }

    /// Whether what it is given to write is what the socket writes, and the loss of the connection is told before its
    /// channel forgets how much it had not written.
    private(set) var tellsUnwritten = false

    /// Asks for an account of what is not written, once the connection is made. TLS and WebSocket write other bytes.
    func tellUnwritten() {
        guard !isEncrypted, !address.scheme.isWebSocket, let options = context?.channel.syncOptions else { return }
        // Otherwise the end of what the peer sends closes the channel before anybody hears of it.
        tellsUnwritten = (try? options.setOption(.allowRemoteHalfClosure, value: true)) != nil
    }

    /// How many bytes the socket has not taken; nil when the channel is closed already, and nobody knows.
    var bufferedBytes: Int? {
        guard let channel = context?.channel, channel.isActive else { return nil }
        return try? channel.syncOptions?.getOption(.bufferedWritableBytes)
    }

    func write(_ buffer: ByteBuffer) {
        context?.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    /// A PING came; what to do about it.
    func owePong() -> OwedPongs.Answer { owedPongs.ping(hasRoom: isWritable) }

    /// Why messages are left where they are, here and in the socket.
    struct Hold: OptionSet {
        let rawValue: UInt8

        /// Until the server takes more of what is sent.
        static let congestion = Hold(rawValue: 1)
        /// Until others have had their turn.
        static let turn = Hold(rawValue: 2)
    }

    private var holds: Hold = []
    /// There is a reason.
    @exclusivity(unchecked) private(set) var isHeld = false
    private var isReading = true
    /// Something was read, and waits until others have had their turn.
    var waitsForTurn: Bool { holds.contains(.turn) && leftover.readableBytes > 0 }

    func hold(_ reason: Hold) {
        guard holds.insert(reason).inserted else { return }
        isHeld = true
        // In the middle of a read it is not known yet what will be left of it: see keepReading.
        if reason == .congestion { keepReading() }
    }

    /// Goes on with what was left.
    func release(_ reason: Hold) {
        guard holds.remove(reason) != nil, holds.isEmpty else { return }
        isHeld = false
        if let connection, leftover.readableBytes > 0 {
            connection.beginBurst(bytes: 0)
            parseLeftover(connection)
            self.connection?.endBurst()
        }
        keepReading()
    }

    /// The socket is read unless there is enough here: a connection that waits for its turn gets one read beforehand.
    private func keepReading() {
        let isOn = !holds.contains(.congestion) && !waitsForTurn
        guard isOn != isReading, let channel = context?.channel, channel.isActive else { return }
        do {
            try channel.syncOptions?.setOption(.autoRead, value: isOn)
            isReading = isOn
        } catch {
            // The channel is closing, which is told by itself.
            return
        }
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        socket = nil
        isWritable = context.channel.isWritable
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        connection = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        connection?.linkLost(self, error: TransportFailure.closed(self))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        connection?.linkLost(self, error: TransportFailure.error(error, self))
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event, let connection {
            hasTLSBegun = true
            connection.perform(handshake.tlsEstablished(), self)
        }
        if case ChannelEvent.inputClosed = event {
            connection?.linkLost(self, error: TransportFailure.closed(self))
            context.close(promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        isWritable = context.channel.isWritable
        if isWritable {
            if owedPongs.settle() { connection?.payPongs(self) }
            connection?.flushOutbound()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        connection?.endBurst()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let connection else { return }
        var incoming = unwrapInboundIn(data)
        connection.beginBurst(bytes: incoming.readableBytes)
        guard !isHeld else {
            leftover.writeBuffer(&incoming)
            return keepReading()
        }
        defer { if isHeld { keepReading() } }
        guard leftover.readableBytes > 0 else {
            let consumed = parse(incoming, connection)
            if consumed < incoming.readableBytes, self.connection != nil {
                incoming.moveReaderIndex(forwardBy: consumed)
                keep(incoming)
            }
            return
        }
        leftover.writeBuffer(&incoming)
        parseLeftover(connection)
    }

    private func parseLeftover(_ connection: NATSConnection) {
        // Out of the property while it is parsed: a handler may close the connection meanwhile.
        var bytes = ByteBuffer()
        swap(&bytes, &leftover)
        let consumed = parse(bytes, connection)
        bytes.moveReaderIndex(forwardBy: consumed)
        if bytes.readableBytes == 0 {
            bytes.clear()
            if bytes.capacity > Self.retainedCapacity { return }
        } else {
            bytes.discardReadBytes()
            reserve(&bytes)
        }
        leftover = bytes
    }

    /// Copies the unfinished end of a read, so that the read buffer itself goes back to its pool.
    private func keep(_ rest: ByteBuffer) {
        leftover.clear()
        reserve(&leftover)
        leftover.writeImmutableBuffer(rest)
    }

    /// Makes room for the message whose size is known, but for no more than has some chance to come: the announced
    /// size alone must not make us allocate.
    private func reserve(_ buffer: inout ByteBuffer) {
        let room = min(parser.needed, max(2 * buffer.readableBytes, 256 << 10))
        if room > buffer.capacity {
            buffer.reserveCapacity(room)
        }
    }

    /// Parses and dispatches everything complete in `buffer`; returns how many bytes that was.
    private func parse(_ buffer: ByteBuffer, _ connection: NATSConnection) -> Int {
        buffer.withUnsafeReadableBytes { bytes in
            guard var base = bytes.baseAddress else { return 0 }
            let end = base + bytes.count
            // A copy of its own for the whole burst: no exclusivity checks per operation.
            var parser = self.parser
            loop: while base < end {
                switch parser.next(base, count: end - base) {
                case .incomplete:
                    break loop
                case .message:
                    connection.receive(NATSInboundMessage(base: base, message: parser.message), self)
                case .oversized:
                    let message = parser.message
                    let subject = Self.part(base, message.subjectStart..<message.subjectEnd)
                    connection.receiveOversized(sid: message.sid, subject: subject, self)
                case .skipped:
                    break
                case .ping:
                    connection.receivePing(self)
                case .pong:
                    connection.receivePong(self)
                case .ok:
                    connection.receiveOK(self)
                case .info:
                    connection.receiveInfo(Self.part(base, parser.text), self)
                case .error:
                    connection.receiveError(Self.part(base, parser.text), self)
                case .failure(let error):
                    connection.linkLost(
                        self,
                        error: NATSError(.protocolViolation, "the server sent bad data: \(error.kind.rawValue)")
                    )
                }
                // A callback may have closed or broken the connection: what else was read is nobody's then.
                if self.connection == nil { break loop }
                base += parser.consumed
                if connection.turnFlag.pointee.load(ordering: .relaxed) != 0 { turnIsOver(connection) }
                if isHeld { break loop }
            }
            self.parser = parser
            return bytes.count - (end - base)
        }
    }

    @inline(never)
    private func turnIsOver(_ connection: NATSConnection) { connection.delegate?.connectionTurnIsOver(connection) }

    private static func part(_ base: UnsafeRawPointer, _ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }
}

@available(*, unavailable)
extension NATSChannelHandler: Sendable {}
