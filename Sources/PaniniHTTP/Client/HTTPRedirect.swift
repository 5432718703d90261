// Owns: what a redirect makes of a request (RFC 9110, sections 15.4 and 10.2.2). Pure; any thread.

/// Redirects.
enum HTTPRedirect {
    /// The `location` of an answer that is a redirect; nil for all others.
    static func target(status: Int, headers: [(name: String, value: String)]) -> String? {
        switch status {
        case 301, 302, 303, 307, 308: headers.first { $0.name == "location" }?.value
        default: nil
        }
    }

    /// Makes the request that follows.
    ///
    /// - Throws: What is wrong with the location.
    static func apply(to fetch: inout HTTPFetch, status: Int, location: String) throws(HTTPURLProblem) {
        let url = try fetch.url.resolving(location)
        if changesToGet(fetch.method, status) {
            fetch.method = "GET"
            fetch.body = nil
            fetch.headers.removeAll { $0.name.hasPrefix("content-") }
        }
        if !url.hasOrigin(of: fetch.url) {
            fetch.headers.removeAll { secrets.contains($0.name) }
            if let credentials = url.credentials {
                fetch.headers.append(("authorization", "Basic " + base64(credentials)))
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

/// RFC 4648, with padding.
func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        var word = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
        word &= 0xFF_FFFF
        for index in 0..<4 {
            text.append(index <= group.count ? alphabet[Int(word >> UInt32(18 - 6 * index)) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}
