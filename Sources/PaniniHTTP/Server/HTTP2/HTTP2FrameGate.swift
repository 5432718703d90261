// Owns: what a client has sent of a frame that is not complete, what it is told of the end of a stream or of the connection, and the
// end of the connection's two directions. Loop-bound; the handler in front of NIO's.

import NIOCore

/// Where frames end in what a client sends (RFC 9113, section 4.1). A value.
struct HTTP2FrameBounds {
    /// The largest payload of a frame, as we announce none of our own.
    static let mostPayload = 16384
    private static let headerBytes = 9

    /// How many bytes of the connection preface are to come.
    private var preface = 24
    /// A frame was larger than frames may be. The parser ends the connection for it; here all passes.
    private var isBroken = false

    /// How many of the bytes belong to whole frames; the first is the first of a frame.
    mutating func whole(of bytes: UnsafeRawBufferPointer) -> Int {
        var end = min(preface, bytes.count)
        preface -= end
        while !isBroken, bytes.count - end >= Self.headerBytes {
            let payload = Int(bytes[end]) << 16 | Int(bytes[end + 1]) << 8 | Int(bytes[end + 2])
            guard payload <= Self.mostPayload else {
                isBroken = true
                break
            }
            guard bytes.count - end >= Self.headerBytes + payload else { break }
            end += Self.headerBytes + payload
        }
        return isBroken ? bytes.count : end
    }
}

/// Looks for the frames by which a client is told of an end (RFC 9113, sections 6.4 and 6.8). A value.
struct HTTP2SaidEnds {
    enum End: Equatable {
        case stream(code: UInt32)
        case connection(code: UInt32)
    }

    /// What is to come of a frame whose payload is a buffer of its own.
    private var rest = 0

    /// Looks at what is written next: a whole frame, its head, or its payload.
    mutating func next(_ bytes: ByteBuffer) -> End? {
        let count = bytes.readableBytes
        guard rest == 0 else {
            rest = max(0, rest - count)
            return nil
        }
        let start = bytes.readerIndex
        guard let head = bytes.getInteger(at: start, as: UInt32.self), count >= 9 else { return nil }
        rest = max(0, 9 + Int(head >> 8) - count)
        switch head & 0xFF {
        case 3: return bytes.getInteger(at: start + 9).map { .stream(code: $0) }
        case 7: return bytes.getInteger(at: start + 13).map { .connection(code: $0) }
        default: return nil
        }
    }
}

/// Hands frames on when they are whole.
///
/// NIO's parser begins its buffer anew only when it has parsed all of it, and a client whose reads never end where a frame ends
/// makes that buffer grow by everything that it sends: 150 MB in two seconds of unknown frames (measured).
final class HTTP2FrameGate: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let connection: HTTP2Connection
    private var bounds = HTTP2FrameBounds()
    private var held = ByteBuffer()
    private var said = HTTP2SaidEnds()
    private var context: ChannelHandlerContext?
    /// The handlers behind were told that the channel has ended; the client may still send.
    private var isShut = false
    /// The handlers behind have been given something, and not the end of that read.
    private var isReading = false

    init(_ connection: HTTP2Connection) { self.connection = connection }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !connection.isClosed else {
            held = ByteBuffer()
            return
        }
        var bytes = unwrapInboundIn(data)
        if held.readableBytes > 0 {
            held.writeBuffer(&bytes)
            bytes = held
            held = ByteBuffer()
        }
        let end = bytes.withUnsafeReadableBytes { bounds.whole(of: $0) }
        if end < bytes.readableBytes {
            // Copied, so that the buffer that was read into is not kept for it.
            held = ByteBuffer(bytes.readableBytesView.dropFirst(end))
            bytes = bytes.readSlice(length: end) ?? ByteBuffer()
        }
        connection.holds(incomplete: held.readableBytes)
        guard bytes.readableBytes > 0 else { return }
        isReading = true
        context.fireChannelRead(wrapInboundOut(bytes))
    }

    /// Ends the direction to the client when all is written, and reads on until the client has ended its own, or until the channel
    /// is closed. What is read is dropped.
    ///
    /// A socket that is closed with unread bytes is reset, and a reset takes from the client what it has not read: the GOAWAY that
    /// says why the connection ends, and which requests it may send again (RFC 9113, section 6.8; RFC 9112, section 9.6).
    func shut() {
        guard let context, !isShut else { return }
        isShut = true
        held = ByteBuffer()
        let box = NIOLoopBound((context, connection), eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in
            let (context, connection) = box.value
            // It may have been left alone while the client did not read.
            try? context.channel.syncOptions?.setOption(.autoRead, value: true)
            context.close(mode: connection.saidAll() ? .all : .output, promise: nil)
        }
        // NIO's handler keeps what a closed window holds back until the stream of it is closed, or the handler removed.
        connection.closeStreams()
        end(context)
    }

    /// Tells the handlers behind that the channel has ended.
    private func end(_ context: ChannelHandlerContext) {
        connection.ends()
        // A read may break off without its end. NIO's handler has a list of the streams that wait for that end, and they and the
        // handler would keep each other for good: a megabyte for each client that goes in the middle of an answer (measured).
        if isReading { context.fireChannelReadComplete() }
        isReading = false
        context.fireChannelInactive()
    }

    /// What is said after the end, such as that a stream is closed, is for nobody.
    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isShut else {
            promise?.fail(ChannelError.outputClosed)
            return
        }
        if let end = said.next(unwrapOutboundIn(data)) { connection.said(end) }
        context.write(data, promise: promise)
    }

    /// An error of TLS, or of the socket; those of HTTP/2 begin behind.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { connection.failed() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard isShut else { return context.fireUserInboundEventTriggered(event) }
        if case ChannelEvent.inputClosed = event { context.close(promise: nil) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if !isShut { context.fireChannelWritabilityChanged() }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        if !isShut { context.fireChannelReadComplete() }
    }

    func channelInactive(context: ChannelHandlerContext) {
        held = ByteBuffer()
        if isShut { connection.ended() } else { end(context) }
    }
}

@available(*, unavailable)
extension HTTP2FrameGate: Sendable {}
