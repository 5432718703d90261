// Owns: publishes that were accepted and have not left when a connection ends. What surely did not reach the server goes over
// the next connection, in order and in whole frames; what is given up is counted and told. Nobody can see what the kernel
// had taken: a publish that needs to know must ask with a request or a flush. Loop-bound.

import NATSProtocol
import NIOCore

extension NATSConnection {
    /// Takes what `handler` had not written out of the account, and gives up the rest. Before its channel is closed.
    func takeUnwritten(_ frames: inout UnwrittenFrames, of handler: NATSChannelHandler) -> ByteBuffer {
        let buffered = handler.bufferedBytes
        guard handler.tellsUnwritten else {
            statistics.lostBytes += UInt64(buffered ?? 0)
            let (unsent, uncertain) = frames.end(buffered: nil)
            giveUp(unsent, .disconnected)
            giveUp(uncertain, .disconnected)
            return ByteBuffer()
        }
        if buffered != nil {
            frames.forgetWritten()
        }
        let (unsent, uncertain) = frames.end(buffered: buffered)
        giveUp(uncertain, .disconnected)
        return unsent
    }

    /// Of what never reached the server, only publishes go to the next connection; requests do not, as they fail now, and
    /// whoever asked may ask again.
    func keepPublishes(_ unsent: ByteBuffer) {
        backlog.prepend(unsent)
        backlog.replace { publishes(of: $0) }
        outbound = publishes(of: outbound)
    }

    /// Drops what the server in use would end the connection for: it was accepted under the terms of another.
    func dropUnsendable() {
        guard unsentBytes > 0 else { return }
        var tooLarge = 0
        var withHeaders = 0
        func kept(_ frames: ByteBuffer) -> ByteBuffer {
            let part = sendable(frames)
            tooLarge += part.tooLarge
            withHeaders += part.withHeaders
            return part.frames
        }
        backlog.replace { kept($0) }
        outbound = kept(outbound)
        reportUnsendable(tooLarge, withHeaders)
    }

    /// What of `frames` the server in use takes, and how many publishes are left out for which reason.
    func sendable(_ frames: ByteBuffer) -> (frames: ByteBuffer, tooLarge: Int, withHeaders: Int) {
        let maximum = maximumPayload
        let refusesHeaders = headersRefused
        var tooLarge = 0
        var withHeaders = 0
        let kept = PublishFrames.filter(frames) { frame in
            if frame.size > maximum {
                tooLarge += 1
            } else if frame.hasHeaders, refusesHeaders {
                withHeaders += 1
            } else {
                return true
            }
            return false
        }
        return (kept.frames, tooLarge, withHeaders)
    }

    func reportUnsendable(_ tooLarge: Int, _ withHeaders: Int) {
        lost(tooLarge, NATSPublishError.tooLarge(limit: maximumPayload).error)
        lost(withHeaders, NATSPublishError.headersUnsupported.error)
    }

    /// Counts and tells the publishes in `frames`, which will not be sent.
    func giveUp(_ frames: ByteBuffer, _ error: NATSError) {
        guard frames.readableBytes > 0 else { return }
        lost(PublishFrames.filter(frames) { !isRequest($0) }.count, error)
    }

    /// The same for everything that waits here.
    func giveUpUnsent(_ error: NATSError) {
        var count = PublishFrames.filter(outbound) { !isRequest($0) }.count
        outbound = ByteBuffer()
        while let chunk = backlog.popFirst() { count += PublishFrames.filter(chunk) { !isRequest($0) }.count }
        lost(count, error)
    }

    private func lost(_ count: Int, _ error: NATSError) {
        guard count > 0 else { return }
        statistics.lostPublishes += UInt64(count)
        emit(.publishesLost(count: count, error: error))
    }

    private func publishes(of frames: ByteBuffer) -> ByteBuffer {
        guard frames.readableBytes > 0 else { return ByteBuffer() }
        return PublishFrames.filter(frames) { !isRequest($0) }.frames
    }

    /// Whether its reply comes to this connection's inbox.
    private func isRequest(_ frame: PublishFrames.Frame) -> Bool {
        inbox.holds(frame.reply)
    }
}
