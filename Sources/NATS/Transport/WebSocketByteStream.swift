// Owns: bytes inside WebSocket frames. What arrives is handed on as it comes, since a NATS operation may span frames and a
// frame may hold many; each write becomes one masked binary frame (RFC 6455, 5.1 and 5.3). Loop-bound.

import NIOCore
import NIOWebSocket

final class WebSocketByteStream: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    private var isClosing = false
    private var hasUnflushed = false
    private var owedPongs: OwedPongs
    /// What the newest ping without an answer carries: it alone need be answered (RFC 6455, 5.5.3).
    private var newestPing = ByteBuffer()
    private var tinyFrames = TinyFrames()
    /// The connection was given up for what the server sends; the rest of the read does not count.
    private var isGivenUp = false

    init(maximumOwedPongs: Int) {
        owedPongs = OwedPongs(limit: maximumOwedPongs)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isGivenUp else { return }
        let frame = unwrapInboundIn(data)
        guard tinyFrames.takes(frame.bytesForNATS) else {
            isGivenUp = true
            return context.fireErrorCaught(TinyFrames.error)
        }
        switch frame.opcode {
        case .binary, .text, .continuation:
            guard frame.length > 0 else { return }
            context.fireChannelRead(wrapInboundOut(frame.unmaskedData))
        case .ping:
            guard !isClosing else { return }
            answer(frame.unmaskedData, context)
        case .connectionClose:
            guard !isClosing else { return }
            isClosing = true
            send(.connectionClose, frame.unmaskedData, context)
            context.close(promise: nil)
        default: break  // An unasked pong; what is reserved carries nothing for NATS.
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        tinyFrames.settle(at: .now())
        if hasUnflushed {
            hasUnflushed = false
            context.flush()
        }
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable, owedPongs.settle() {
            send(.pong, newestPing, context)
            newestPing = ByteBuffer()
        }
        context.fireChannelWritabilityChanged()
    }

    private func answer(_ ping: ByteBuffer, _ context: ChannelHandlerContext) {
        switch owedPongs.ping(hasRoom: context.channel.isWritable) {
        case .now:
            context.write(wrapOutboundOut(Self.frame(.pong, ping)), promise: nil)
            hasUnflushed = true
        case .later:
            // Copied, so that a few bytes do not pin the whole read buffer.
            newestPing.clear()
            newestPing.writeImmutableBuffer(ping)
        case .tooMany:
            context.fireErrorCaught(owedPongs.error)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        context.write(wrapOutboundOut(Self.frame(.binary, unwrapOutboundIn(data))), promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if !isClosing, mode != .input, context.channel.isActive {
            isClosing = true
            var status = ByteBuffer()
            status.write(webSocketErrorCode: .normalClosure)
            send(.connectionClose, status, context)
        }
        context.close(mode: mode, promise: promise)
    }

    private static func frame(_ opcode: WebSocketOpcode, _ data: ByteBuffer) -> WebSocketFrame {
        WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
    }

    private func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(Self.frame(opcode, data)), promise: nil)
    }
}

extension WebSocketFrame {
    /// How many bytes it has for the NATS protocol.
    fileprivate var bytesForNATS: Int {
        switch opcode {
        case .binary, .text, .continuation: length
        default: 0
        }
    }
}

@available(*, unavailable)
extension WebSocketByteStream: Sendable {}
