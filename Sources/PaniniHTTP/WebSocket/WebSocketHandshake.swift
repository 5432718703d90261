// Owns: what makes a request an upgrade to WebSocket, and the key of the response (RFC 6455, section 4.2). Pure; any thread.

import Bytes
import Crypto
package import NIOHTTP1

/// An upgrade that can be accepted.
package struct WebSocketHandshake: Equatable {
    /// The headers of the response 101 that are WebSocket's own.
    package let headers: HTTPFields
    /// The subprotocol that was chosen.
    package let subprotocol: String?

    /// What a route asks of its clients.
    package struct Terms: Sendable {
        /// Origins of pages that may connect: `self` is the page's own server, `*` any. Without the header it is no browser.
        package var origins: [String] = ["self"]
        /// Subprotocols that are spoken.
        package var subprotocols: [String] = []

        package init() {}
    }

    /// Checks a request.
    ///
    /// - Returns: What the response has, or the response that refuses it.
    package static func check(_ head: HTTPRequestHead, _ terms: Terms, isSecure: Bool) -> Result<Self, Refusal> {
        guard head.version.major == 1 else {
            // Clients open another connection for it.
            return .failure(Refusal(.failure(400, "this is a WebSocket: it needs HTTP/1.1")))
        }
        guard head.method == .GET, head.version == .http1_1, hasToken(head.headers, "upgrade", "websocket") else {
            return .failure(
                Refusal(
                    .failure(
                        426,
                        "this is a WebSocket",
                        headers: [("upgrade", "websocket"), ("connection", "upgrade")]
                    )
                )
            )
        }
        // As strict as the parser, which stops at an upgrade: both must see one, or neither.
        guard hasToken(head.headers, "connection", "upgrade") else {
            return .failure(Refusal(.failure(400, "an upgrade needs connection: upgrade")))
        }
        guard !head.headers.contains(name: "transfer-encoding"),
            head.headers["content-length"].allSatisfy({ $0.utf8.allSatisfy { $0 == UInt8(ascii: "0") } })
        else { return .failure(Refusal(.failure(400, "an upgrade has no body"))) }
        let versions = head.headers["sec-websocket-version"]
        guard versions.count == 1, versions[0] == "13" else {
            return .failure(
                Refusal(
                    .failure(
                        426,
                        "version 13 of WebSocket is spoken here",
                        headers: [
                            ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"),
                        ]
                    )
                )
            )
        }
        let keys = head.headers["sec-websocket-key"]
        guard keys.count == 1, isKey(keys[0]) else {
            return .failure(Refusal(.failure(400, "an upgrade needs one sec-websocket-key of 16 bytes in base64")))
        }
        guard isAllowed(head.headers, terms.origins, isSecure: isSecure) else {
            return .failure(Refusal(.failure(403, "pages of this origin may not connect")))
        }
        var headers: HTTPFields = [
            ("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-accept", accept(keys[0])),
        ]
        let offered = head.headers[canonicalForm: "sec-websocket-protocol"]
        let chosen = offered.lazy.map(String.init).first { name in
            terms.subprotocols.contains { $0.utf8.elementsEqual(name.utf8) }
        }
        if let chosen { headers.add("sec-websocket-protocol", chosen) }
        return .success(WebSocketHandshake(headers: headers, subprotocol: chosen))
    }

    /// Why there is no upgrade.
    package struct Refusal: Error {
        package let response: HTTPResponse

        init(_ response: HTTPResponse) { self.response = response }
    }

    /// The response to a key: its SHA-1 with a fixed text.
    package static func accept(_ key: String) -> String {
        var hash = Insecure.SHA1()
        hash.update(data: Array(key.utf8))
        hash.update(data: Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8))
        return Base64.encode(hash.finalize())
    }

    /// Sixteen bytes in base64: 22 digits, of which the last has four bits that are zero.
    private static func isKey(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.count == 24, bytes[22] == UInt8(ascii: "="), bytes[23] == UInt8(ascii: "=") else { return false }
        return bytes[..<22].allSatisfy { Base64.value(of: $0) != nil } && "AQgw".utf8.contains(bytes[21])
    }

    /// Whether one of the values of a list has the word, whatever its case. Only spaces stand around it.
    private static func hasToken(_ headers: HTTPHeaders, _ name: String, _ token: StaticString) -> Bool {
        headers[name].contains { value in
            value.utf8.split(separator: UInt8(ascii: ",")).contains {
                String(Substring($0)).trimmingSpaces().isHeader(token)
            }
        }
    }

    // MARK: - Origins (RFC 6454)

    private static func isAllowed(_ headers: HTTPHeaders, _ allowed: [String], isSecure: Bool) -> Bool {
        let origins = headers["origin"]
        // Who is no browser can claim anything: it is the browser that keeps pages from lying.
        guard let origin = origins.first else { return true }
        guard origins.count == 1 else { return false }
        let asked = lowercased(origin)
        for entry in allowed.map(lowercased) {
            if entry.elementsEqual("*".utf8) || entry == asked { return true }
            if entry.elementsEqual("self".utf8), let host = headers.first(name: "host"),
                isSame(asked, lowercased(host), isSecure: isSecure)
            {
                return true
            }
        }
        return false
    }

    /// The bytes, letters of ASCII in lower case and all others as they are: what decides is not what looks the same.
    private static func lowercased(_ text: String) -> [UInt8] {
        text.utf8.map(ASCII.lowercased)
    }

    /// Whether the page came from where it connects to. Behind a proxy that ends TLS only the names can be compared.
    private static func isSame(_ origin: [UInt8], _ host: [UInt8], isSecure: Bool) -> Bool {
        let https = Array("https://".utf8)
        let http = Array("http://".utf8)
        if origin == https + host { return true }
        if !isSecure, origin == http + host { return true }
        // Browsers leave a scheme's own port out, others may not.
        return origin == https + withoutPort(host, ":443")
            || !isSecure && origin == http + withoutPort(host, ":80")
    }

    private static func withoutPort(_ host: [UInt8], _ port: StaticString) -> ArraySlice<UInt8> {
        let end = UnsafeBufferPointer(start: port.utf8Start, count: port.utf8CodeUnitCount)
        return host.suffix(end.count).elementsEqual(end) ? host.dropLast(end.count) : host[...]
    }
}

extension String {
    fileprivate func trimmingSpaces() -> String {
        var rest = utf8[...]
        while rest.first == 0x20 { rest = rest.dropFirst() }
        while rest.last == 0x20 { rest = rest.dropLast() }
        return String(Substring(rest))
    }
}
