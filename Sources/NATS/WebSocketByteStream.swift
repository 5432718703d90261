// Bytes inside WebSocket frames: what arrives is handed on as it comes, since a NATS operation may span frames and a frame
// may hold many; each write becomes one masked binary frame (RFC 6455, 5.1 and 5.3). Loop-bound.

import NIOCore
import NIOWebSocket

final class WebSocketByteStream: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = WebSocketFrame

    private var isClosing = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = unwrapInboundIn(data)
        switch frame.opcode {
        case .binary, .text, .continuation:
            context.fireChannelRead(wrapInboundOut(frame.unmaskedData))
        case .ping:
            send(.pong, frame.unmaskedData, context)
        case .connectionClose:
            guard !isClosing else { return }
            isClosing = true
            send(.connectionClose, frame.unmaskedData, context)
            context.close(promise: nil)
        default: break  // An unasked pong; what is reserved carries nothing for NATS.
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let frame = WebSocketFrame(fin: true, opcode: .binary, maskKey: .random(), data: unwrapOutboundIn(data))
        context.write(wrapOutboundOut(frame), promise: promise)
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

    private func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: data)
        context.writeAndFlush(wrapOutboundOut(frame), promise: nil)
    }
}

@available(*, unavailable)
extension WebSocketByteStream: Sendable {}
