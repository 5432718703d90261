// Owns: the place of ``HTTPResponseHeads`` in a client's channel, in front of the parser. Loop-bound.

import NIOCore

/// Puts the heads of responses in order before they are parsed.
final class HTTPResponseHeadHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var heads = HTTPResponseHeads()

    /// A request goes out.
    func begin() { heads.begin() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if let bytes = heads.take(unwrapInboundIn(data)) { context.fireChannelRead(wrapInboundOut(bytes)) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        // The parser says what half a head is.
        if let rest = heads.end() { context.fireChannelRead(wrapInboundOut(rest)) }
        context.fireChannelInactive()
    }
}

@available(*, unavailable)
extension HTTPResponseHeadHandler: Sendable {}
