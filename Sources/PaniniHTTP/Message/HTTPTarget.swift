// Owns: the forms of a request's target (RFC 9112, section 3.2), and what an origin server makes of each. Pure; any thread.

import Bytes

/// A target in a form other than a path and a query.
///
/// The usual one begins with a slash and is taken as it is; nobody asks here for it.
struct HTTPTarget: Equatable {
    /// The path with the query; `*` for the server as a whole.
    let path: [UInt8]
    /// The host and port of a URL: what counts in place of the `host` field. Nil for `*`.
    let authority: [UInt8]?

    /// Reads a target that does not begin with a slash.
    ///
    /// - Throws: Why there is nothing to be found under it.
    init(_ target: UnsafeBufferPointer<UInt8>, isOptions: Bool) throws(HTTPRefusalError) {
        if target.elementsEqual("*".utf8) {
            guard isOptions else { throw HTTPRefusalError(.target, "the target * is for OPTIONS only") }
            path = Array(target)
            authority = nil
            return
        }
        guard let colon = target.firstIndex(of: UInt8(ascii: ":")), target[colon...].starts(with: "://".utf8) else {
            throw HTTPRefusalError(.target, "a request's target is a path that begins with a slash, or a URL")
        }
        let scheme = target[..<colon]
        guard ASCII.equals(scheme, ignoringCase: "http") || ASCII.equals(scheme, ignoringCase: "https") else {
            throw HTTPRefusalError(
                .target,
                "the URL in the request line is neither one of http nor of https",
                kind: .unsupported
            )
        }
        let rest = target[(colon + 3)...]
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let host = rest[..<(end ?? rest.endIndex)]
        let tail = rest[(end ?? rest.endIndex)...]
        if host.contains(UInt8(ascii: "@")) {
            throw HTTPRefusalError(.target, "the URL in the request line has a user, which is not sent to servers")
        }
        guard !host.isEmpty, HTTPHostField.isValid(UnsafeBufferPointer(rebasing: host)) else {
            throw HTTPRefusalError(.target, "the URL in the request line names no host that can be one")
        }
        guard !tail.contains(UInt8(ascii: "#")) else {
            throw HTTPRefusalError(.target, "the URL in the request line has a fragment, which is not sent to servers")
        }
        authority = Array(host)
        if tail.isEmpty {
            // Without a path OPTIONS means the server as a whole (RFC 9112, section 3.2.4).
            path = isOptions ? Array("*".utf8) : Array("/".utf8)
        } else {
            path = tail.first == UInt8(ascii: "/") ? Array(tail) : Array("/".utf8) + tail
        }
    }

}

extension HTTPHead {
    /// The same head for a target in another form: its path and query, and its host in place of the field's.
    func applying(_ target: HTTPTarget) -> HTTPHead {
        var changed = target.path
        var hasHost = false
        for line in bytes[targetLength...].split(separator: UInt8(ascii: "\n")) {
            let name = line.prefix { $0 != UInt8(ascii: ":") }
            if let authority = target.authority, ASCII.equals(name, ignoringCase: "host") {
                hasHost = true
                changed += name + [UInt8(ascii: ":")] + authority
            } else {
                changed += line
            }
            changed.append(UInt8(ascii: "\n"))
        }
        if let authority = target.authority, !hasHost {
            changed += Array("host:".utf8) + authority + [UInt8(ascii: "\n")]
        }
        return HTTPHead(method: method, version: version, bytes: changed, targetLength: target.path.count)
    }
}
