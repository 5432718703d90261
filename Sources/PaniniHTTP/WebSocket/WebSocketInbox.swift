// Owns: the messages of a connection that nobody has taken yet, and when reading pauses for them. A value without I/O.

package import NIOCore

/// Messages that wait to be taken, oldest first.
///
/// Beyond a number of messages or bytes the socket is not read, until half of that is taken.
package struct WebSocketInbox {
    /// One message.
    package typealias Message = (kind: WebSocketKind, bytes: ByteBuffer)

    /// How much may wait.
    package struct Limits: Equatable, Sendable {
        package var messages: Int
        package var bytes: Int

        package init(messages: Int, bytes: Int) {
            self.messages = messages
            self.bytes = bytes
        }
    }

    private var messages = CircularBuffer<Message>(initialCapacity: 0)
    /// How many bytes wait.
    package private(set) var bytes = 0
    /// The socket is not read for what waits.
    package private(set) var isPaused = false

    package init() {}

    package var isEmpty: Bool { messages.isEmpty }

    /// Keeps a message.
    ///
    /// - Returns: Whether the socket is not to be read any more.
    package mutating func keep(_ message: Message, _ limits: Limits) -> Bool {
        messages.append(message)
        bytes += message.bytes.readableBytes
        guard !isPaused, messages.count >= limits.messages || bytes >= limits.bytes else { return false }
        isPaused = true
        return true
    }

    /// Takes the oldest message.
    package mutating func take() -> Message? {
        guard let message = messages.popFirst() else { return nil }
        bytes -= message.bytes.readableBytes
        return message
    }

    /// Whether enough is taken for the socket to be read again: ``resume()``.
    package func hasRoom(_ limits: Limits) -> Bool {
        isPaused && messages.count * 2 <= limits.messages && bytes * 2 <= limits.bytes
    }

    /// The socket is to be read again, however much waits.
    ///
    /// - Returns: Whether it was not.
    package mutating func resume() -> Bool {
        defer { isPaused = false }
        return isPaused
    }

    /// Forgets the messages. Whether the socket is read does not change.
    package mutating func removeAll() {
        messages.removeAll()
        bytes = 0
    }
}
