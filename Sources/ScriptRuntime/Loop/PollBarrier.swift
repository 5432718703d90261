// Owns: a descriptor by which work on an event loop waits until the loop has polled its sockets. Loop-bound.

import CLuaVM
package import NIOCore
import NIOPosix

/// Calls back when the loop has polled its sockets and has served the events that it found.
///
/// NIO runs all tasks and timers that are due, and those that they add, before it polls again. Work that continues by
/// `execute`, or by a timer of no time, is therefore all done before anybody else's message is read. So the barrier makes a
/// descriptor of its own readable: the next poll finds that event, and the callback runs after the other events of the same
/// poll.
package final class PollBarrier: ChannelInboundHandler {
    package typealias InboundIn = ByteBuffer

    private let eventLoop: any EventLoop
    private let body: () -> Void
    /// -1 when no descriptor is free, or the loop is not NIO's own. A short timer is used instead.
    private var descriptor: CInt = -1
    private var channel: (any Channel)?
    private var isClosed = false
    /// The time of that timer: usually long enough for the loop to run out of tasks.
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

    /// The body is called once, after the next poll.
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
        // A request may have been lost with the descriptor.
        if hadOne, !isClosed { ask() }
    }

    private func looked() {
        if !isClosed { body() }
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // After the other events of this poll.
        eventLoop.assumeIsolated().execute { [self] in looked() }
    }

    package func channelInactive(context: ChannelHandlerContext) { lost() }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

@available(*, unavailable)
extension PollBarrier: Sendable {}
