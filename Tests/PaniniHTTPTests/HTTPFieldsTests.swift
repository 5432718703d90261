// Header fields: their order, and names that have no case.

import Testing

@testable import PaniniHTTP

@Suite("Header fields")
struct HTTPFieldsTests {
    private let fields: HTTPFields = [("set-cookie", "a"), ("X", "1"), ("Set-Cookie", "b")]

    @Test("names have no case, values have an order")
    func names() {
        #expect(fields["SET-COOKIE"] == "a" && fields.values("set-cookie") == ["a", "b"] && fields["y"] == nil)
        #expect(fields.contains("x") && !fields.contains("x ") && !fields.contains(""))
        #expect(fields.count == 3 && fields.map(\.name) == ["set-cookie", "X", "Set-Cookie"])
        // The Kelvin sign is no K, though it looks the same and has its lower case.
        let kelvin: HTTPFields = [("\u{212A}", "")]
        #expect(!kelvin.contains("k") && kelvin.contains("\u{212A}"))
    }

    @Test("setting, adding and removing")
    func changes() {
        var other = fields
        other["Set-cookie"] = "c"
        #expect(other == [("X", "1"), ("Set-cookie", "c")] && other != fields)
        other["x"] = nil
        other.add("z", "2")
        other.add(fields)
        #expect(other.count == 5)
        other.removeAll { $0 == "X" || $0 == "z" }
        #expect(other == [("Set-cookie", "c"), ("set-cookie", "a"), ("Set-Cookie", "b")])
    }

    @Test("what is given goes before what is usual")
    func completed() {
        let usual: HTTPFields = [("x", "2"), ("content-type", "a/b"), ("content-type", "c/d")]
        #expect(fields.completed(by: usual) == fields.adding([("content-type", "a/b"), ("content-type", "c/d")]))
        #expect(HTTPFields().completed(by: usual) == usual)
        #expect(fields.adding([]) == fields && HTTPFields().adding(usual) == usual)
    }

    @Test("how many bytes they are in a head")
    func headBytes() {
        var bytes: [UInt8] = Array(repeating: 0, count: 200)
        let count = bytes.withUnsafeMutableBytes { room in
            var writer = HTTPHeadWriter(room.baseAddress.unsafelyUnwrapped)
            writer.write(fields)
            return writer.at - room.baseAddress.unsafelyUnwrapped
        }
        #expect(String(decoding: bytes[..<count], as: UTF8.self) == "set-cookie: a\r\nX: 1\r\nSet-Cookie: b\r\n")
        #expect(count == fields.headBytes)
    }
}
