// Which route a method and a path mean.

import Testing

@testable import PaniniHTTP

@Suite("Routes")
struct HTTPRouteTableTests {
    private static let patterns = [
        "/", "/users", "/users/", "/users/me", "/users/{id}", "/users/{id}/posts/{post}", "/users/{rest...}", "/a%20b",
    ]

    private func table() throws -> HTTPRouteTable {
        var table = HTTPRouteTable()
        for (index, pattern) in Self.patterns.enumerated() { try table.add("GET", pattern, route: index) }
        return table
    }

    @Test(
        "the nearest route is found, and what its parameters caught",
        arguments: [
            ("/", 0, []), ("/users", 1, []), ("/users/", 2, []), ("/users/me", 3, []), ("/users/m%65", 3, []),
            ("/users/7", 4, ["7"]), ("/users/a%2Fb", 4, ["a%2Fb"]), ("/users/me/posts/1", 5, ["me", "1"]),
            ("/users/7/posts", 6, ["7/posts"]), ("/users/7/posts/1/x", 6, ["7/posts/1/x"]), ("/users//x", 6, ["/x"]),
        ] as [(String, Int, [String])]
    )
    func finds(path: String, route: Int, captures: [String]) throws {
        let match = try table().match(method: "GET", path: Substring(path).utf8)
        #expect(match == .found(route, captures.map { Substring($0).utf8 }))
    }

    @Test(
        "many segments beside each other mean what few mean",
        arguments: [
            ("/users/u7", 107, []), ("/users/u%37", 107, []), ("/users/u99", 199, []), ("/users/u100", 4, ["u100"]),
            ("/users/me", 3, []), ("/users/me/posts/1", 5, ["me", "1"]), ("/users/u7/posts/1", 5, ["u7", "1"]),
        ] as [(String, Int, [String])]
    )
    func findsAmongMany(path: String, route: Int, captures: [String]) throws {
        var table = try table()
        for number in 0..<100 { try table.add("GET", "/users/u\(number)", route: 100 + number) }
        let match = table.match(method: "GET", path: Substring(path).utf8)
        #expect(match == .found(route, captures.map { Substring($0).utf8 }))
    }

    @Test("what is not there is not found", arguments: ["", "users", "/other", "/users2", "//", "/%zz"])
    func missing(path: String) throws {
        #expect(try table().match(method: "GET", path: Substring(path).utf8) == .notFound)
    }

    @Test("a known path names its methods, HEAD follows GET, * is any")
    func methods() throws {
        var table = try table()
        try table.add("DELETE", "/users/{id}", route: 20)
        try table.add("*", "/any", route: 21)
        #expect(table.match(method: "HEAD", path: Substring("/users/me").utf8) == .found(3, []))
        #expect(table.match(method: "PUT", path: Substring("/users").utf8) == .methodNotAllowed(["GET", "HEAD"]))
        // The nearer route has no DELETE: the farther one has.
        #expect(table.match(method: "DELETE", path: Substring("/users/me").utf8) == .found(20, [Substring("me").utf8]))
        #expect(table.match(method: "PURGE", path: Substring("/any").utf8) == .found(21, []))
    }

    @Test("routes that mean the same collide")
    func collisions() throws {
        var table = try table()
        for pattern in ["/users/{name}", "/users/{all...}", "/users", "/"] {
            #expect(throws: HTTPRouteError.self) { try table.add("GET", pattern, route: 30) }
        }
        try table.add("POST", "/users", route: 31)
    }

    @Test(
        "wrong patterns are refused",
        arguments: [
            "", "users", "/{", "/{}", "/{a}b", "/a{b}", "/{a...}/b", "/{a}/{a}", "/a?b", "/a b", "/{a-b}", "/{...}",
        ]
    )
    func patterns(pattern: String) {
        #expect(throws: HTTPRouteError.self) { try HTTPRouteTable.names(of: pattern) }
    }

    @Test("hostile paths cost a bounded amount of work")
    func bounded() throws {
        var table = HTTPRouteTable()
        // Every segment could be the fixed one or the parameter: going back must not try all combinations.
        for depth in 1...12 {
            try table.add("GET", String(repeating: "/a", count: depth) + "/x", route: depth)
            try table.add(
                "GET",
                String(repeating: "/{p}", count: 1) + String(repeating: "/a", count: depth),
                route: 100 + depth
            )
        }
        let long = String(repeating: "/a", count: 100_000)
        let clock = ContinuousClock()
        let taken = clock.measure { #expect(table.match(method: "GET", path: Substring(long).utf8) == .notFound) }
        #expect(taken < .seconds(5))
    }
}
