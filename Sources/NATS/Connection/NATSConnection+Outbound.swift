// Owns: publishing, and the way of bytes to the socket. Frames are appended to one buffer, and the buffer is written once at
// the end of a read burst, or once per tick of the loop outside of bursts. No message makes a promise, closure or write of
// its own. Loop-bound.

import NATSProtocol
import NIOCore

/// When what was appended goes out.
struct Flushing {
    /// A read burst is going on: everything goes out at its end.
    var isInBurst = false
    /// Everything goes out at the end of the loop's tick.
    var isScheduled = false
    /// The one closure of all scheduled flushes.
    var task: (@Sendable () -> Void)?
}

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
    ///   - room: what happens when the server does not take what was sent before.
    /// - Returns: nil when accepted: on its way, or buffered until the connection is up again.
    package func publish(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        room: NATSRoomPolicy = .refuse
    ) -> NATSPublishError? {
        eventLoop.assertInEventLoop()
        if let publishRefusal { return publishRefusal }
        guard NATSSubject.isValidForPublish(subject) else { return .invalidSubject }
        guard reply.isEmpty || NATSSubject.isValidForPublish(reply) else { return .invalidReply }
        let limit = limit(room)
        let refusal = append(subject: subject, reply: reply, headers: headers, payload: payload, limit: limit)
        return settled(refusal, room)
    }

    /// Encodes a publish whose subjects are known to be valid.
    ///
    /// - Parameter limit: how many bytes may be unsent with it.
    @inline(__always)
    func append(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        limit: Int
    ) -> NATSPublishError? {
        let size = headers.count &+ payload.count
        guard size <= maximumPayload else { return .tooLarge(limit: maximumPayload) }
        guard headers.isEmpty || !headersRefused else { return .headersUnsupported }
        if let refusal = refusedLine(subject, reply, headers: headers.count, size: size) { return refusal }
        let room = NATSEncoder.publishOverhead &+ subject.count &+ reply.count &+ size
        let pending = unsentBytes
        guard room <= limit &- pending else { return .bufferExceeded }
        NATSEncoder.publish(subject: subject, reply: reply, headers: headers, payload: payload, into: &outbound)
        statistics.messagesOut &+= 1
        if pending &+ room > Self.eagerFlushBytes {
            relieveOutbound()
        } else {
            scheduleFlush()
        }
        return nil
    }

    /// Appends publishes that were encoded and checked elsewhere.
    ///
    /// - Parameter count: how many messages `frames` holds.
    func append(frames: inout ByteBuffer, count: Int) -> NATSPublishError? {
        if let publishRefusal { return publishRefusal }
        guard unsentBytes + frames.readableBytes <= outboundLimit else {
            statistics.refusedBufferFull += UInt64(count)
            return .bufferExceeded
        }
        outbound.writeBuffer(&frames)
        statistics.messagesOut += UInt64(count)
        if outbound.readableBytes >= OutboundBacklog.chunkBytes { relieveOutbound() }
        scheduleFlush()
        return nil
    }

    /// How many bytes wait here for the socket.
    var unsentBytes: Int {
        @inline(__always) get { backlog.byteCount &+ outbound.readableBytes }
    }

    /// How many more bytes can be published now.
    var outboundRoom: Int { max(0, outboundLimit - unsentBytes) }

    // MARK: - Bursts and flushes

    func beginBurst(bytes: Int) {
        if !flushing.isInBurst {
            flushing.isInBurst = true
            delegate?.connectionReadBurstBegan(self)
        }
        statistics.bytesIn &+= UInt64(bytes)
    }

    func endBurst() {
        guard flushing.isInBurst else { return }
        delegate?.connectionReadBurstEnded(self)
        flushing.isInBurst = false
        flushOutbound()
    }

    /// Makes sure what was appended goes out soon: with the burst that is going on, or at the end of this tick.
    func scheduleFlush() {
        guard !flushing.isInBurst, !flushing.isScheduled, link != nil else { return }
        flushing.isScheduled = true
        eventLoop.execute(preparedFlushTask)
    }

    /// The one closure of all scheduled flushes; `close` breaks the cycle.
    private var preparedFlushTask: @Sendable () -> Void {
        if let task = flushing.task { return task }
        let box = NIOLoopBound(self, eventLoop: eventLoop)
        let task: @Sendable () -> Void = {
            box.value.flushing.isScheduled = false
            box.value.flushOutbound()
        }
        flushing.task = task
        return task
    }

    /// Writes what is there, unless the socket is full: then it waits here until the socket has room, which bounds what
    /// the channel holds and keeps whole frames for a reconnect.
    func flushOutbound() {
        while let link, link.isWritable, writeNext() {}
    }

    /// Writes what is there, whether the socket has room or not.
    func writeOutbound() {
        while writeNext() {}
    }

    /// Writes in the middle of a burst or tick; what the socket has no room for goes to the backlog in whole chunks.
    @inline(never)
    private func relieveOutbound() {
        flushOutbound()
        guard outbound.readableBytes >= OutboundBacklog.chunkBytes else { return }
        backlog.append(outbound)
        outbound = ByteBuffer()
        if link != nil { outbound.reserveCapacity(OutboundBacklog.chunkBytes) }
    }

    /// Hands the oldest chunk to the socket; false when there is none.
    private func writeNext() -> Bool {
        let isBacklogged = !backlog.isEmpty
        guard isBacklogged || outbound.readableBytes > 0 else { return false }
        // A write may come back here: the channel reads once more before it gives up a socket that cannot be written.
        guard let link, unwritten.current.readableBytes == 0 else { return false }
        let capacity = min(outbound.capacity, Self.retainedCapacity)
        if isBacklogged, let chunk = backlog.popFirst() {
            unwritten.current = chunk
        } else {
            swap(&unwritten.current, &outbound)
        }
        statistics.bytesOut &+= UInt64(unwritten.current.readableBytes)
        statistics.writes &+= 1
        if !unwritten.isEmpty {
            unwritten.forgetWritten()
        }
        link.write(unwritten.current)
        guard link === self.link else { return false }
        // Usually the socket has taken everything already, and the memory is ours again.
        var next = unwritten.written(isKept: link.tellsUnwritten) ?? ByteBuffer()
        if gate.isEpisode { relieved() }
        guard outbound.readableBytes == 0, next.capacity <= Self.retainedCapacity else { return true }
        next.reserveCapacity(capacity)
        outbound = next
        return true
    }
}
