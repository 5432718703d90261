// Calls whose texts and tables are much longer than anybody means them: refused, or done within the run's budget.

import Foundation
import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Long arguments", .serialized, .timeLimit(.minutes(5)))
struct LongArgumentTests {
    /// What a call says that is refused while the file runs, without its place; an error of the run when it takes too long.
    private func refusal(
        _ call: String,
        before: String = "",
        cpu: Double = 1,
        memory: Int = 256 << 20
    ) throws -> String? {
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let script = try Script(path: "test.lua", overrides: PaniniOverrides(), logger: quiet)
        defer { withExtendedLifetime(script) {} }
        let vm = script.vm
        vm.cpuLimit = 30
        try vm.run("app = panini.app{ service_name = 'test', web_server = true } f = function() end \(before)")
        // The app has set its own.
        vm.memoryLimit = memory
        vm.cpuLimit = cpu
        let values = try vm.run("local ok, text = pcall(function() \(call) end) return ok, text")
        guard values.first == .boolean(false), values.count > 1, case .string(let text) = values[1] else { return nil }
        return text.range(of: ": ").map { String(text[$0.upperBound...]) }
    }

    /// Millions of combining marks, which are one character: whoever looks at characters takes seconds for them.
    private static let marks = "marks = ('\\u{301}'):rep(10000000)"

    @Test(
        "a text of combining marks is refused by its bytes",
        arguments: [
            ("app.http.get(marks, f)", "app.http.get: the path is longer than 65536 bytes"),
            ("app.http.route(marks, '/a', f)", "app.http.route: the method is longer than 64 bytes"),
            ("app.http.get('/' .. marks, f)", "app.http.get: the path is longer than 65536 bytes"),
            ("app.http.static('/' .. marks, '.')", "app.http.static: the path is longer than 65536 bytes"),
            (
                "panini.response{ text = 'x', headers = { [marks] = 'x' } }",
                "panini.response: the name of a header is longer than 8192 bytes"
            ),
            (
                "panini.middleware.cors{ origins = { 'https://' .. marks } }",
                "panini.middleware.cors: origins must have at most 1048576 bytes in all"
            ),
            (
                "panini.middleware.cors{ origins = { '*' }, methods = { marks } }",
                "panini.middleware.cors: methods must have at most 1048576 bytes in all"
            ),
        ]
    )
    func marks(call: String, text: String) throws {
        #expect(try refusal(call, before: Self.marks, cpu: 0.2) == text)
    }

    @Test(
        "a name that nothing has is refused at once, however long it is",
        arguments: [
            "app.http.view('/a', { ['get' .. marks] = f })", "panini.response{ ['text' .. marks] = 1 }",
            "app.http.websocket('/a', { ['open' .. marks] = f })", "app.listen('a', { ['queue' .. marks] = 1 }, f)",
            "app.publish('a', 1, { ['headers' .. marks] = 1 })", "app.listen('a', { data_type = 'json' .. marks }, f)",
        ]
    )
    func names(call: String) throws {
        let text = try #require(try refusal(call, before: Self.marks, cpu: 0.2))
        #expect(text.utf8.count < 20_000)
    }

    @Test("the hint to app.http.fetch is still there")
    func hint() throws {
        let text = "app.http.get makes a route; to get something from elsewhere there is app.http.fetch"
        #expect(try refusal("app.http.get('http://127.0.0.1/')") == text)
        #expect(try refusal("app.http.get('x://' .. ('y'):rep(10000000), {})") == text)
        #expect(try refusal("app.http.get('/a', f)") == nil)
        #expect(try refusal("app.http.get('/a', f)", before: "app.http.get('/b/{x}', f)") == nil)
    }

    @Test("the entries of a table count against the limit of memory before they are copied")
    func entries() throws {
        // One table of 60,000 entries, where less is left than they take once more.
        let text = try refusal(
            "app.listen('a', { metadata = t }, f)",
            before: "t = {} for i = 1, 60000 do t[('k'):rep(40) .. i] = true end",
            memory: 9 << 20
        )
        #expect(text?.hasSuffix("not enough memory") == true, "\(text ?? "nil")")
    }

    @Test("names of options come in the order of their bytes")
    func order() throws {
        // Of several mistakes the first is told. To Swift both names are the same.
        let text = try refusal("app.listen('a', { metadata = { ['e\\u{301}'] = 1, ['\\u{e9}'] = 2, ['f'] = 'x' } }, f)")
        #expect(text == "app.listen: metadata must hold strings only; \"e\u{301}\" is a number", "\(text ?? "nil")")
    }
}
