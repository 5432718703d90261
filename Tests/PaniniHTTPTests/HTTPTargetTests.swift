// Targets and hosts of requests.

import NIOHTTP1
import Testing

@testable import PaniniHTTP

@Suite("Targets and hosts")
struct HTTPTargetTests {
    private func target(_ text: String, isOptions: Bool = false) throws(HTTPRefusalError) -> String {
        let target = try Array(text.utf8).withUnsafeBufferPointer { bytes throws(HTTPRefusalError) in
            try HTTPTarget(bytes, isOptions: isOptions)
        }
        let authority = target.authority.map { String(decoding: $0, as: UTF8.self) } ?? "-"
        return "\(authority) \(String(decoding: target.path, as: UTF8.self))"
    }

    @Test(
        "URLs become a path and a host",
        arguments: [
            ("http://a/b", "a /b"), ("https://a:80/b?c", "a:80 /b?c"), ("HttP://a", "a /"), ("http://a?b/c", "a /?b/c"),
            ("http://[::1]/", "[::1] /"), ("http://a//b", "a //b"), ("http://a/b://c@d", "a /b://c@d"),
        ]
    )
    func urls(text: String, meaning: String) throws {
        #expect(try target(text) == meaning)
    }

    @Test("OPTIONS asks for the server as a whole")
    func server() throws {
        #expect(try target("*", isOptions: true) == "- *")
        #expect(try target("http://a", isOptions: true) == "a *")
        #expect(try target("http://a/", isOptions: true) == "a /")
        #expect(throws: HTTPRefusalError.self) { try target("*") }
    }

    @Test(
        "What leads nowhere is refused",
        arguments: [
            "", "a", "a:80", "http:", "http:/a", "http://", "http:///a", "http://u@a/", "http://a b/", "ftp://a/",
            "://a", "http://a:b/",
            "http://a/#b", "http://a#b", "httpx://a/", "**",
        ]
    )
    func nowhere(text: String) {
        #expect(throws: HTTPRefusalError.self) { try target(text) }
    }

    @Test("The target's host takes the place of the field")
    func applied() throws {
        func head(_ fields: String, _ target: HTTPTarget) -> String {
            let head = HTTPHead(
                method: .GET,
                version: .http1_1,
                bytes: Array("http://x\(fields)".utf8),
                targetLength: 8
            )
            let changed = head.applying(target)
            #expect(changed.targetLength == target.path.count)
            return String(decoding: changed.bytes, as: UTF8.self)
        }
        let target = try Array("http://y:1/a?b".utf8).withUnsafeBufferPointer { try HTTPTarget($0, isOptions: false) }
        #expect(head("A:b\nHOST:x\nC:\n", target) == "/a?bA:b\nHOST:y:1\nC:\n")
        #expect(head("A:b\n", target) == "/a?bA:b\nhost:y:1\n")
        #expect(head("hos:x\nhosts:x\n", target) == "/a?bhos:x\nhosts:x\nhost:y:1\n")
        #expect(head("A:b\nHOST:x\nC:\n", target).count == head("A:b\nHOST:x\nC:\n", target).utf8.count)
    }

    @Test(
        "Hosts",
        arguments: [
            "", "a", "a.b-c_d", "A1", "a:", "a:0", "a:65535", "1.2.3.4:5", "[::1]", "[::1]:5", "[1:2::3.4.5.6]:",
            "a%2fb", "a~!$&'()*+;=",
            ":80",
        ]
    )
    func hosts(text: String) { #expect(HTTPHostField.isValid(text)) }

    @Test(
        "What is no host",
        arguments: [
            " ", "a b", "a,b", "a/b", "a@b", "a?b", "a#b", "a:b", "a:1:2", "a:65536", "a:99999999999999999999999", "[",
            "[]", "[:", "[::1", "[::1]a",
            "[::1]:a", "[g::]", "[12]", "a%", "a%2", "a%g0", "\u{e4}", "a\u{7f}", "a\u{0}", "a\"", "a\\", "<a>", "{a}",
            "a|b", "a^b", "a`b",
        ]
    )
    func noHosts(text: String) { #expect(!HTTPHostField.isValid(text)) }

    @Test("Each byte is judged alike wherever it stands")
    func bytes() {
        for byte in UInt8.min...UInt8.max {
            let isValid = [[byte], [97, byte], [97, byte, 97], [126, byte]].map { bytes in
                bytes.withUnsafeBufferPointer { HTTPHostField.isValid($0) }
            }
            switch byte {
            case UInt8(ascii: ":"): #expect(isValid == [true, true, false, true])
            default: #expect(Set(isValid).count == 1, "\(byte)")
            }
        }
    }
}
