// Owns: why a request is refused before anybody else sees it, as a value. Pure; any thread.

/// What is wrong with a request.
package struct HTTPRefusalError: Error, Equatable {
    /// What of the request is meant, in the response's `errors`.
    package enum Part: String, Sendable {
        case method, target, version, host, header, trailer, body, chunk, message
        case contentLength = "content-length"
        case transferEncoding = "transfer-encoding"
    }

    /// The stable code in the response's `errors`.
    package enum Kind: String, Sendable {
        case invalid, missing, repeated, unsupported, incomplete
        case tooLarge = "too_large"
    }

    package let status: Int
    package let part: Part
    package let kind: Kind
    /// One sentence for people; without quotes and backslashes.
    package let text: String

    package init(_ part: Part, _ text: String, kind: Kind = .invalid, status: Int = 400) {
        self.part = part
        self.text = text
        self.kind = kind
        self.status = status
    }
}

extension HTTPResponse {
    /// The response that says what is wrong with a request.
    package static func failure(_ refusal: HTTPRefusalError) -> HTTPResponse {
        let (text, part, kind) = (refusal.text, refusal.part.rawValue, refusal.kind.rawValue)
        return HTTPResponse(
            status: refusal.status,
            headers: [("content-type", "application/json")],
            body: Array(
                """
                {"success":false,"code":\(refusal.status),"error":"\(text)",\
                "errors":[{"path":"\(part)","code":"\(kind)","message":"\(text)"}]}
                """.utf8
            )
        )
    }
}
