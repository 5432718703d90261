// Owns: a request of HTTP as a plain value: what a route in Swift gets, and what `PaniniHost.handle` takes. Any thread.

import CLuaVM
import CScriptObjects
import PaniniHTTP
import ScriptRuntime

/// A request of HTTP.
public struct PaniniRequest: Sendable {
    /// Such as `GET`.
    public var method: String
    /// Path and query as they stand in the request line, percent-encoded: `/orders/7?all=true`.
    public var target: String
    /// The header fields.
    public var headers: PaniniHTTPFields
    /// The body's bytes.
    public var body: [UInt8]
    /// The client's address as text; empty when nobody knows.
    public var remoteAddress: String
    /// What the path's parameters captured, decoded; empty before a route was found.
    public internal(set) var parameters: [String: String] = [:]
    private var completions: SwiftCompletions?

    /// The service that received it, to publish and request as it; a request that no service has received yet has none, and
    /// every use of this throws.
    public var app: PaniniApp { PaniniApp(way: .script(completions)) }

    /// Makes a request.
    ///
    /// - Parameters:
    ///   - method: Such as `GET`.
    ///   - target: Path and query, percent-encoded.
    ///   - headers: The header fields.
    ///   - body: The body's bytes.
    ///   - remoteAddress: The client's address as text.
    public init(
        method: String = "GET",
        target: String,
        headers: PaniniHTTPFields = [:],
        body: [UInt8] = [],
        remoteAddress: String = ""
    ) {
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.remoteAddress = remoteAddress
    }

    /// The path, percent-encoded.
    public var path: String { String(target.prefix { $0 != "?" }) }

    /// A value of the query, decoded; nil when it is not there.
    ///
    /// - Parameter name: The name; of several values the first counts.
    public func query(_ name: String) -> String? {
        guard let mark = target.utf8.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        return Array(target.utf8[target.utf8.index(after: mark)...]).withUnsafeBytes { query in
            formPairs(query).first { $0.name.elementsEqual(name.utf8) }.map {
                String(decoding: $0.value, as: UTF8.self)
            }
        }
    }

    /// The body as text; what is no UTF-8 becomes U+FFFD.
    public var text: String { String(decoding: body, as: UTF8.self) }
}

extension PaniniRequest {
    /// The request at index 1: nothing but a route's chain calls this.
    init(_ call: EmbeddedCall) {
        let bytes = RequestBytes(
            lua_touserdata(call.L, 1).unsafelyUnwrapped.assumingMemoryBound(to: panini_request.self)
        )
        method = String(decoding: bytes.method, as: UTF8.self)
        let query = bytes.query.isEmpty ? "" : "?" + String(decoding: bytes.query, as: UTF8.self)
        target = String(decoding: bytes.path, as: UTF8.self) + query
        var fields = PaniniHTTPFields()
        bytes.forEachHeader { name, value in
            fields.add(String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self))
        }
        headers = fields
        body = Array(bytes.body)
        remoteAddress = String(decoding: bytes.address, as: UTF8.self)
        parameters = call.script.parameters(of: bytes)
        completions = call.script.embedding.completions(of: call.script)
    }
}

extension Script {
    /// What the parameters of a request's path captured, decoded.
    fileprivate func parameters(of request: RequestBytes) -> [String: String] {
        let routes = http.routes
        guard routes.all.indices.contains(request.route) else { return [:] }
        let route = routes.all[request.route]
        guard !route.parameters.isEmpty else { return [:] }
        let path = String(decoding: request.path, as: UTF8.self)
        let method = String(decoding: request.method, as: UTF8.self)
        guard case .found(_, let captures) = routes.table.match(method: method, path: Substring(path).utf8) else {
            return [:]
        }
        let texts = captures.map { String(decoding: HTTPRouteTable.decoded($0), as: UTF8.self) }
        return Dictionary(zip(route.parameters, texts), uniquingKeysWith: { first, _ in first })
    }
}
