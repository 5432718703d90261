// Publishing, and how bytes get to the socket: frames are appended to one buffer, and the buffer is written once at the
// end of a read burst, or once per tick of the loop outside of bursts. Never a promise, closure or write per message.

import NATSProtocol
import NIOCore

extension NATSConnection {
    /// Beyond this, the buffer is written in the middle of a burst or tick, so that the peer can start working.
    static let eagerFlushBytes = 64 << 10
    /// A buffer that grew beyond this is not kept.
    static let retainedCapacity = 1 << 20

    /// Publishes one message. The bytes are copied before this returns.
    ///
    /// - Parameters:
    ///   - reply: where to answer; empty for nowhere.
    ///   - headers: an encoded header block (`NATSHeaders.encoded()`), or empty.
    /// - Returns: nil when accepted: on its way, or buffered until the connection is up again.
    package func publish(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) -> NATSPublishRefusal? {
        eventLoop.assertInEventLoop()
        if let publishRefusal { return publishRefusal }
        guard NATSSubject.isValidForPublish(subject) else { return .invalidSubject }
        guard reply.isEmpty || NATSSubject.isValidForPublish(reply) else { return .invalidReply }
        return append(subject: subject, reply: reply, headers: headers, payload: payload)
    }

    /// Encodes a publish whose subjects are known to be valid.
    @inline(__always)
    func append(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) -> NATSPublishRefusal? {
        let size = headers.count &+ payload.count
        guard size <= maximumPayload else { return .tooLarge(limit: maximumPayload) }
        guard headers.isEmpty || !headersRefused else { return .headersUnsupported }
        if let refusal = refusedLine(subject, reply, headers: headers.count, size: size) { return refusal }
        let room = NATSEncoder.publishOverhead &+ subject.count &+ reply.count &+ size
        let pending = outbound.readableBytes
        guard pending &+ room <= outboundLimit else {
            statistics.refusedBufferFull += 1
            return .bufferExceeded
        }
        NATSEncoder.publish(subject: subject, reply: reply, headers: headers, payload: payload, into: &outbound)
        statistics.messagesOut &+= 1
        if pending &+ room > Self.eagerFlushBytes {
            flushOutbound()
        } else {
            scheduleFlush()
        }
        return nil
    }

    /// Appends publishes that were encoded and checked elsewhere.
    ///
    /// - Parameter count: how many messages `frames` holds.
    func append(frames: inout ByteBuffer, count: Int) -> NATSPublishRefusal? {
        if let publishRefusal { return publishRefusal }
        guard outbound.readableBytes + frames.readableBytes <= outboundLimit else {
            statistics.refusedBufferFull += UInt64(count)
            return .bufferExceeded
        }
        outbound.writeBuffer(&frames)
        statistics.messagesOut += UInt64(count)
        scheduleFlush()
        return nil
    }

    /// How many more bytes can be published now.
    var outboundRoom: Int { max(0, outboundLimit - outbound.readableBytes) }

    // MARK: - Bursts and flushes

    func beginBurst(bytes: Int) {
        inBurst = true
        statistics.bytesIn &+= UInt64(bytes)
    }

    func endBurst() {
        guard inBurst else { return }
        delegate?.connectionReadBurstEnded(self)
        inBurst = false
        flushOutbound()
    }

    /// Makes sure what was appended goes out soon: with the burst that is going on, or at the end of this tick.
    func scheduleFlush() {
        guard !inBurst, !flushScheduled, link != nil else { return }
        flushScheduled = true
        eventLoop.execute(preparedFlushTask)
    }

    /// The one closure of all scheduled flushes; `close` breaks the cycle.
    private var preparedFlushTask: @Sendable () -> Void {
        if let flushTask { return flushTask }
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let task: @Sendable () -> Void = {
            box.value.flushScheduled = false
            box.value.flushOutbound()
        }
        flushTask = task
        return task
    }

    /// Writes what is there, unless the socket is full: then it waits here until the socket has room, which bounds what
    /// the channel holds and keeps whole frames for a reconnect.
    func flushOutbound() {
        guard let link, link.isWritable else { return }
        writeOutbound()
    }

    func writeOutbound() {
        // A write may come back here: the channel reads once more before it gives up a socket that cannot be written.
        guard let link, outbound.readableBytes > 0, unwritten.current.readableBytes == 0 else { return }
        statistics.bytesOut &+= UInt64(outbound.readableBytes)
        statistics.writes &+= 1
        if !unwritten.isEmpty {
            unwritten.forgetWritten()
        }
        let capacity = min(outbound.capacity, Self.retainedCapacity)
        swap(&unwritten.current, &outbound)
        link.write(unwritten.current)
        guard link === self.link else { return }
        // Usually the socket has taken everything already, and the memory is ours again.
        var next = unwritten.written(isKept: link.tellsUnwritten) ?? ByteBuffer()
        guard outbound.readableBytes == 0 else { return scheduleFlush() }
        guard next.capacity <= Self.retainedCapacity else { return }
        next.reserveCapacity(capacity)
        outbound = next
    }
}
