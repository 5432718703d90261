// The pure parts of the bridge and of sessions: permissions, commands, messages, turns.

import Foundation
import NIOCore
import PaniniHTTP
import Testing

@testable import Panini

@Suite("Subject permissions")
struct SubjectPermissionTests {
    @Test(
        "a pattern covers what it matches wholly",
        arguments: [
            ("prices.tea", "prices.tea", true), ("prices.tea", "prices.cup", false), ("prices.tea", "prices", false),
            ("prices.tea", "prices.tea.now", false), ("prices.tea", "prices.*", false),
            ("prices.tea", "prices.>", false),
            ("prices.tea", ">", false), ("prices.*", "prices.tea", true), ("prices.*", "prices.*", true),
            ("prices.*", "prices.>", false), ("prices.*", "prices.a.b", false), ("prices.*", "prices", false),
            ("prices.*", "*.tea", false), ("prices.>", "prices", false), ("prices.>", "prices.tea", true),
            ("prices.>", "prices.a.b.c", true), ("prices.>", "prices.*", true), ("prices.>", "prices.*.b", true),
            ("prices.>", "prices.>", true), ("prices.>", "prices.a.>", true), ("prices.>", ">", false),
            ("prices.>", "*.a", false), ("prices.>", "pricesx.a", false), ("*", "a", true), ("*", "*", true),
            ("*", ">", false),
            ("*", "a.b", false), ("*.b", "a.b", true), ("*.b", "*.b", true), ("*.b", "*.*", false),
            ("*.b", "a.>", false),
            ("a.*.c", "a.b.c", true), ("a.*.c", "a.*.c", true), ("a.*.c", "a.>", false), ("a.*.>", "a.b.c", true),
            ("a.*.>", "a.>", false), ("a.*.>", "a.*.c", true), ("a.*.>", "a.*", false), (">", ">", true),
            (">", "a", true),
            (">", "*.b.>", true), ("a.b", "a.b.>", false), ("a.>", "a.b>", true), ("a.b>", "a.b>", true),
            ("a.b>", "a.bc", false),
            ("A.b", "a.b", false), ("a*.b", "ax.b", false),
        ]
    )
    func covers(pattern: String, subject: String, expected: Bool) {
        #expect(SubjectPermissions.covers(pattern, subject) == expected)
    }

    @Test("one pattern of several suffices, together they do not")
    func several() {
        let permissions = SubjectPermissions(patterns: ["a.*", "b.>"])
        #expect(permissions.permits("a.x") && permissions.permits("b.x.y"))
        #expect(
            !permissions.permits("c") && !permissions.permits(">") && !SubjectPermissions(patterns: []).permits("a")
        )
        #expect(!SubjectPermissions(patterns: ["a.b", "a.c"]).permits("a.*"))
    }
}

@Suite("Bridge messages")
struct BridgeMessageTests {
    private func command(_ text: String, _ kind: WebSocketKind = .text) -> Result<BridgeCommand, BridgeCommand.Problem>
    {
        Array(text.utf8).withUnsafeBytes { bytes in
            do throws(BridgeCommand.Problem) {
                return .success(try BridgeCommand(kind, bytes))
            } catch {
                return .failure(error)
            }
        }
    }

    @Test("commands")
    func commands() {
        #expect(command(#"{"subjects": ["a", "b.>", "a"]}"#) == .success(.subscribe(["a", "b.>"])))
        #expect(command(#"{"action": "subscribe", "subjects": ["a"]}"#) == .success(.subscribe(["a"])))
        #expect(command(#"{"action": "unsubscribe", "subjects": ["a"]}"#) == .success(.unsubscribe(["a"])))
    }

    @Test(
        "what is none",
        arguments: [
            "", "{", "[]", "3", "\"a\"", "{}", #"{"subjects": []}"#, #"{"subjects": "a"}"#, #"{"subjects": [1]}"#,
            #"{"subjects": [null]}"#,
            #"{"action": "publish", "subjects": ["a"]}"#, #"{"action": 1, "subjects": ["a"]}"#,
            #"{"action": null, "subjects": ["a"]}"#,
            #"{"subjects": ["a"]} x"#,
        ]
    )
    func problems(text: String) {
        guard case .failure(let problem) = command(text) else {
            Issue.record("\(text) is a command")
            return
        }
        #expect(!problem.message.isEmpty)
    }

    @Test("binary frames are no commands")
    func binary() {
        #expect(command(#"{"subjects": ["a"]}"#, .binary) == .failure(.init(message: "the message is not valid JSON")))
    }

    private func written(_ payload: [UInt8], subject: String = "a.b") -> String {
        var buffer = ByteBuffer()
        Array(subject.utf8).withUnsafeBytes { subject in
            payload.withUnsafeBytes { BridgeMessage.write(subject: subject, $0, into: &buffer) }
        }
        return String(buffer: buffer)
    }

    @Test("payloads: JSON as it is, texts, bytes, nothing")
    func payloads() {
        #expect(
            written(Array(#"{"price": 3.50, "x": [1, null]}"#.utf8))
                == #"{"subject":"a.b","data":{"price": 3.50, "x": [1, null]}}"#
        )
        #expect(written(Array("12".utf8)) == #"{"subject":"a.b","data":12}"#)
        #expect(written(Array("hello".utf8)) == #"{"subject":"a.b","data":"hello"}"#)
        #expect(written(Array("a\"\\\n\r\t\u{1}ä😀".utf8)) == #"{"subject":"a.b","data":"a\"\\\n\r\t\u0001ä😀"}"#)
        #expect(written([]) == #"{"subject":"a.b","data":null}"#)
        #expect(written([0xFF]) == #"{"subject":"a.b","data":"/w==","encoding":"base64"}"#)
        #expect(written([0xFF, 0, 1]) == #"{"subject":"a.b","data":"/wAB","encoding":"base64"}"#)
        #expect(written([0xFF, 0]) == #"{"subject":"a.b","data":"/wA=","encoding":"base64"}"#)
        #expect(written([0x31], subject: "a\"b\\") == #"{"subject":"a\"b\\","data":1}"#)
    }

    @Test("answers")
    func answers() {
        #expect(
            String(decoding: BridgeMessage.answer(false, "no \"x\""), as: UTF8.self)
                == #"{"success":false,"message":"no \"x\""}"#
        )
    }

    @Test(
        "JSON",
        arguments: [
            "null", "true", "false", "0", "-0", "1.5e+10", "-1E-2", "\"\"", "\"\\u00e9\\n\"", "[]", "[ ]", "{}", "{ }",
            "[1,[2],{\"a\":{}}]",
            " \n\t{\"a\" : [ 1 , 2 ] }\r\n", "\"ä\"",
        ]
    )
    func isJSON(text: String) {
        #expect(Array(text.utf8).withUnsafeBytes(JSONCheck.isValue))
        #expect(
            (try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)) != nil,
            "the test itself"
        )
    }

    @Test(
        "not JSON",
        arguments: [
            "", " ", "nul", "nulll", "True", "01", "1.", ".5", "-", "+1", "1e", "1e+", "NaN", "\"", "\"a", "\"\\x\"",
            "\"\\u12g4\"", "\"\\u123\"", "\"\n\"",
            "[1,]", "[,1]", "[1 2]", "[", "]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "{\"a\" 1}", "1 2",
            "{} {}", "\u{FEFF}1", "'a'",
        ]
    )
    func isNoJSON(text: String) {
        #expect(!Array(text.utf8).withUnsafeBytes(JSONCheck.isValue))
    }

    @Test("deep JSON has an end")
    func deep() {
        func nested(_ depth: Int) -> [UInt8] {
            Array(repeating: 0x5B, count: depth) + Array(repeating: 0x5D, count: depth)
        }
        #expect(nested(128).withUnsafeBytes(JSONCheck.isValue))
        #expect(
            !nested(129).withUnsafeBytes(JSONCheck.isValue) && !nested(1_000_000).withUnsafeBytes(JSONCheck.isValue)
        )
    }
}

@Suite("WebSocket turns")
struct WebSocketTurnTests {
    @Test("a table's functions: open, messages, close, one after another")
    func table() {
        var turns = WebSocketTurns(first: .open)
        #expect(!turns.takesMessages)
        #expect(turns.begin(hasMessage: true, hasEnded: true) == .open)
        #expect(turns.begin(hasMessage: true, hasEnded: true) == nil, "one at a time")
        turns.end()
        #expect(turns.takesMessages)
        #expect(turns.begin(hasMessage: false, hasEnded: false) == nil)
        #expect(turns.begin(hasMessage: true, hasEnded: true) == .message)
        #expect(!turns.takesMessages)
        turns.end()
        #expect(turns.begin(hasMessage: false, hasEnded: true) == .close)
        #expect(!turns.isFinished)
        turns.end()
        #expect(turns.isFinished && turns.begin(hasMessage: true, hasEnded: true) == nil && !turns.takesMessages)
    }

    @Test("who leaves does nothing more")
    func leaves() {
        var turns = WebSocketTurns(first: .open)
        turns.leave()
        #expect(turns.begin(hasMessage: true, hasEnded: true) == nil && turns.isFinished && !turns.takesMessages)
    }

    @Test("a function is one turn")
    func function() {
        var turns = WebSocketTurns(first: .handler)
        #expect(turns.begin(hasMessage: true, hasEnded: false) == .handler)
        #expect(turns.begin(hasMessage: true, hasEnded: true) == nil)
        turns.end()
        #expect(turns.isFinished)
    }
}
