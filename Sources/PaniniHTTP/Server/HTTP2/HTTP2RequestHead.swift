// Owns: what the fields of an HTTP/2 request mean (RFC 9113, section 8.3), and what of them is refused. Pure; any thread.

import NIOHPACK
import NIOHTTP1

/// Reading the head of a request.
enum HTTP2RequestHead {
    /// Makes the head that all handlers know, and says what is wrong with it.
    static func read(
        _ fields: HPACKHeaders,
        _ limits: HTTPServerConfiguration
    ) -> (head: HTTPRequestHead, refusal: HTTPRefusalError?) {
        var head = HTTPRequestHead(version: .http2, method: .GET, uri: "/")
        var authority: String?
        var hosts = 0
        var size = 0
        var count = 0
        var cookies: [String] = []
        for (name, value, _) in fields {
            size += name.utf8.count + value.utf8.count + 4
            switch name {
            case ":method": head.method = HTTPMethod(rawValue: value)
            case ":path": head.uri = value
            case ":authority": authority = value
            case ":scheme": break
            // May come in pieces, for the sake of compression (section 8.2.3).
            case "cookie": cookies.append(value)
            default:
                count += 1
                if name == "host" { hosts += 1 }
                head.headers.add(name: name, value: value)
            }
        }
        if !cookies.isEmpty { head.headers.add(name: "cookie", value: cookies.joined(separator: "; ")) }
        if let authority, hosts == 0 { head.headers.add(name: "host", value: authority) }
        return (head, refusal(head, authority, hosts, size, count, limits))
    }

    private static func refusal(
        _ head: HTTPRequestHead,
        _ authority: String?,
        _ hosts: Int,
        _ size: Int,
        _ count: Int,
        _ limits: HTTPServerConfiguration
    ) -> HTTPRefusalError? {
        if size > limits.maximumHeaderBytes || count > limits.maximumHeaderCount { return .headTooLarge }
        if let refusal = HTTPMethodReader.refusal(of: head.method.rawValue) { return refusal }
        if head.method == .CONNECT { return .connect }
        guard head.uri.hasPrefix("/") || head.uri == "*" && head.method == .OPTIONS else {
            return HTTPRefusalError(.target, "a request's path begins with a slash")
        }
        // What was no UTF-8 has been repaired before it came here.
        if head.uri.utf8.contains(0xEF), head.uri.unicodeScalars.contains("\u{FFFD}") {
            return HTTPRefusalError(.target, "the path is no text (UTF-8)")
        }
        if hosts > 1 { return HTTPRefusalError(.host, "a request names one host", kind: .repeated) }
        if hosts == 0, authority?.isEmpty != false {
            return HTTPRefusalError(.host, "a request names its host", kind: .missing)
        }
        let host = head.headers.first(name: "host") ?? ""
        if hosts == 1, let authority, host != authority {
            return HTTPRefusalError(.host, "a request names one host, and this one's fields differ", kind: .repeated)
        }
        return HTTPHostField.isValid(host) ? nil : .badHost
    }
}
