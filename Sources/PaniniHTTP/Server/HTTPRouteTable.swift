// Owns: which handler a method and a path mean. Built at load time, then only read; pure values, any thread.

/// Why a route cannot be added.
package struct HTTPRouteProblem: Error, Equatable {
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
        var parameter: Int?
        /// What ends here, by method, and the pattern as it was written.
        var routes: [(method: String, route: Int, pattern: String)] = []
        /// The same for `{name...}`.
        var rest: [(method: String, route: Int, pattern: String)] = []
    }

    private var nodes = [Node()]

    package init() {}

    /// The names of a pattern's parameters, in order.
    ///
    /// - Parameter pattern: Such as `/users/{id}` or `/files/{path...}`.
    /// - Throws: What is wrong with the pattern.
    package static func names(of pattern: String) throws(HTTPRouteProblem) -> [String] {
        guard pattern.utf8.first == UInt8(ascii: "/") else {
            throw HTTPRouteProblem(message: "a path begins with \"/\", not \"\(pattern)\"")
        }
        guard !pattern.contains(where: { $0 == "?" || $0 == "#" || $0.isWhitespace }) else {
            throw HTTPRouteProblem(message: "the path \"\(pattern)\" may not contain \"?\", \"#\" or white space")
        }
        var names: [String] = []
        let segments = pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for (position, segment) in segments.enumerated() where segment.contains(where: { $0 == "{" || $0 == "}" }) {
            guard segment.first == "{", segment.last == "}", segment.count > 2 else {
                throw HTTPRouteProblem(message: "a parameter is a whole segment, as in /users/{id}, not \"\(segment)\"")
            }
            var name = segment.dropFirst().dropLast()
            if name.hasSuffix("...") {
                name = name.dropLast(3)
                guard position == segments.count - 1 else {
                    throw HTTPRouteProblem(
                        message: "\"\(segment)\" takes the rest of the path: it must be the last segment"
                    )
                }
            }
            guard !name.isEmpty, name.utf8.allSatisfy({ isNameByte($0) }) else {
                throw HTTPRouteProblem(message: "a parameter's name has letters, digits and _ only, not \"\(segment)\"")
            }
            guard !names.contains(String(name)) else {
                throw HTTPRouteProblem(message: "the path \"\(pattern)\" has two parameters named \"\(name)\"")
            }
            names.append(String(name))
        }
        return names
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 95
    }

    /// Adds a route.
    ///
    /// - Parameters:
    ///   - method: Such as `GET`.
    ///   - pattern: The path with its parameters.
    ///   - route: What ``match(method:path:)`` gives back.
    /// - Throws: What is wrong with the pattern, or which route it collides with.
    package mutating func add(_ method: String, _ pattern: String, route: Int) throws(HTTPRouteProblem) {
        _ = try Self.names(of: pattern)
        var node = 0
        var takesRest = false
        for segment in pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            if segment.hasSuffix("...}") {
                takesRest = true
            } else if segment.first == "{" {
                if nodes[node].parameter == nil {
                    nodes.append(Node())
                    nodes[node].parameter = nodes.count - 1
                }
                node = nodes[node].parameter.unsafelyUnwrapped
            } else {
                node = child(of: node, Array(segment.utf8))
            }
        }
        let known = takesRest ? nodes[node].rest : nodes[node].routes
        if let other = known.first(where: { $0.method == method }) {
            throw HTTPRouteProblem(message: "\(method) \(pattern) is there already, as \(method) \(other.pattern)")
        }
        if takesRest {
            nodes[node].rest.append((method, route, pattern))
        } else {
            nodes[node].routes.append((method, route, pattern))
        }
    }

    private mutating func child(of node: Int, _ segment: [UInt8]) -> Int {
        if let known = nodes[node].children.first(where: { $0.segment == segment }) { return known.node }
        nodes.append(Node())
        nodes[node].children.append((segment, nodes.count - 1))
        return nodes.count - 1
    }

    /// Finds the route of a request.
    ///
    /// - Parameters:
    ///   - method: As it was sent. HEAD takes the route of GET where it has none of its own.
    ///   - path: Without the query, percent-encoded; it begins with a slash.
    package func match(method: String, path: Substring.UTF8View) -> HTTPRouteMatch {
        guard path.first == UInt8(ascii: "/") else { return .notFound }
        var captures: [Substring.UTF8View] = []
        var allowed: [String] = []
        if let route = find(0, path.dropFirst(), method, &captures, &allowed, depth: 0) {
            return .found(route, captures)
        }
        guard !allowed.isEmpty else { return .notFound }
        if allowed.contains("GET"), !allowed.contains("HEAD") { allowed.append("HEAD") }
        return .methodNotAllowed(Array(Set(allowed)).sorted())
    }

    /// No pattern is deeper; paths beyond it can only match the rest of a pattern.
    private static let maximumDepth = 64

    private func find(
        _ node: Int,
        _ rest: Substring.UTF8View,
        _ method: String,
        _ captures: inout [Substring.UTF8View],
        _ allowed: inout [String],
        depth: Int
    ) -> Int? {
        let slash = rest.firstIndex(of: UInt8(ascii: "/"))
        let segment = rest[..<(slash ?? rest.endIndex)]
        if depth < Self.maximumDepth {
            let isEncoded = segment.contains(UInt8(ascii: "%"))
            for child in nodes[node].children
            where child.segment.count == segment.count && segment.elementsEqual(child.segment)
                || isEncoded && HTTPRouteTable.decoded(segment) == child.segment
            {
                if let found = descend(child.node, rest, slash, method, &captures, &allowed, depth: depth) {
                    return found
                }
            }
            if let parameter = nodes[node].parameter, !segment.isEmpty {
                captures.append(segment)
                if let found = descend(parameter, rest, slash, method, &captures, &allowed, depth: depth) {
                    return found
                }
                captures.removeLast()
            }
        }
        if !nodes[node].rest.isEmpty {
            if let route = pick(nodes[node].rest, method) {
                captures.append(rest)
                return route
            }
            allowed += nodes[node].rest.map(\.method)
        }
        return nil
    }

    private func descend(
        _ node: Int,
        _ rest: Substring.UTF8View,
        _ slash: Substring.UTF8View.Index?,
        _ method: String,
        _ captures: inout [Substring.UTF8View],
        _ allowed: inout [String],
        depth: Int
    ) -> Int? {
        if let slash {
            return find(node, rest[rest.index(after: slash)...], method, &captures, &allowed, depth: depth + 1)
        }
        if let route = pick(nodes[node].routes, method) { return route }
        allowed += nodes[node].routes.map(\.method)
        return nil
    }

    private func pick(_ routes: [(method: String, route: Int, pattern: String)], _ method: String) -> Int? {
        for entry in routes where entry.method == method || entry.method == "*" { return entry.route }
        if method == "HEAD" { return pick(routes, "GET") }
        return nil
    }

    /// A segment with its escapes undone; as it is where one of them is none.
    package static func decoded(_ segment: Substring.UTF8View) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(segment.count)
        var rest = segment[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let high = hex(digits.first), let low = hex(digits.last) else {
                return Array(segment)
            }
            bytes.append(high << 4 | low)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    private static func hex(_ byte: UInt8?) -> UInt8? {
        switch byte {
        case .some(let digit) where (48...57).contains(digit): digit - 48
        case .some(let digit) where (65...70).contains(digit): digit - 55
        case .some(let digit) where (97...102).contains(digit): digit - 87
        default: nil
        }
    }
}
