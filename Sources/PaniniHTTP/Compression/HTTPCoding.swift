// Owns: whether a response is compressed, and how (RFC 9110, sections 8.4 and 12.5.3). Pure; any thread.

import Bytes

/// The choice of a content coding.
enum HTTPCoding {
    /// Smaller bodies cost more than they save.
    static let minimumBytes = 1024

    /// Whether a response gains by compression: what the choice by `accept-encoding`, and so `vary`, is for.
    static func isWorthIt(_ status: Int, _ headers: HTTPFields) -> Bool {
        guard status >= 200, status != 204, status != 206, status != 304 else { return false }
        var isCompressible = false
        for (name, value) in headers {
            switch name {
            case "content-type": isCompressible = isText(value)
            // Encoded already, or a part whose bytes are counted.
            case "content-encoding", "content-range": return false
            case "cache-control": if value.lowercased().contains("no-transform") { return false }
            default: break
            }
        }
        return isCompressible
    }

    /// Types that shrink; images, sound and archives are compressed by themselves.
    static func isText(_ type: String) -> Bool {
        let name = type.prefix { $0 != ";" && $0 != " " }.lowercased()
        if name.hasPrefix("text/") || name.hasSuffix("+json") || name.hasSuffix("+xml") { return true }
        return others.contains(name)
    }

    private static let others: Set<String> = [
        "application/json", "application/javascript", "application/xml", "application/manifest+json",
        "application/wasm",
        "application/x-ndjson", "application/graphql", "font/otf", "font/ttf", "image/bmp", "image/x-icon",
    ]

    /// The coding that a client likes best of those that are spoken here; nil: none.
    ///
    /// - Parameter values: Its `accept-encoding` headers.
    static func choose(_ values: [String]) -> HTTPDeflater.Format? {
        var weights = Weights()
        for value in values {
            for part in value.utf8.split(separator: UInt8(ascii: ",")) { weights.note(part) }
        }
        let rest = weights.rest ?? 0
        let gzip = weights.gzip ?? rest
        let deflate = weights.deflate ?? rest
        // Who would rather have it plain gets it plain.
        let plain = weights.identity ?? 0
        guard max(gzip, deflate) > 0, max(gzip, deflate) >= plain else { return nil }
        return gzip >= deflate ? .gzip : .deflate
    }

    /// What a client thinks of the codings that are spoken here; a client may name thousands of others.
    private struct Weights {
        var gzip: Double?
        var deflate: Double?
        var identity: Double?
        /// The weight of all codings that are not named.
        var rest: Double?

        /// Takes one coding with its parameters.
        mutating func note(_ part: Substring.UTF8View) {
            let name = part.prefix { $0 != UInt8(ascii: ";") }.withoutBlanks
            let coding: WritableKeyPath<Weights, Double?>
            if HTTPParameters.isName(name, "gzip") || HTTPParameters.isName(name, "x-gzip") {
                coding = \.gzip
            } else if HTTPParameters.isName(name, "deflate") {
                coding = \.deflate
            } else if HTTPParameters.isName(name, "identity") {
                coding = \.identity
            } else if HTTPParameters.isName(name, "*") {
                coding = \.rest
            } else {
                return
            }
            var weight = 1.0
            for piece in part.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false).dropFirst() {
                let text = piece.withoutBlanks
                guard text.count > 1, HTTPParameters.isName(text.prefix(2), "q=") else { continue }
                weight = text.count <= 32 ? Double(Substring(text.dropFirst(2))) ?? 0 : 0
            }
            self[keyPath: coding] = weight
        }
    }

    /// The headers of a response that is compressed: its bytes are others, so a strong validator becomes a weak one.
    static func encoded(_ headers: HTTPFields, _ format: HTTPDeflater.Format) -> HTTPFields {
        var encoded = HTTPFields()
        for (name, value) in headers {
            encoded.add(name, name == "etag" && !value.hasPrefix("W/") ? "W/" + value : value)
        }
        encoded.add("content-encoding", format.rawValue)
        return encoded
    }

    /// The headers with what tells caches that the response depends on `accept-encoding`.
    static func varying(_ headers: HTTPFields) -> HTTPFields {
        for value in headers.values("vary") {
            let names = value.lowercased()
            if names.contains("accept-encoding") || names.contains("*") { return headers }
        }
        return headers.adding([("vary", "accept-encoding")])
    }
}
