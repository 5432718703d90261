// Owns: a descriptor by which an event loop is asked to look at its sockets before something is done. Loop-bound.

import CLuaVM
package import NIOCore
import NIOPosix

/// Calls back when the loop has looked at its sockets and has served what it found.
///
/// NIO goes through all tasks and timers that are due, those that they add included, before it asks the system again: work that
/// goes on by `execute`, or by a timer of no time, is all done before anybody else's message is read. So the loop is made to
/// find an event: a descriptor of its own can be read. What that event calls for is done behind the other events of the same look.
package final class SocketLook: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer

    private let eventLoop: any EventLoop
    private let body: () -> Void
    /// -1 without one: there are no descriptors left, or the loop is none of NIO's. Time has to do then.
    private var descriptor: CInt = -1
    private var channel: (any Channel)?
    private var isClosed = false
    /// Without a descriptor: long enough for the loop to run out of tasks, most often.
    private static let pause = TimeAmount.microseconds(100)

    package init(eventLoop: any EventLoop, _ body: @escaping () -> Void) {
        self.eventLoop = eventLoop
        self.body = body
    }

    /// To be called once, before the first ``ask()``.
    package func open() {
        guard let bootstrap = NIOPipeBootstrap(validatingGroup: eventLoop) else { return }
        let descriptor = panini_event_make()
        guard descriptor >= 0 else { return }
        self.descriptor = descriptor
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        bootstrap.channelOption(.maxMessagesPerRead, value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(box.value) }
            }
            .takingOwnershipOfDescriptor(input: descriptor)
            .assumeIsolated().whenComplete { [self] result in
                switch result {
                case .success(let channel): if isClosed { channel.close(promise: nil) } else { self.channel = channel }
                // NIO has closed the descriptor.
                case .failure: lost()
                }
            }
    }

    /// The body is called once, after the next look.
    package func ask() {
        if descriptor >= 0, panini_event_set(descriptor) != 0 { return }
        eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in looked() }
    }

    package func close() {
        isClosed = true
        descriptor = -1
        channel?.close(promise: nil)
        channel = nil
    }

    private func lost() {
        let hadOne = descriptor >= 0
        descriptor = -1
        channel = nil
        // Somebody may have asked.
        if hadOne, !isClosed { ask() }
    }

    private func looked() {
        if !isClosed { body() }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Behind the other events of this look.
        eventLoop.assumeIsolated().execute { [self] in looked() }
    }

    package func channelInactive(context: ChannelHandlerContext) { lost() }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension SocketLook: Sendable {}
