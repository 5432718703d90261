// Owns: reading http and https URLs, and resolving references against them (RFC 3986). Pure values; any thread. No text that
// comes from here has a URL's credentials.

import Bytes

/// Why a text is no URL that can be fetched.
package struct HTTPURLError: Error, Equatable {
    /// What is wrong, to stand behind "the URL"; without the URL, which may hold secrets.
    package let message: String
}

/// An address on the web, taken apart.
package struct HTTPURL: Equatable, Sendable {
    package let isSecure: Bool
    /// In lower case; an IPv6 address without its brackets.
    package let host: String
    package let port: Int
    /// Path and query as they are sent; begins with a slash.
    package let target: String
    /// `user:password`, its escapes undone; never shown.
    package let credentials: [UInt8]?

    /// Reads a URL. What stands behind `#` is dropped; characters that only people write (spaces, letters with accents) are
    /// escaped.
    ///
    /// - Parameter text: Such as `https://example.org/a?b=c`.
    /// - Throws: What is wrong with it.
    package init(_ text: String) throws(HTTPURLError) {
        let bytes = Array(text.utf8)
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw HTTPURLError(message: "has a line break or another control character")
        }
        guard let (scheme, rest) = Self.scheme(bytes[...]) else {
            throw HTTPURLError(message: "has no scheme: it begins with http:// or https://")
        }
        guard scheme == "http" || scheme == "https" else {
            throw HTTPURLError(message: "has another scheme than http and https")
        }
        guard rest.starts(with: "//".utf8) else {
            throw HTTPURLError(message: "has no host: it begins with \(scheme)://")
        }
        try self.init(isSecure: scheme == "https", behindSlashes: rest.dropFirst(2))
    }

    private init(isSecure: Bool, behindSlashes rest: ArraySlice<UInt8>) throws(HTTPURLError) {
        let end = rest.firstIndex { $0 == slash || $0 == mark || $0 == hash } ?? rest.endIndex
        var authority = rest[..<end]
        if let at = authority.lastIndex(of: UInt8(ascii: "@")) {
            credentials = HTTPRouteTable.decoded(Substring(decoding: authority[..<at], as: UTF8.self).utf8)
            authority = authority[authority.index(after: at)...]
        } else {
            credentials = nil
        }
        self.isSecure = isSecure
        (host, port) = try Self.hostAndPort(authority, standard: isSecure ? 443 : 80)
        let target = Self.escaped(rest[end...].prefix { $0 != hash })
        self.target = target.hasPrefix("/") ? target : "/" + target
    }

    private init(_ base: HTTPURL, target: [UInt8]) {
        isSecure = base.isSecure
        host = base.host
        port = base.port
        credentials = base.credentials
        self.target = Self.escaped(target[...])
    }

    // MARK: - Texts

    /// Host and port as the `host` header has them: without the scheme's own port.
    package var authority: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? host : "\(host):\(port)"
    }

    /// The whole URL without credentials.
    package var text: String { "\(isSecure ? "https" : "http")://\(authority)\(target)" }

    /// The host is an address: there is no name to tell a server, or to be verified.
    package var isAddress: Bool {
        host.contains(":") || host.utf8.allSatisfy { ASCII.isDigit($0) || $0 == dot }
    }

    /// Whether what is secret for one may be told the other (RFC 6454).
    package func hasOrigin(of other: HTTPURL) -> Bool {
        isSecure == other.isSecure && host == other.host && port == other.port
    }

    // MARK: - References

    /// Resolves a `location` (RFC 3986, section 5.2). Credentials go on only to the same origin.
    package func resolving(_ reference: String) throws(HTTPURLError) -> HTTPURL {
        let bytes = Array(reference.utf8)
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw HTTPURLError(message: "has a line break or another control character")
        }
        if Self.scheme(bytes[...]) != nil { return try HTTPURL(reference) }
        if bytes.starts(with: "//".utf8) { return try HTTPURL(isSecure: isSecure, behindSlashes: bytes[2...]) }
        let wanted = bytes.prefix { $0 != hash }
        let own = Array(target.utf8)
        let path = own.prefix { $0 != mark }
        guard let first = wanted.first else { return self }
        if first == slash { return HTTPURL(self, target: Self.withoutDots(wanted)) }
        if first == mark { return HTTPURL(self, target: Array(path) + wanted) }
        let folder = path[...(path.lastIndex(of: slash) ?? 0)]
        return HTTPURL(self, target: Self.withoutDots(Array(folder) + wanted))
    }

    /// Removes `.` and `..` from the path of a target (section 5.2.4).
    private static func withoutDots(_ target: some Collection<UInt8>) -> [UInt8] {
        let path = target.prefix { $0 != mark }
        var kept: [ArraySlice<UInt8>] = []
        var endsInFolder = false
        for name in Array(path).split(separator: slash, omittingEmptySubsequences: false).dropFirst() {
            endsInFolder = false
            switch name {
            case [dot]: endsInFolder = true
            case [dot, dot]:
                _ = kept.popLast()
                endsInFolder = true
            default: kept.append(name)
            }
        }
        if endsInFolder { kept.append([]) }
        return [slash] + kept.joined(separator: [slash]) + target.dropFirst(path.count)
    }

    // MARK: - Parts

    private static func scheme(_ text: ArraySlice<UInt8>) -> (name: String, rest: ArraySlice<UInt8>)? {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), let first = text.first, ASCII.isLetter(first) else {
            return nil
        }
        let name = text[..<colon]
        guard name.allSatisfy({ ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == dot || $0 == 0x2B || $0 == 0x2D })
        else {
            return nil
        }
        // "localhost:8080/a" is a host that lost its scheme, not a scheme.
        let rest = text[text.index(after: colon)...]
        if let next = rest.first, ASCII.isDigit(next) { return nil }
        return (String(decoding: name, as: UTF8.self).lowercased(), rest)
    }

    private static func hostAndPort(
        _ text: ArraySlice<UInt8>,
        standard: Int
    ) throws(HTTPURLError) -> (String, Int) {
        var name = text
        var digits: ArraySlice<UInt8> = []
        let isBracketed = text.first == UInt8(ascii: "[")
        let colon =
            isBracketed
            ? text.lastIndex(of: UInt8(ascii: "]")).map { text.index(after: $0) }.flatMap {
                $0 < text.endIndex ? $0 : nil
            }
            : text.firstIndex(of: UInt8(ascii: ":"))
        if let colon {
            guard text[colon] == UInt8(ascii: ":") else { throw HTTPURLError(message: "has no valid host") }
            name = text[..<colon]
            digits = text[text.index(after: colon)...]
        }
        var port = standard
        if !digits.isEmpty {
            guard digits.allSatisfy(ASCII.isDigit), let number = Int(String(decoding: digits, as: UTF8.self)),
                (1...65535).contains(number)
            else { throw HTTPURLError(message: "has a port that is no number from 1 to 65535") }
            port = number
        }
        if isBracketed {
            let address = name.dropFirst().dropLast()
            guard name.last == UInt8(ascii: "]"), address.contains(UInt8(ascii: ":")),
                address.allSatisfy({ Hex.isDigit($0) || $0 == UInt8(ascii: ":") || $0 == dot })
            else { throw HTTPURLError(message: "has no valid IPv6 address between its brackets") }
            return (String(decoding: address, as: UTF8.self).lowercased(), port)
        }
        guard !name.isEmpty else { throw HTTPURLError(message: "has no host") }
        guard name.allSatisfy({ $0 < 0x80 }) else {
            throw HTTPURLError(message: "has a host that is not ASCII: write it in its form xn--...")
        }
        guard name.count <= 253,
            name.allSatisfy({ ASCII.isLetter($0) || ASCII.isDigit($0) || $0 == dot || $0 == 0x2D || $0 == 0x5F })
        else { throw HTTPURLError(message: "has a host with characters that no host has") }
        return (String(decoding: name, as: UTF8.self).lowercased(), port)
    }

    /// Escapes what may not stand in a target (RFC 3986, section 3.3), and leaves escapes as they are.
    private static func escaped(_ text: some Collection<UInt8>) -> String {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        for byte in text {
            switch byte {
            case 0x21, 0x23...0x3B, 0x3D, 0x3F...0x5B, 0x5D, 0x5F, 0x61...0x7A, 0x7E: result.append(byte)
            default:
                PercentCoding.appendEscape(of: byte, to: &result)
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

private let slash = UInt8(ascii: "/")
private let mark = UInt8(ascii: "?")
private let hash = UInt8(ascii: "#")
private let dot = UInt8(ascii: ".")
