// One client of the broker as routing sees it: its options, its subscriptions and the bytes that wait for it.
// Lives on the broker's event loop. It knows nothing of sockets: the handler takes `outbound` when it can write.

import Bytes
import NATSProtocol
import NIOCore

/// One subscription of one client.
final class BrokerSubscription {
    unowned let client: BrokerClient
    /// Its number in the index.
    let slot: Int
    let subject: [UInt8]
    /// Empty: no queue group.
    let queue: [UInt8]
    let sid: [UInt8]
    /// About how many bytes it takes in the broker.
    let cost: Int
    /// How many messages it has got, and after how many it ends (0: never).
    var delivered = 0
    var maximum = 0

    init(client: BrokerClient, slot: Int, subject: [UInt8], queue: [UInt8], sid: [UInt8]) {
        self.client = client
        self.slot = slot
        self.subject = subject
        self.queue = queue
        self.sid = sid
        cost = Self.cost(subject: subject, queue: queue.count, sid: sid.count)
    }

    /// About how many bytes a subscription takes: its texts in several places, and a node for each of its tokens.
    static func cost(subject: some Sequence<UInt8>, queue: Int, sid: Int) -> Int {
        subject.reduce(640 + queue + 2 * sid) { $0 + ($1 == ASCII.dot ? 256 : 2) }
    }
}

/// The state of one connection.
final class BrokerClient {
    let id: Int
    var options = ClientOptions()
    /// By the client's own subscription id.
    var subscriptions: [ByteKey: BrokerSubscription] = [:]

    /// About how many bytes its subscriptions take.
    var subscriptionBytes = 0

    /// What was not given to the socket yet.
    var outbound = ClientOutbox()
    /// How many bytes of a command were read whose end has not arrived.
    var unfinishedBytes = 0
    /// What the core has in its account for both.
    var accountedBytes = 0
    /// Whether the core has it in its list of clients to flush.
    var isMarkedForFlush = false
    /// Set when the client is to be closed; nothing is sent to it or taken from it any more.
    var isEnding = false

    /// Whether bytes came since the last look of the ping timer, and how many pings have no answer yet.
    var wasHeard = false
    var pingsOutstanding = 0

    /// Set when a receiver of this client's messages has much waiting: reading from this client pauses for a moment.
    var shouldPause = false

    /// Carries out what the core decides: the handler, which owns this client; nil once the connection has ended.
    unowned var transport: (any BrokerTransport)?

    init(id: Int, transport: any BrokerTransport) {
        self.id = id
        self.transport = transport
    }

    /// A name for the log.
    var label: String { options.name.isEmpty ? "client \(id)" : "client \(id) (\(options.name.beginning(64)))" }
}

/// What the core asks of a client's connection.
protocol BrokerTransport: AnyObject {
    /// Gives the client's outbound bytes to the socket if that can take them.
    func flush()
    /// Ends the connection, after `lastWords` were sent when there are any.
    func end(lastWords: String?)
}

// MARK: - Bytes out

extension BrokerClient {
    /// Appends one `MSG` or `HMSG`. `headers` empty: MSG.
    @inline(__always)
    func appendMessage(
        subject: UnsafeRawBufferPointer,
        sid: [UInt8],
        reply: UnsafeRawBufferPointer,
        headers: UnsafeRawBufferPointer,
        payload: UnsafeRawBufferPointer
    ) {
        // Names, blanks and numbers need less than 64 bytes beside the variable parts.
        let room = subject.count + sid.count + reply.count + headers.count + payload.count + 64
        outbound.append(room: room) { target in
            var writer = RawWriter(target)
            writer.append(headers.isEmpty ? "MSG " : "HMSG ")
            writer.append(subject)
            writer.append(ASCII.space)
            sid.withUnsafeBytes { writer.append($0) }
            writer.append(ASCII.space)
            if !reply.isEmpty {
                writer.append(reply)
                writer.append(ASCII.space)
            }
            if !headers.isEmpty {
                writer.append(decimal: headers.count)
                writer.append(ASCII.space)
            }
            writer.append(decimal: headers.count + payload.count)
            writer.append("\r\n")
            writer.append(headers)
            writer.append(payload)
            writer.append("\r\n")
            return writer.count
        }
    }

    func append(_ text: StaticString) {
        outbound.append(text)
    }

    func appendError(_ text: String) {
        outbound.append("-ERR '\(text)'\r\n")
    }
}

/// Writes into memory whose size was checked before.
private struct RawWriter {
    private let base: UnsafeMutableRawPointer
    private(set) var count = 0

    init(_ target: UnsafeMutableRawBufferPointer) {
        // Never nil: the caller asked for at least 64 bytes.
        base = target.baseAddress!
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        (base + count).copyMemory(from: source, byteCount: bytes.count)
        count &+= bytes.count
    }

    @inline(__always)
    mutating func append(_ text: StaticString) {
        (base + count).copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        count &+= text.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        (base + count).storeBytes(of: byte, as: UInt8.self)
        count &+= 1
    }

    @inline(__always)
    mutating func append(decimal value: Int) {
        count &+= ASCII.writeDecimal(value, to: base + count)
    }
}

@available(*, unavailable)
extension BrokerSubscription: Sendable {}
@available(*, unavailable)
extension BrokerClient: Sendable {}
