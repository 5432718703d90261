// Owns: the answer of `PaniniHost.handle` as a value, and the sequence that its body is. Any thread.

import PaniniHTTP

/// The answer to a request that was brought to a host.
public struct PaniniResponse: Sendable {
    /// The status, such as 200.
    public let status: Int
    /// The header fields; without content-length, date and connection, which belong to the connection.
    public let headers: PaniniHTTPFields
    /// The body.
    public let body: PaniniBody
}

/// The body of an answer: pieces in the order in which they come.
///
/// A body that is complete is one piece. A streamed one (`stream`, `events`, files) is read as it is written: its writer waits
/// when 256 KiB of it lie unread. It is read once, by one reader; when the reader's task is cancelled, or nobody keeps the body
/// any more, the writer hears that its client has gone.
public struct PaniniBody: AsyncSequence, Sendable {
    /// A piece of a body.
    public typealias Element = [UInt8]

    enum Content: Sendable {
        case bytes([UInt8])
        case stream(Stream)
    }

    /// Gives a stream up with its last owner.
    final class Stream: Sendable {
        let body: HTTPLocalBody
        /// Hears of the loss of the worker, while somebody reads.
        private let call: LocalCall

        init(_ body: HTTPLocalBody, of call: LocalCall) {
            self.body = body
            self.call = call
        }

        deinit { body.abandon() }
    }

    let content: Content

    /// The whole body, when it came complete; nil for a stream.
    public var bytes: [UInt8]? {
        if case .bytes(let bytes) = content { bytes } else { nil }
    }

    /// Reads the body to its end.
    ///
    /// - Parameter most: Bytes; a larger body throws.
    /// - Returns: All bytes.
    /// - Throws: ``PaniniBodyError``; `CancellationError` when the task is cancelled.
    public func collect(upTo most: Int = 16 << 20) async throws -> [UInt8] {
        var all: [UInt8] = []
        for try await piece in self {
            guard all.count + piece.count <= most else { throw PaniniBodyError.tooLarge(limit: most) }
            if all.isEmpty { all = piece } else { all.append(contentsOf: piece) }
        }
        return all
    }

    /// Begins to read.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(content: content) }

    /// Reads a body.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let content: Content
        private var isOver = false

        init(content: Content) { self.content = content }

        /// The next piece; nil at the end.
        ///
        /// - Throws: ``PaniniBodyError/incomplete`` when the writer failed; `CancellationError` when the task is cancelled.
        public mutating func next() async throws -> [UInt8]? {
            guard !isOver else { return nil }
            switch content {
            case .bytes(let bytes):
                isOver = true
                return bytes.isEmpty ? nil : bytes
            case .stream(let stream):
                do {
                    let piece = try await stream.body.next()
                    if piece == nil { isOver = true }
                    return piece
                } catch is HTTPLocalBody.Incomplete {
                    isOver = true
                    throw PaniniBodyError.incomplete
                }
            }
        }
    }
}

/// Why a body cannot be had.
public enum PaniniBodyError: Error, Equatable, Sendable {
    /// Its writer failed in the middle, or the service has ended.
    case incomplete
    /// It has more bytes than asked for.
    case tooLarge(limit: Int)
}
