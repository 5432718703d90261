// Owns: the messages that wait for a free handler, as copies of their bytes. A value inside a Listener; loop-bound.

import LoopTools

/// A message that waits: its parts in one block of bytes.
struct StoredMessage {
    let bytes: [UInt8]
    let subjectLength: Int
    let replyLength: Int
    let headersLength: Int
    private(set) var subjectIndex: Int
    /// When it came, in nanoseconds of the worker's clock; 0 when nobody asks.
    let arrived: UInt64

    init(
        subject: UnsafeRawBufferPointer,
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer,
        subjectIndex: Int,
        arrived: UInt64
    ) {
        let count = subject.count + reply.count + headers.count + payload.count
        bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            var offset = 0
            for part in [subject, reply, headers, payload] where part.count > 0 {
                UnsafeMutableRawBufferPointer(buffer).baseAddress?.advanced(by: offset)
                    .copyMemory(from: part.baseAddress.unsafelyUnwrapped, byteCount: part.count)
                offset += part.count
            }
            initialized = count
        }
        subjectLength = subject.count
        replyLength = reply.count
        headersLength = headers.count
        self.subjectIndex = subjectIndex
        self.arrived = arrived
    }

    /// The same message for another listener's subject.
    func moved(to subjectIndex: Int) -> StoredMessage {
        var moved = self
        moved.subjectIndex = subjectIndex
        return moved
    }

    /// Calls `body` with subject, reply, headers and payload; valid during the call only.
    func withParts<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer) ->
            Result
    ) -> Result {
        bytes.withUnsafeBytes { all in
            let reply = subjectLength
            let headers = reply + replyLength
            let payload = headers + headersLength
            return body(
                UnsafeRawBufferPointer(rebasing: all[..<reply]),
                UnsafeRawBufferPointer(rebasing: all[reply..<headers]),
                UnsafeRawBufferPointer(rebasing: all[headers..<payload]),
                UnsafeRawBufferPointer(rebasing: all[payload...])
            )
        }
    }
}

/// First in, first out, bounded in messages and bytes.
struct PendingMessages {
    private var messages = FIFO<StoredMessage>()
    private(set) var byteCount = 0

    var count: Int { messages.count }
    var isEmpty: Bool { messages.isEmpty }

    /// True when a message of that size still fits.
    func hasRoom(for size: Int, messages: Int, bytes: Int) -> Bool {
        count < messages && byteCount + size <= bytes
    }

    mutating func append(_ message: StoredMessage) {
        messages.append(message)
        byteCount += message.bytes.count
    }

    mutating func popFirst() -> StoredMessage? {
        guard let message = messages.popFirst() else { return nil }
        byteCount -= message.bytes.count
        return message
    }
}
