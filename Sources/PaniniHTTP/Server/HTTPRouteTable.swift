// Owns: which handler a method and a path mean. Built at load time, then only read; pure values, any thread.

import Bytes

/// Why a route cannot be added.
package struct HTTPRouteError: Error, Equatable {
    /// One sentence for people.
    package let message: String
}

/// What a path leads to.
package enum HTTPRouteMatch: Equatable {
    /// A route, and what its parameters captured, in order.
    case found(Int, [Substring.UTF8View.SubSequence])
    /// The path exists, for these methods only.
    case methodNotAllowed([String])
    case notFound

    package static func == (left: HTTPRouteMatch, right: HTTPRouteMatch) -> Bool {
        switch (left, right) {
        case (.found(let a, let x), .found(let b, let y)):
            a == b && x.count == y.count && zip(x, y).allSatisfy { $0.elementsEqual($1) }
        case (.methodNotAllowed(let a), .methodNotAllowed(let b)): a == b
        case (.notFound, .notFound): true
        default: false
        }
    }
}

/// A trie of path segments: a static segment wins over a parameter, a parameter over the rest of the path.
///
/// The choice goes back where a nearer branch leads nowhere, so that `/users/{id}/posts` is found beside `/users/me`.
package struct HTTPRouteTable {
    private struct Node {
        var children: [(segment: [UInt8], node: Int)] = []
        /// The same by their segments, where a search would be long.
        var index: [[UInt8]: Int] = [:]
        var parameter: Int?
        /// What ends here, by method, and the pattern as it was written.
        var routes: [(method: String, route: Int, pattern: String)] = []
        /// The same for `{name...}`.
        var rest: [(method: String, route: Int, pattern: String)] = []
    }

    private var nodes = [Node()]
    /// More segments than this are looked up.
    private static let searchedChildren = 16
    /// The methods of all routes; `*` stands for any.
    package private(set) var methods: Set<String> = []  // text: ASCII

    package init() {}

    /// The names of a pattern's parameters, in order.
    ///
    /// - Parameter pattern: Such as `/users/{id}` or `/files/{path...}`.
    /// - Throws: What is wrong with the pattern.
    package static func names(of pattern: String) throws(HTTPRouteError) -> [String] {
        guard pattern.utf8.first == UInt8(ascii: "/") else {
            throw HTTPRouteError(message: "a path begins with \"/\", not \"\(pattern)\"")
        }
        let hasMark = pattern.utf8.contains { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        guard !hasMark, !pattern.unicodeScalars.contains(where: \.properties.isWhitespace) else {
            throw HTTPRouteError(message: "the path \"\(pattern)\" may not contain \"?\", \"#\" or white space")
        }
        var names: [String] = []
        let segments = Self.segments(of: pattern)
        for (position, segment) in segments.enumerated() where segment.contains(where: isBrace) {
            let shown = String(decoding: segment, as: UTF8.self)
            guard isParameter(segment) else {
                throw HTTPRouteError(message: "a parameter is a whole segment, as in /users/{id}, not \"\(shown)\"")
            }
            var name = segment.dropFirst().dropLast()
            if takesRest(segment) {
                name = name.dropLast(3)
                guard position == segments.count - 1 else {
                    throw HTTPRouteError(
                        message: "\"\(shown)\" takes the rest of the path: it must be the last segment"
                    )
                }
            }
            guard !name.isEmpty, name.allSatisfy({ isNameByte($0) }) else {
                throw HTTPRouteError(message: "a parameter's name has letters, digits and _ only, not \"\(shown)\"")
            }
            let text = String(decoding: name, as: UTF8.self)
            guard !names.contains(text) else {
                throw HTTPRouteError(message: "the path \"\(pattern)\" has two parameters named \"\(text)\"")
            }
            names.append(text)
        }
        return names
    }

    /// What stands between the slashes.
    private static func segments(of pattern: String) -> [ArraySlice<UInt8>] {
        Array(pattern.utf8.dropFirst()).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    }

    private static func isBrace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}") }

    private static func isParameter(_ segment: ArraySlice<UInt8>) -> Bool {
        segment.count > 2 && segment.first == UInt8(ascii: "{") && segment.last == UInt8(ascii: "}")
    }

    private static func takesRest(_ segment: ArraySlice<UInt8>) -> Bool {
        isParameter(segment) && segment.dropLast().suffix(3).elementsEqual("...".utf8)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == 95
    }

    /// Adds a route.
    ///
    /// - Parameters:
    ///   - method: Such as `GET`.
    ///   - pattern: The path with its parameters.
    ///   - route: What ``match(method:path:)`` gives back.
    /// - Throws: What is wrong with the pattern, or which route it collides with.
    package mutating func add(_ method: String, _ pattern: String, route: Int) throws(HTTPRouteError) {
        _ = try Self.names(of: pattern)
        var node = 0
        var takesRest = false
        for segment in Self.segments(of: pattern) {
            if Self.takesRest(segment) {
                takesRest = true
            } else if segment.first == UInt8(ascii: "{") {
                if nodes[node].parameter == nil {
                    nodes.append(Node())
                    nodes[node].parameter = nodes.count - 1
                }
                node = nodes[node].parameter.unsafelyUnwrapped
            } else {
                node = child(of: node, Array(segment))
            }
        }
        let known = takesRest ? nodes[node].rest : nodes[node].routes
        if let other = known.first(where: { $0.method == method }) {
            throw HTTPRouteError(message: "\(method) \(pattern) is there already, as \(method) \(other.pattern)")
        }
        methods.insert(method)
        if takesRest {
            nodes[node].rest.append((method, route, pattern))
        } else {
            nodes[node].routes.append((method, route, pattern))
        }
    }

    private mutating func child(of node: Int, _ segment: [UInt8]) -> Int {
        let known =
            nodes[node].index.isEmpty
            ? nodes[node].children.first { $0.segment == segment }?.node : nodes[node].index[segment]
        if let known { return known }
        nodes.append(Node())
        nodes[node].children.append((segment, nodes.count - 1))
        if !nodes[node].index.isEmpty {
            nodes[node].index[segment] = nodes.count - 1
        } else if nodes[node].children.count > Self.searchedChildren {
            nodes[node].index = Dictionary(uniqueKeysWithValues: nodes[node].children.map { ($0.segment, $0.node) })
        }
        return nodes.count - 1
    }

    /// Finds the route of a request.
    ///
    /// - Parameters:
    ///   - method: As it was sent. HEAD takes the route of GET where it has none of its own.
    ///   - path: Without the query, percent-encoded; it begins with a slash.
    package func match(method: String, path: Substring.UTF8View) -> HTTPRouteMatch {
        var captures: [Range<Int>] = []
        let match = Array(path).withUnsafeBufferPointer { bytes in
            find(method: method, in: bytes, &captures).map(Search.found) ?? .allowed(allowed(in: bytes, method))
        }
        switch match {
        case .found(let route):
            return .found(
                route,
                captures.map { range in
                    let start = path.index(path.startIndex, offsetBy: range.lowerBound)
                    return path[start..<path.index(start, offsetBy: range.count)]
                }
            )
        case .allowed(let methods): return methods.isEmpty ? .notFound : .methodNotAllowed(methods)
        }
    }

    /// What the parameters of a request's route captured, in order; empty when there is no route.
    ///
    /// - Parameter path: As it was sent, whatever its bytes.
    package func captures(method: String, path: UnsafeRawBufferPointer) -> [ArraySlice<UInt8>] {
        let bytes = Array(path)
        var captures: [Range<Int>] = []
        guard bytes.withUnsafeBufferPointer({ find(method: method, in: $0, &captures) }) != nil else { return [] }
        return captures.map { bytes[$0] }
    }

    private enum Search {
        case found(Int)
        case allowed([String])
    }

    /// Finds the route of a request and nothing else: what there is to do for each of them.
    package func find(method: String, in path: UnsafeBufferPointer<UInt8>) -> Int? {
        var captures: [Range<Int>] = []
        return find(method: method, in: path, &captures)
    }

    private func find(method: String, in path: UnsafeBufferPointer<UInt8>, _ captures: inout [Range<Int>]) -> Int? {
        guard path.first == UInt8(ascii: "/") else { return nil }
        var ends = Ends.route(of: method)
        return find(0, 1, path, &ends, &captures, depth: 0)
    }

    /// The methods of a path that has no route for this one.
    private func allowed(in path: UnsafeBufferPointer<UInt8>, _ method: String) -> [String] {
        guard path.first == UInt8(ascii: "/") else { return [] }
        var captures: [Range<Int>] = []
        var ends = Ends.methods([])
        _ = find(0, 1, path, &ends, &captures, depth: 0)
        guard case .methods(var methods) = ends, !methods.isEmpty else { return [] }
        if methods.contains("GET") { methods.insert("HEAD") }  // text: ASCII
        return methods.sorted()
    }

    /// No pattern is deeper; paths beyond it can only match the rest of a pattern.
    private static let maximumDepth = 64

    /// What is looked for where a path ends.
    private enum Ends {
        case route(of: String)
        /// All methods, of all branches.
        case methods(Set<String>)  // text: ASCII

        mutating func pick(_ routes: [(method: String, route: Int, pattern: String)]) -> Int? {
            switch self {
            case .route(let method):
                for entry in routes where entry.method == method || entry.method == "*" { return entry.route }
                guard method == "HEAD" else { return nil }
                return routes.first { $0.method == "GET" }?.route
            case .methods(var methods):
                self = .methods([])
                methods.formUnion(routes.lazy.map(\.method))
                self = .methods(methods)
                return nil
            }
        }
    }

    private func find(
        _ node: Int,
        _ start: Int,
        _ path: UnsafeBufferPointer<UInt8>,
        _ ends: inout Ends,
        _ captures: inout [Range<Int>],
        depth: Int
    ) -> Int? {
        if depth < Self.maximumDepth {
            var end = start
            var isEncoded = false
            while end < path.count, path[end] != UInt8(ascii: "/") {
                if path[end] == UInt8(ascii: "%") { isEncoded = true }
                end += 1
            }
            let segment = UnsafeBufferPointer(rebasing: path[start..<end])
            if nodes[node].index.isEmpty {
                for child in nodes[node].children where Self.isEqual(segment, child.segment, isEncoded: isEncoded) {
                    if let found = descend(child.node, end, path, &ends, &captures, depth: depth) { return found }
                }
            } else {
                if let child = nodes[node].index[Array(segment)],
                    let found = descend(child, end, path, &ends, &captures, depth: depth)
                {
                    return found
                }
                if isEncoded,
                    let child = nodes[node].index[Self.decoded(Array(segment)[...])],
                    let found = descend(child, end, path, &ends, &captures, depth: depth)
                {
                    return found
                }
            }
            if let parameter = nodes[node].parameter, !segment.isEmpty {
                captures.append(start..<end)
                if let found = descend(parameter, end, path, &ends, &captures, depth: depth) { return found }
                captures.removeLast()
            }
        }
        guard !nodes[node].rest.isEmpty, let route = ends.pick(nodes[node].rest) else { return nil }
        captures.append(start..<path.count)
        return route
    }

    @inline(__always)
    private static func isEqual(_ segment: UnsafeBufferPointer<UInt8>, _ name: [UInt8], isEncoded: Bool) -> Bool {
        if segment.count == name.count, segment.elementsEqual(name) { return true }
        return isEncoded && decoded(Array(segment)[...]) == name
    }

    private func descend(
        _ node: Int,
        _ end: Int,
        _ path: UnsafeBufferPointer<UInt8>,
        _ ends: inout Ends,
        _ captures: inout [Range<Int>],
        depth: Int
    ) -> Int? {
        end < path.count
            ? find(node, end + 1, path, &ends, &captures, depth: depth + 1) : ends.pick(nodes[node].routes)
    }

    /// A segment with its escapes undone; as it is where one of them is none.
    package static func decoded(_ segment: Substring.UTF8View) -> [UInt8] { decoded(Array(segment)[...]) }

    /// The same for bytes.
    package static func decoded(_ segment: ArraySlice<UInt8>) -> [UInt8] {
        PercentCoding.decoded(segment) ?? Array(segment)
    }
}
