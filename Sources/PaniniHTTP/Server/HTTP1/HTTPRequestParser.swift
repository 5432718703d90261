// Owns: reading HTTP/1 requests from bytes, with NIO's llhttp: where a head and a message end, and what of a head the server
// has to know. Loop-bound, one per connection. Does no I/O; knows neither channels nor responses.
//
// NIO's own decoder has a handler, an event, an object and some twenty checked accesses for each part of a request: more
// than half of the time of a small one. Here a head stays the bytes that a script gets to see (docs/architecture.md).

import Bytes
private import CNIOLLHTTP
private import Glibc
import NIOHTTP1

/// A parser of HTTP/1 requests that stops where something has to be decided.
package final class HTTPRequestParser {
    package enum Event: Equatable {
        /// All bytes are used up.
        case needsMore
        /// A head is complete: ``takeHead()``. Go on with what follows, even if that is nothing yet.
        case head
        /// The message is complete.
        case end
        /// It is no request, or a body that is not what its head says. There is no way on.
        case malformed
        /// The head, or what a body has beside its bytes, is larger than the limit.
        case overflow
    }

    /// What the server has to know of a head.
    package struct Facts: Equatable {
        package enum Expectation {
            case none
            case `continue`
            case other
        }

        var keepsAlive = false
        var hosts = 0
        /// One of the `host` fields is none.
        var hasBadHost = false
        var lengths = 0
        /// The value of `content-length`; nil: there is none, or it is no number.
        var length: Int?
        var isChunked = false
        /// There is a `transfer-encoding` that is not `chunked`, or a second one.
        var hasOtherEncoding = false
        var hasContentEncoding = false
        package var offersUpgrade = false
        var expectation = Expectation.none
    }

    private let parser: UnsafeMutablePointer<llhttp_t>
    private let state: UnsafeMutablePointer<ParserState>
    /// The next byte is the first of a request, or of one whose method is not complete.
    private var isAtMethod = true
    private var methodReader = HTTPMethodReader()
    /// The method of the request under way, when the parser does not know it.
    private var otherMethod: HTTPMethod?
    /// Why it is none, after ``Event/malformed``.
    private(set) var refusal: HTTPRefusalError?

    /// - Parameters:
    ///   - maximumBytes: Of a head, and of the trailers and extensions of one body.
    ///   - maximumFields: Of a head.
    package init(maximumBytes: Int, maximumFields: Int) {
        state = .allocate(capacity: 1)
        state.initialize(to: ParserState(maximumBytes: maximumBytes, maximumFields: maximumFields))
        parser = .allocate(capacity: 1)
        parser.initialize(to: llhttp_t())
        c_nio_llhttp_init(parser, HTTP_REQUEST, settings.pointer)
        parser.pointee.data = UnsafeMutableRawPointer(state)
    }

    deinit {
        parser.deallocate()
        state.pointee.storage?.deallocate()
        state.deinitialize(count: 1)
        state.deallocate()
    }

    /// Reads on.
    ///
    /// - Parameter bytes: What follows on the last that was used.
    /// - Returns: What was met, and how many bytes were used.
    package func read(_ bytes: UnsafeRawBufferPointer) -> (event: Event, count: Int) {
        if !state.pointee.pieces.isEmpty { state.pointee.pieces.removeAll(keepingCapacity: true) }
        let start = bytes.baseAddress ?? UnsafeRawPointer(state)
        state.pointee.start = start
        if isAtMethod, !bytes.isEmpty {
            guard methodReader.name.isEmpty, Self.beginsAsMost(bytes) else { return readMethod(bytes) }
            isAtMethod = false
        }
        return execute(start, start, bytes.count)
    }

    /// Whether a request begins with the methods that most have, which need no look of our own.
    @inline(__always)
    private static func beginsAsMost(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count > 4 else { return false }
        let first = UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self))
        return first == 0x2054_4547 || first == 0x5453_4F50 && bytes[4] == 0x20  // "GET ", "POST "
    }

    /// - Parameter from: Where to read on; `start` is where what was given begins.
    @inline(__always)
    private func execute(
        _ start: UnsafeRawPointer,
        _ from: UnsafeRawPointer,
        _ count: Int
    ) -> (event: Event, count: Int) {
        if state.pointee.isInTrailer { return readTrailer(start, from, count) }
        switch c_nio_llhttp_execute(parser, from.assumingMemoryBound(to: CChar.self), count) {
        case HPE_OK: return (.needsMore, from - start + count)
        case HPE_PAUSED:
            let end = UnsafeRawPointer(c_nio_llhttp_get_error_pos(parser)) ?? from
            c_nio_llhttp_resume(parser)
            if state.pointee.isInTrailer { return readTrailer(start, end, count - (end - from)) }
            guard state.pointee.isComplete else { return (.head, end - start) }
            isAtMethod = true
            return (.end, end - start)
        case let problem:
            guard !state.pointee.isOverflow else { return (.overflow, 0) }
            refusal =
                state.pointee.isOtherProtocol ? .notHTTP : Self.refusal(problem, isInHead: !state.pointee.hasHead)
            return (.malformed, 0)
        }
    }

    /// Reads what follows the last chunk: of it every byte counts, also the blanks that no field has.
    @inline(never)
    private func readTrailer(
        _ start: UnsafeRawPointer,
        _ from: UnsafeRawPointer,
        _ count: Int
    ) -> (event: Event, count: Int) {
        let room = min(count, state.pointee.maximumBytes - state.pointee.extraBytes)
        switch c_nio_llhttp_execute(parser, from.assumingMemoryBound(to: CChar.self), room) {
        case HPE_OK:
            guard room == count else { return (.overflow, 0) }
            state.pointee.extraBytes += count
            return (.needsMore, from - start + count)
        case HPE_PAUSED:
            let end = UnsafeRawPointer(c_nio_llhttp_get_error_pos(parser)) ?? from
            c_nio_llhttp_resume(parser)
            state.pointee.isInTrailer = false
            isAtMethod = true
            return (.end, end - start)
        case let problem:
            refusal = Self.refusal(problem, isInHead: false)
            return (.malformed, 0)
        }
    }

    /// Reads a method that may be any, and goes on behind it. One that the parser does not know is GET to it: no other rule of
    /// requests follows from the name.
    private func readMethod(_ bytes: UnsafeRawBufferPointer) -> (event: Event, count: Int) {
        switch methodReader.read(bytes) {
        case .more: return (.needsMore, bytes.count)
        case .refused(let refusal):
            self.refusal = refusal
            return (.malformed, 0)
        case .complete(let count):
            let method = HTTPMethod(rawValue: String(decoding: methodReader.name, as: UTF8.self))
            methodReader.clear()
            isAtMethod = false
            otherMethod = knownMethods.contains(method.rawValue) ? nil : method
            var line = otherMethod == nil ? method.rawValue + " " : "GET "
            let isTaken = line.withUTF8 { line in
                c_nio_llhttp_execute(
                    parser,
                    UnsafeRawPointer(line.baseAddress.unsafelyUnwrapped).assumingMemoryBound(to: CChar.self),
                    line.count
                ) == HPE_OK
            }
            guard isTaken, let start = bytes.baseAddress else {
                refusal = Self.refusal(HPE_INVALID_METHOD, isInHead: true)
                return (.malformed, 0)
            }
            return execute(start, start + count, bytes.count - count)
        }
    }

    /// What the parser's errors mean to whoever sent the request.
    private static func refusal(_ problem: llhttp_errno_t, isInHead: Bool) -> HTTPRefusalError {
        switch problem {
        case HPE_INVALID_METHOD:
            HTTPRefusalError(.method, "this is no request of HTTP: it does not begin with a method")
        case HPE_INVALID_URL:
            HTTPRefusalError(
                .target,
                "the request's target has a sign that no URL has, or begins with neither a slash nor http://"
            )
        case HPE_INVALID_VERSION, HPE_INVALID_CONSTANT:
            HTTPRefusalError(.version, "this is not HTTP/1.1: the request line does not end with that")
        case HPE_INVALID_HEADER_TOKEN, HPE_UNEXPECTED_SPACE, HPE_USER:
            isInHead
                ? HTTPRefusalError(
                    .header,
                    "a line of the head is no header field: a name, a colon, a value on the same line"
                )
                : HTTPRefusalError(.trailer, "a line behind the body is no trailer field")
        case HPE_CR_EXPECTED, HPE_LF_EXPECTED, HPE_STRICT:
            HTTPRefusalError(isInHead ? .header : .chunk, "a line does not end with carriage return and line feed")
        case HPE_UNEXPECTED_CONTENT_LENGTH: HTTPRefusalError(.contentLength, "a body has one length", kind: .repeated)
        case HPE_INVALID_CONTENT_LENGTH: HTTPRefusalError(.contentLength, "content-length is no number")
        case HPE_INVALID_TRANSFER_ENCODING: HTTPRefusalError(.transferEncoding, "transfer-encoding can only be chunked")
        case HPE_INVALID_CHUNK_SIZE: HTTPRefusalError(.chunk, "the size of a chunk is no hexadecimal number")
        default: HTTPRefusalError(.message, "this is not HTTP/1.1")
        }
    }

    /// Where bytes of the body lie in what was read last.
    package var pieces: [Range<Int>] { state.pointee.pieces }

    /// What the head that was met last says.
    package var facts: Facts { state.pointee.facts }

    /// The head that was met last; once.
    package func takeHead() -> HTTPHead {
        let other = otherMethod
        if other != nil { otherMethod = nil }
        return state.pointee.takeHead(
            other ?? methods[Int(parser.pointee.method)],
            HTTPVersion(major: Int(parser.pointee.http_major), minor: Int(parser.pointee.http_minor))
        )
    }

    /// Whether the bytes may end here.
    package var mayEnd: Bool { methodReader.name.isEmpty && c_nio_llhttp_finish(parser) == HPE_OK }
}

@available(*, unavailable)
extension HTTPRequestParser: Sendable {}

/// What the callbacks write to.
private struct ParserState {
    let maximumBytes: Int
    let maximumFields: Int
    /// Where the bytes that are being read begin.
    var start: UnsafeRawPointer?
    var pieces: [Range<Int>] = []
    var facts = HTTPRequestParser.Facts()
    var isOverflow = false
    var isOtherProtocol = false
    var isComplete = false

    // The head, as HTTPHead keeps it.
    var storage: UnsafeMutablePointer<UInt8>?
    var capacity = 0
    var count = 0
    var targetLength = 0
    var fields = 0
    var nameStart = 0
    var valueStart = 0
    var isInName = false
    var isInValue = false
    var hasHead = false
    /// The last chunk has been read.
    var isInTrailer = false
    /// Bytes of trailers and of the extensions of chunks.
    var extraBytes = 0
    /// The last `host` that was one.
    var knownHost: [UInt8] = []

    /// What is kept for the next head.
    private static let keptCapacity = 4096

    init(maximumBytes: Int, maximumFields: Int) {
        self.maximumBytes = maximumBytes
        self.maximumFields = maximumFields
    }

    mutating func begin() {
        facts = HTTPRequestParser.Facts()
        isComplete = false
        hasHead = false
        isInTrailer = false
        isInName = false
        isInValue = false
        count = 0
        targetLength = 0
        fields = 0
        extraBytes = 0
    }

    mutating func append(_ bytes: UnsafeRawPointer, _ length: Int) -> Bool {
        // The request line and each field have some more bytes than those that are kept.
        guard count + length + 2 * fields + 16 <= maximumBytes else {
            isOverflow = true
            return false
        }
        reserve(length + 2)
        guard let storage else { return false }
        UnsafeMutableRawPointer(storage + count).copyMemory(from: bytes, byteCount: length)
        count += length
        return true
    }

    /// Makes room for so many further bytes.
    private mutating func reserve(_ length: Int) {
        guard count + length > capacity else { return }
        capacity = max(256, (count + length) * 2)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        if let storage {
            larger.update(from: storage, count: count)
            storage.deallocate()
        }
        storage = larger
    }

    mutating func target(_ bytes: UnsafeRawPointer, _ length: Int) -> Bool {
        guard append(bytes, length) else { return false }
        targetLength = count
        return true
    }

    mutating func extra(_ length: Int) -> Bool {
        extraBytes += length
        if extraBytes > maximumBytes { isOverflow = true }
        return !isOverflow
    }

    mutating func name(_ bytes: UnsafeRawPointer, _ length: Int) -> Bool {
        // A trailer: its bytes are counted where they are read.
        if hasHead { return true }
        if !isInName {
            endField()
            fields += 1
            if fields > maximumFields {
                isOverflow = true
                return false
            }
            nameStart = count
            isInName = true
        }
        return append(bytes, length)
    }

    mutating func value(_ bytes: UnsafeRawPointer, _ length: Int) -> Bool {
        if hasHead { return true }
        if isInName {
            // The parser takes a line that begins with a colon; nobody else does.
            guard count > nameStart, let storage else { return false }
            storage[count] = UInt8(ascii: ":")
            count += 1
            valueStart = count
            isInName = false
            isInValue = true
        }
        return append(bytes, length)
    }

    mutating func endField() {
        guard isInValue, let storage else { return }
        isInValue = false
        // White space around a value is not part of it (RFC 9112, section 5.1); that in front is left out by the parser.
        while count > valueStart, storage[count - 1] == UInt8(ascii: " ") || storage[count - 1] == UInt8(ascii: "\t") {
            count -= 1
        }
        note(
            name: UnsafeBufferPointer(start: storage + nameStart, count: valueStart - 1 - nameStart),
            value: UnsafeBufferPointer(start: storage + valueStart, count: count - valueStart)
        )
        storage[count] = UInt8(ascii: "\n")
        count += 1
    }

    @inline(__always)
    private mutating func note(name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>) {
        switch name.count {
        case 4 where name.isText("host"):
            facts.hosts += 1
            if !isKnownHost(value) { judgeHost(value) }
        case 6 where name.isText("expect"):
            // The first one counts.
            if facts.expectation == .none { facts.expectation = value.isText("100-continue") ? .continue : .other }
        case 7 where name.isText("upgrade"): facts.offersUpgrade = true
        case 14 where name.isText("content-length"):
            facts.lengths += 1
            facts.length = value.number
        case 16 where name.isText("content-encoding"): facts.hasContentEncoding = true
        case 17 where name.isText("transfer-encoding"):
            if value.isText("chunked"), !facts.isChunked {
                facts.isChunked = true
            } else {
                facts.hasOtherEncoding = true
            }
        default: break
        }
    }

    /// Whether it is the host that the connection's last request was for, as it is of nearly all.
    @inline(__always)
    private func isKnownHost(_ value: UnsafeBufferPointer<UInt8>) -> Bool {
        guard !value.isEmpty, value.count == knownHost.count, let bytes = value.baseAddress else { return false }
        return knownHost.withUnsafeBytes { memcmp($0.baseAddress.unsafelyUnwrapped, bytes, value.count) == 0 }
    }

    @inline(never)
    private mutating func judgeHost(_ value: UnsafeBufferPointer<UInt8>) {
        guard HTTPHostField.isValid(value) else {
            facts.hasBadHost = true
            return
        }
        if (1...256).contains(value.count) { knownHost = Array(value) }
    }

    mutating func endHead(keepsAlive: Bool) {
        endField()
        hasHead = true
        facts.keepsAlive = keepsAlive
    }

    mutating func takeHead(_ method: HTTPMethod, _ version: HTTPVersion) -> HTTPHead {
        let head = HTTPHead(
            method: method,
            version: version,
            bytes: Array(UnsafeBufferPointer(start: storage, count: count)),
            targetLength: targetLength
        )
        if capacity > Self.keptCapacity {
            storage?.deallocate()
            storage = nil
            capacity = 0
        }
        return head
    }
}

/// What the parser calls. All of it writes to the state behind the parser, and stops the parser at the end of a head and of a
/// message.
private struct Settings: @unchecked Sendable {
    // Unchecked: written here, and only read afterwards.
    let pointer = UnsafeMutablePointer<llhttp_settings_t>.allocate(capacity: 1)

    init() {
        c_nio_llhttp_settings_init(pointer)
        pointer.pointee.on_message_begin = { parser in
            state(parser).pointee.begin()
            return 0
        }
        // The parser knows two others, and would take them for this one. It has compared the letters.
        pointer.pointee.on_protocol = { parser, bytes, length in
            span(bytes, length) { bytes, _ in
                let first = bytes.load(as: UInt8.self)
                // A piece may begin inside: of HTTP these are the letters.
                let isHTTP = first == UInt8(ascii: "H") || first == UInt8(ascii: "T") || first == UInt8(ascii: "P")
                if !isHTTP { state(parser).pointee.isOtherProtocol = true }
                return isHTTP
            }
        }
        pointer.pointee.on_url = { parser, bytes, length in span(bytes, length) { state(parser).pointee.target($0, $1) }
        }
        pointer.pointee.on_header_field = { parser, bytes, length in
            span(bytes, length) { state(parser).pointee.name($0, $1) }
        }
        pointer.pointee.on_header_value = { parser, bytes, length in
            span(bytes, length) { state(parser).pointee.value($0, $1) }
        }
        pointer.pointee.on_headers_complete = { parser in
            state(parser).pointee.endHead(keepsAlive: c_nio_llhttp_should_keep_alive(parser) != 0)
            return paused
        }
        pointer.pointee.on_body = { parser, bytes, length in
            span(bytes, length) { bytes, length in
                let at = bytes - (state(parser).pointee.start ?? bytes)
                state(parser).pointee.pieces.append(at..<(at + length))
                return true
            }
        }
        pointer.pointee.on_chunk_extension_name = { parser, bytes, length in
            span(bytes, length) { state(parser).pointee.extra($1) }
        }
        pointer.pointee.on_chunk_extension_value = { parser, bytes, length in
            span(bytes, length) { state(parser).pointee.extra($1) }
        }
        pointer.pointee.on_chunk_header = { parser in
            // The last chunk is the one without bytes.
            guard parser.unsafelyUnwrapped.pointee.content_length == 0 else { return 0 }
            state(parser).pointee.isInTrailer = true
            return paused
        }
        pointer.pointee.on_message_complete = { parser in
            state(parser).pointee.isComplete = true
            // It does not always do so by itself (nodejs/llhttp, issue 202).
            parser?.pointee.content_length = 0
            return paused
        }
    }
}

private let settings = Settings()
private let paused = CInt(HPE_PAUSED.rawValue)

/// By the parser's numbers.
private let methods: [HTTPMethod] = (0...HTTP_QUERY.rawValue).map { number in
    HTTPMethod(rawValue: String(cString: c_nio_llhttp_method_name(llhttp_method(rawValue: number))))
}

/// Methods that the parser takes as they are: the registered ones among those it knows, and not those of RTSP and ICE.
private let knownMethods: Set<String> = {
    let others: Set = [
        "SOURCE", "PRI", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER",
        "SET_PARAMETER", "REDIRECT", "RECORD", "FLUSH",
    ]
    return Set(methods.map(\.rawValue)).subtracting(others)
}()

@inline(__always)
private func state(_ parser: UnsafeMutablePointer<llhttp_t>?) -> UnsafeMutablePointer<ParserState> {
    // Set at once after the parser was made, and never again.
    parser.unsafelyUnwrapped.pointee.data.unsafelyUnwrapped.assumingMemoryBound(to: ParserState.self)
}

@inline(__always)
private func span(_ bytes: UnsafePointer<CChar>?, _ length: Int, _ take: (UnsafeRawPointer, Int) -> Bool) -> CInt {
    guard let bytes else { return 0 }
    return take(UnsafeRawPointer(bytes), length) ? 0 : -1
}

extension UnsafeBufferPointer<UInt8> {
    /// Compares with a text in lower case, whatever the case of this one.
    @inline(__always)
    fileprivate func isText(_ text: StaticString) -> Bool {
        ASCII.equals(UnsafeRawBufferPointer(self), ignoringCase: text)
    }

    /// Decimal digits and nothing else.
    fileprivate var number: Int? {
        guard !isEmpty else { return nil }
        var number = 0
        for byte in self {
            guard (48...57).contains(byte) else { return nil }
            let (product, isLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, isLarger) = product.addingReportingOverflow(Int(byte) - 48)
            guard !isLarge, !isLarger else { return nil }
            number = sum
        }
        return number
    }
}
