// Owns: the pause of a listener that cannot accept because the process, or the system, has no descriptor or no memory left.
// Loop-bound; one per listening channel, as the first of its handlers.

import Glibc
package import NIOCore

/// Keeps a listener from trying again at once: what waits to be accepted makes the listening socket readable all the time, so
/// that the loop would do nothing else.
package final class AcceptPause: ChannelInboundHandler {
    package typealias InboundIn = any Channel

    /// How long nothing is accepted then.
    package static let time = TimeAmount.milliseconds(100)

    private let failed: (IOError) -> Void
    private var isPaused = false

    /// - Parameter failed: Called at each accept that failed.
    package init(failed: @escaping (IOError) -> Void) { self.failed = failed }

    /// Whether others have to let go of something first.
    package static func isShortage(_ error: IOError) -> Bool {
        switch error.errnoCode {
        case EMFILE, ENFILE, ENOMEM, ENOBUFS: true
        default: false
        }
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? IOError, Self.isShortage(error) else { return context.fireErrorCaught(error) }
        failed(error)
        guard !isPaused else { return }
        isPaused = true
        let channel = context.channel
        // Reading is what accepts. The channel keeps wanting the read that has failed: only this takes it back.
        channel.setOption(.autoRead, value: false).whenFailure { _ in }
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.scheduleTask(in: Self.time) {
            box.value.isPaused = false
            channel.setOption(.autoRead, value: true).whenFailure { _ in }
        }
    }
}

@available(*, unavailable)
extension AcceptPause: Sendable {}
