// Owns: the course of one fetch over its redirects: which request follows, what of a body is handed on, where it ends. A
// value without I/O; any thread.

import Bytes
import NIOCore

/// One fetch. The caller sends what `hop` says, tells what comes back, and carries the actions out.
struct HTTPFetchMachine {
    /// What follows a head.
    enum HeadAction {
        /// The body comes: hand the head on when somebody streams.
        case receive
        /// A redirect, whose own body is read and dropped until `end`.
        case skip
        case fail(HTTPFetchError)
    }

    /// What follows bytes.
    enum BytesAction: Equatable {
        /// Ask ``nextPiece()``.
        case take
        /// Nothing to hand on: read on.
        case continueReading
        /// The rest of a redirect is too long to be worth its connection: end it, and go on as after ``end()``.
        case abandon
    }

    enum Piece: Equatable {
        case bytes(ByteBuffer)
        /// Everything that came was handed on.
        case none
        case fail(HTTPFetchError)
    }

    enum EndAction: Equatable {
        /// The response is complete.
        case finish
        /// The next request is `hop`.
        case send
        case fail(HTTPFetchError)
    }

    private enum Phase {
        case waiting
        case skipping(left: Int)
        case receiving
    }

    /// The request to send: the script's, or what a redirect made of it.
    private(set) var hop: HTTPFetch
    private(set) var response: HTTPFetchResponse?
    private var phase = Phase.waiting
    private var redirects = 0
    private var decoder: HTTPInflater?
    private var received = 0
    /// Bytes that came and were not handed on.
    private var input = ByteBuffer()
    /// What came in was already asked for decoded: its encoding is not undone.
    private let decodes: Bool

    /// What of a redirect's body is read so that its connection can be kept.
    private static let skippedBytes = 64 << 10
    /// What a piece of a decoded body is at most.
    static let pieceBytes = 64 << 10

    init(_ fetch: HTTPFetch) {
        hop = fetch
        decodes = !fetch.omits.contains("accept-encoding") && !fetch.headers.contains("accept-encoding")
        if decodes { hop.headers.add("accept-encoding", "gzip, deflate") }
        if let credentials = fetch.url.credentials, !fetch.headers.contains("authorization") {
            hop.headers.add("authorization", "Basic " + Base64.encode(credentials))
        }
    }

    /// The body of the response comes, and not that of a redirect.
    var isReceiving: Bool { if case .receiving = phase { true } else { false } }

    // MARK: - Events

    mutating func head(status: Int, headers: HTTPFields) -> HeadAction {
        if let next = HTTPRedirect.target(status: status, headers: headers), hop.maximumRedirects > 0 {
            guard redirects < hop.maximumRedirects else {
                return .fail(HTTPFetchError(.redirects, "more than \(hop.maximumRedirects) redirects"))
            }
            redirects += 1
            do throws(HTTPURLError) {
                try HTTPRedirect.apply(to: &hop, status: status, location: next)
            } catch {
                return .fail(HTTPFetchError(.protocol, "a redirect's URL \(error.message)"))
            }
            phase = .skipping(left: Self.skippedBytes)
            return .skip
        }
        guard status >= 200 else { return .fail(HTTPFetchError(.protocol, "the answer changes the protocol")) }
        phase = .receiving
        var headers = headers
        let hasBody = hop.method != "HEAD" && status != 204 && status != 304
        if decodes, hasBody, let format = HTTPInflater.Format(headers) {
            decoder = HTTPInflater(format)
            // They tell of bytes that nobody sees.
            headers.removeAll { $0 == "content-encoding" || $0 == "content-length" }
        } else if hasBody,
            let length = headers["content-length"].flatMap({ Int($0) }), length > hop.maximumBody
        {
            return .fail(tooLarge)
        }
        response = HTTPFetchResponse(status: status, headers: headers, url: hop.url)
        return .receive
    }

    mutating func bytes(_ bytes: ByteBuffer) -> BytesAction {
        switch phase {
        case .waiting: return .continueReading
        case .skipping(let left):
            phase = .skipping(left: left - bytes.readableBytes)
            return left < bytes.readableBytes ? .abandon : .continueReading
        case .receiving:
            if input.readableBytes == 0 {
                input = bytes
            } else {
                input.writeImmutableBuffer(bytes)
            }
            return .take
        }
    }

    /// What can be handed on of what has come.
    mutating func nextPiece() -> Piece {
        guard decoder != nil else {
            guard input.readableBytes > 0 else { return .none }
            let piece = input
            input = ByteBuffer()
            return count(piece)
        }
        var piece = ByteBuffer()
        do throws(HTTPInflater.Failure) {
            try decoder?.decode(&input, into: &piece, atMost: Self.pieceBytes)
        } catch {
            return .fail(Self.undecodable)
        }
        return piece.readableBytes == 0 ? .none : count(piece)
    }

    private mutating func count(_ piece: ByteBuffer) -> Piece {
        received += piece.readableBytes
        return received > hop.maximumBody ? .fail(tooLarge) : .bytes(piece)
    }

    mutating func end() -> EndAction {
        switch phase {
        case .waiting: return .fail(HTTPFetchError(.protocol, "the answer has no head"))
        case .skipping:
            phase = .waiting
            return .send
        case .receiving:
            // An empty body needs no encoding.
            if let decoder, !decoder.isComplete, decoder.hasBegun { return .fail(Self.undecodable) }
            return .finish
        }
    }

    private var tooLarge: HTTPFetchError {
        HTTPFetchError(.tooLarge, "the body is larger than \(hop.maximumBody) bytes (max_body)")
    }

    private static let undecodable = HTTPFetchError(.protocol, "the body is not what its content-encoding says")
}
