// Owns: what the parser lets pass of a head and the protocol does not (RFC 9112, sections 3.2 and 6.3). Pure; any thread.

import NIOHTTP1

extension HTTPRequestParser.Facts {
    /// What is wrong with a head; nil when nothing is. A target in another form than a path becomes one.
    func refusal(of head: inout HTTPHead, isConnect: Bool, maximumBytes: Int) -> HTTPRefusalError? {
        let isHTTP10 = head.version == .http1_0
        guard head.version == .http1_1 || isHTTP10 else {
            if head.version.major == 1 {
                return HTTPRefusalError(
                    .version,
                    "HTTP/1.0 and HTTP/1.1 are spoken here",
                    kind: .unsupported,
                    status: 505
                )
            }
            return .notHTTP
        }
        if isConnect { return .connect }
        if lengths > 0, length == nil { return HTTPRefusalError(.contentLength, "content-length is no number") }
        if hasOtherEncoding || isChunked && isHTTP10 {
            let text = "transfer-encoding can only be chunked"
            return HTTPRefusalError(.transferEncoding, text, kind: .unsupported, status: isHTTP10 ? 400 : 501)
        }
        // The parser knows the limit of the connection's beginning.
        if head.bytes.count > maximumBytes { return .headTooLarge }
        if lengths > 1 || lengths == 1 && isChunked {
            return HTTPRefusalError(.contentLength, "a body has one length", kind: .repeated)
        }
        if hosts > 1 {
            return HTTPRefusalError(
                .host,
                "a request names one host, and this one has two host fields",
                kind: .repeated
            )
        }
        if hosts == 0, !isHTTP10 {
            return HTTPRefusalError(.host, "a request of HTTP/1.1 has a host field", kind: .missing)
        }
        if hasBadHost { return .badHost }
        return head.bytes.first == UInt8(ascii: "/") ? nil : Self.settle(&head)
    }

    private static func settle(_ head: inout HTTPHead) -> HTTPRefusalError? {
        do throws(HTTPRefusalError) {
            let target = try head.bytes.withUnsafeBufferPointer { bytes throws(HTTPRefusalError) in
                try HTTPTarget(
                    UnsafeBufferPointer(rebasing: bytes[..<head.targetLength]),
                    isOptions: head.method == .OPTIONS
                )
            }
            head = head.applying(target)
            return nil
        } catch {
            return error
        }
    }
}

extension HTTPRefusalError {
    static let notHTTP = HTTPRefusalError(.version, "this is not HTTP/1.1")
    static let headTooLarge = HTTPRefusalError(.header, "the request's head is too large", kind: .tooLarge, status: 431)
    static let incomplete = HTTPRefusalError(.message, "the request is not complete", kind: .incomplete)
    static let connect = HTTPRefusalError(
        .method,
        "CONNECT is not spoken here: this is no proxy",
        kind: .unsupported,
        status: 501
    )
    static let badHost = HTTPRefusalError(.host, "the host is none: it is a name or an address, with or without a port")
}
