// Owns: what a redirect makes of a request (RFC 9110, sections 15.4 and 10.2.2). Pure; any thread.

import Bytes

/// Redirects.
enum HTTPRedirect {
    /// The `location` of a response that is a redirect; nil for all others.
    static func target(status: Int, headers: HTTPFields) -> String? {
        switch status {
        case 301, 302, 303, 307, 308: headers["location"]
        default: nil
        }
    }

    /// Makes the request that follows.
    ///
    /// - Throws: What is wrong with the location.
    static func apply(to fetch: inout HTTPFetch, status: Int, location: String) throws(HTTPURLError) {
        let url = try fetch.url.resolving(location)
        if changesToGet(fetch.method, status) {
            fetch.method = "GET"
            fetch.body = nil
            fetch.headers.removeAll { $0.hasPrefix("content-") }
        }
        if !url.hasOrigin(of: fetch.url) {
            fetch.headers.removeAll { secrets.contains($0) }
            if let credentials = url.credentials {
                fetch.headers.add("authorization", "Basic " + Base64.encode(credentials))
            }
        }
        fetch.url = url
    }

    /// A POST becomes a GET where all browsers do so; 303 says it for every method.
    private static func changesToGet(_ method: String, _ status: Int) -> Bool {
        switch status {
        case 303: method != "HEAD"
        case 301, 302: method == "POST"
        default: false
        }
    }

    /// What was meant for the first server only. `host` names it.
    private static let secrets: Set<String> = ["authorization", "cookie", "proxy-authorization", "host"]
}
