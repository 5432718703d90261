// Owns: what is fetched, what comes of it, and how it fails: values. Any thread.

package import NIOCore

/// A request to another server.
package struct HTTPFetch {
    package var method: String
    package var url: HTTPURL
    /// Names in lower case. `host`, `content-length` and what concerns the connection are the client's.
    package var headers: HTTPFields
    /// Headers that are not sent, though nobody gave them: names in lower case.
    package var omits: Set<String> = []
    package var body: ByteBuffer?
    /// For all of it: redirects, the body, waiting for a free connection.
    package var seconds: Double
    /// The largest body after decoding, in bytes.
    package var maximumBody: Int
    /// How many redirects are followed; 0: the redirect itself is the response.
    package var maximumRedirects: Int
    /// The body is handed on in pieces, each when the one before was taken.
    package var isStreamed: Bool
    package var tls: HTTPFetchTLS

    package init(
        method: String = "GET",
        url: HTTPURL,
        headers: HTTPFields = [],
        body: ByteBuffer? = nil,
        seconds: Double = 10,
        maximumBody: Int = 10 << 20,
        maximumRedirects: Int = 5,
        isStreamed: Bool = false,
        tls: HTTPFetchTLS = HTTPFetchTLS()
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.seconds = seconds
        self.maximumBody = maximumBody
        self.maximumRedirects = maximumRedirects
        self.isStreamed = isStreamed
        self.tls = tls
    }
}

/// Whom a client believes. Connections are shared between fetches with the same answer.
package struct HTTPFetchTLS: Hashable, Sendable {
    /// Certificates to trust instead of the system's (PEM).
    package var authorityFile: String?
    package var verifies = true

    package init(authorityFile: String? = nil, verifies: Bool = true) {
        self.authorityFile = authorityFile
        self.verifies = verifies
    }
}

/// The response of another server, without its body.
package struct HTTPFetchResponse {
    package let status: Int
    package let headers: HTTPFields
    /// Where the response came from, after redirects.
    package let url: HTTPURL
}

/// How a fetch ended, for whoever measures it.
package enum HTTPFetchEnd {
    /// With the whole response, or with as much of a stream as was wanted.
    case responded(status: Int)
    /// The status is that of a response that had begun.
    case failed(HTTPFetchError, status: Int?)
    /// Nobody waits for the response any more.
    case abandoned(status: Int?)
}

/// Why there is no response, or no whole one.
package struct HTTPFetchError: Error, Equatable {
    /// The stable code that scripts see.
    package enum Code: String, Sendable {
        case dns, connect, tls, timeout, redirects, `protocol`, closed, denied
        case tooLarge = "too_large"
    }

    package let code: Code
    /// One sentence for people, without secrets.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
