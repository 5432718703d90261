// Owns: the refusal of lines that are longer than the server takes: it would end the connection for one. Such a publish,
// request or subscription is refused before anything is written. Loop-bound.

import NATSProtocol

extension NATSConnection {
    /// The refusal of a publish whose line would be too long.
    @inline(__always)
    func refusedLine(
        _ subject: UnsafeRawBufferPointer,
        _ reply: UnsafeRawBufferPointer,
        headers: Int,
        size: Int
    ) -> NATSPublishError? {
        configuration.refusedLine(
            names: subject.count &+ reply.count,
            hasReply: !reply.isEmpty,
            headers: headers,
            size: size
        )
    }

    /// Refuses a subscription whose line would be too long.
    ///
    /// - Parameter sid: the number it will have.
    func checkLine(subject: String, queue: String?, sid: Int) throws(NATSError) {
        let length = ControlLine.subscribe(subject: subject.utf8.count, queue: queue?.utf8.count, sid: sid)
        guard length > configuration.maxControlLineBytes else { return }
        throw NATSError(
            .messageTooLarge,
            """
            the subject\(queue == nil ? "" : " and the queue group") of \(length) bytes cannot be subscribed to: the server \
            takes lines of \(configuration.maxControlLineBytes) bytes
            """
        )
    }
}

extension NATSConnectionConfiguration {
    /// The refusal of a publish whose line would be too long; one comparison for all others.
    @inline(__always)
    func refusedLine(names: Int, hasReply: Bool, headers: Int, size: Int) -> NATSPublishError? {
        guard names &+ ControlLine.publishOverhead > maxControlLineBytes else { return nil }
        let length = ControlLine.publish(names: names, hasReply: hasReply, headers: headers, size: size)
        return length > maxControlLineBytes ? .lineTooLong(limit: maxControlLineBytes) : nil
    }

    /// Refuses inbox subjects that no server takes: they become part of lines.
    ///
    /// - Throws: ``NATSError`` with code `invalidArgument`.
    func checkInboxPrefix() throws(NATSError) {
        guard NATSSubject.isValidForPublish(inboxPrefix) else {
            throw NATSError(.invalidArgument, "inbox subjects cannot begin with \"\(inboxPrefix)\": it is no subject")
        }
        let length = ControlLine.subscribe(
            subject: inboxPrefix.utf8.count + Self.inboxSuffixLength,
            queue: nil,
            sid: .max
        )
        guard length <= maxControlLineBytes else {
            throw NATSError(
                .invalidArgument,
                """
                inbox subjects cannot begin with a text of \(inboxPrefix.utf8.count) bytes: the server takes lines of \
                \(maxControlLineBytes) bytes
                """
            )
        }
    }

    /// `.<unique>.<token>`
    private static var inboxSuffixLength: Int { 1 + 22 + 1 + RequestTable.tokenLength }
}
