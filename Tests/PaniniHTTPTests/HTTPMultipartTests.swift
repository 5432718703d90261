// Forms with uploads.

import Testing

@testable import PaniniHTTP

@Suite("Multipart forms")
struct HTTPMultipartTests {
    private func read(_ text: String, boundary: String = "b") throws -> [String] {
        try Array(text.utf8).withUnsafeBytes { body in
            try HTTPMultipart.parts(of: body, boundary: boundary).map { part in
                let bytes = String(decoding: body[part.range], as: UTF8.self)
                return "\(part.name)|\(part.fileName ?? "-")|\(part.contentType ?? "-")|\(bytes)"
            }
        }
    }

    private static let field = "Content-Disposition: form-data; name=\"a\"\r\n"

    @Test("parts are read with their names, files and bytes")
    func parts() throws {
        let text = """
            preamble\r
            --b \r
            Content-Disposition: form-data; name="a"\r
            \r
            one\r
            --b\r
            content-disposition: form-data; filename="x; \\"y\\".txt"; name=f\r
            Content-Type: text/plain\r
            \r
            line\r
            --bx is no boundary: it goes on\r
            \r
            --b\r
            Content-Disposition: form-data; name=""\r
            \r
            \r
            --b--\r
            epilogue
            """
        // What follows the boundary's letters makes it another text: such a line is refused, as no sender may send it.
        #expect(throws: HTTPMultipartError.self) { try read(text) }
        let clean = text.replacing("--bx is no boundary: it goes on", with: "-- b is none")
        #expect(try read(clean) == ["a|-|-|one", "f|x; \"y\".txt|text/plain|line\r\n-- b is none\r\n", "|-|-|"])
    }

    @Test(
        "what is no form is refused",
        arguments: [
            "", "x", "--b", "--b\r\n", "--b\r\n\(field)", "--b\r\n\(field)\r\n", "--b\r\n\(field)\r\none",
            "--b\r\n\r\none\r\n--b--",
            "--bx\r\n\(field)\r\n\r\n--b--", "--b\n\(field)\r\n\r\n--b--",
        ]
    )
    func refused(text: String) {
        #expect(throws: HTTPMultipartError.self) { try read(text) }
    }

    @Test("limits hold, and hostile bodies cost linear time")
    func limits() throws {
        let part = "--b\r\n\(Self.field)\r\nx\r\n"
        #expect(try read(String(repeating: part, count: 1000) + "--b--").count == 1000)
        #expect(throws: HTTPMultipartError.self) { try read(String(repeating: part, count: 1001) + "--b--") }
        let long = "--b\r\nA: \(String(repeating: "x", count: 9000))\r\n\(Self.field)\r\nx\r\n--b--"
        #expect(throws: HTTPMultipartError.self) { try read(long) }
        let hostile = "--b\r\n\(Self.field)\r\n" + String(repeating: "\r\n--", count: 500_000) + "\r\n--b--"
        let begun = ContinuousClock.now
        #expect(try read(hostile).count == 1)
        let taken = ContinuousClock.now - begun
        #expect(taken < .seconds(10))
    }

    @Test("headers of parts are bounded in number, size and sum, and cost little")
    func headers() throws {
        let fields = String(repeating: "X: y\r\n", count: 15)
        #expect(try read("--b\r\n\(fields)\(Self.field)\r\nx\r\n--b--").count == 1)
        #expect(throws: HTTPMultipartError.self) {
            try read("--b\r\n\(fields)X: y\r\n\(Self.field)\r\nx\r\n--b--")
        }
        let long = "--b\r\nX: \(String(repeating: "x", count: 8000))\r\n\(Self.field)\r\nx\r\n"
        #expect(try read(String(repeating: long, count: 32) + "--b--").count == 32)
        #expect(throws: HTTPMultipartError.self) { try read(String(repeating: long, count: 33) + "--b--") }
        // As much as there may be of what is dearest.
        for filling in [";", "a:\r\n", ";a=\"", "\r\n", "\\\""] {
            let headers = String(repeating: filling, count: 7900 / filling.utf8.count)
            let part = "--b\r\nContent-Disposition: form-data\(headers)\r\n\r\nx\r\n"
            let begun = ContinuousClock.now
            _ = try? read(String(repeating: part, count: 120) + "--b--")
            #expect(ContinuousClock.now - begun < .seconds(3))
        }
    }

    @Test("who wants no more parts is asked at each of them, and in long ones")
    func ended() throws {
        let text = String(repeating: "--b\r\n\(Self.field)\r\nx\r\n", count: 20) + "--b--"
        for left in 0..<20 {
            var looks = 0
            #expect(throws: HTTPMultipartError.self) {
                try Array(text.utf8).withUnsafeBytes { body in
                    try HTTPMultipart.parts(of: body, boundary: "b") {
                        looks += 1
                        return looks > left
                    }
                }
            }
            #expect(looks == left + 1)
        }
        let long = Array("--b\r\n\(Self.field)\r\n".utf8) + [UInt8](repeating: 0x0D, count: 5 << 20)
        var looks = 0
        #expect(throws: HTTPMultipartError.self) {
            try long.withUnsafeBytes { body in
                try HTTPMultipart.parts(of: body, boundary: "b") {
                    looks += 1
                    return false
                }
            }
        }
        #expect((5...7).contains(looks))
    }

    @Test("a boundary is found wherever it lies", arguments: [0, 1, 3, 5, 6, 7])
    func windows(shift: Int) throws {
        let size = (1 << 20) - 60 - shift
        let text = "--b\r\n\(Self.field)\r\n\(String(repeating: "x", count: size))\r\n--b--"
        #expect(try read(text).count == 1)
    }

    @Test(
        "names as they are sent, whether quotes are escaped or not",
        arguments: [
            (#"filename="C:\dir\""#, #"C:\dir\"#), (#"filename="\""#, #"\"#),
            (#"filename="C:\dir\x.txt""#, #"C:\dir\x.txt"#),
            (#"filename="C:\dir\"; x="y""#, #"C:\dir\"#), (#"filename="C:\dir\" ; x=y"#, #"C:\dir\"#),
            (#"filename="a\"b.txt""#, #"a"b.txt"#), (#"filename="a\"; b.txt""#, #"a"; b.txt"#),
            (#"filename="\"""#, #"""#), (#"filename="a\\""#, #"a\\"#), (#"filename="a%22b""#, "a%22b"),
            (#"filename="a;b""#, "a;b"), (#"filename="""#, ""), (#"filename=plain.txt; x="y""#, "plain.txt"),
            (#"filename="x"; filename="y""#, "x"), (#"FileName = "x""#, nil), (#"FILENAME="x""#, "x"),
            ("filename=\"a\u{301}\u{1F468}\u{200D}\u{1F469}\"", "a\u{301}\u{1F468}\u{200D}\u{1F469}"),
            ("filename=\"\u{301}\"", "\u{301}"), (#"filename="never ends"#, "never ends"),
        ] as [(String, String?)]
    )
    func names(parameter: String, fileName: String?) throws {
        let text = "--b\r\nContent-Disposition: form-data; name=\"a\\\"; \(parameter)\r\n\r\ndata\r\n--b--"
        #expect(try read(text) == ["a\\|\(fileName ?? "-")|-|data"])
        // The other way round, but where the one that comes first does not end.
        guard !parameter.hasSuffix("ends") else { return }
        let turned = "--b\r\nContent-Disposition: form-data; \(parameter); name=\"a\\\"\r\n\r\ndata\r\n--b--"
        #expect(try read(turned) == ["a\\|\(fileName ?? "-")|-|data"])
    }

    @Test("names that are no text are refused")
    func noText() {
        for field in ["name=\"\u{1}", "name=\"a\"; filename=\"\u{1}"] {
            let text = Array("--b\r\nContent-Disposition: form-data; \(field)\"\r\n\r\nx\r\n--b--".utf8)
            let bytes = text.map { $0 == 1 ? 0xFF : $0 }
            #expect(throws: HTTPMultipartError.self) {
                try bytes.withUnsafeBytes { try HTTPMultipart.parts(of: $0, boundary: "b") }
            }
        }
    }

    @Test(
        "boundaries",
        arguments: [
            ("multipart/form-data; boundary=abc", "abc"), ("Multipart/Form-Data; charset=x; Boundary=\"a b\"", "a b"),
            ("multipart/form-data", nil), ("multipart/form-data; boundary=", nil), ("text/plain; boundary=a", nil),
            ("multipart/form-data; boundary=" + String(repeating: "x", count: 71), nil),
        ] as [(String, String?)]
    )
    func boundaries(text: String, boundary: String?) {
        #expect(HTTPMultipart.boundary(text) == boundary)
    }

    @Test("no bytes make it fail otherwise than by an error", arguments: 0..<40 as Range<UInt64>)
    func random(seed: UInt64) throws {
        var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
        func next(_ bound: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(bound))
        }
        let pieces = [
            "--b", "--", "\r\n", "\r", "\n", Self.field, "x", ":", "\"", ";", "name=", "\0",
            "Content-Disposition: form-data",
        ]
        for _ in 0..<200 {
            let text = (0..<next(30)).map { _ in pieces[next(pieces.count)] }.joined()
            _ = try? read(text)
        }
    }
}
