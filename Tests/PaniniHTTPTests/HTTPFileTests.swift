// Files below a folder, and what of them is sent.

import Foundation
import Glibc
import Testing

@testable import PaniniHTTP

@Suite("Files")
struct HTTPFileTests {
    /// A folder with files, links, a pipe and a secret beside it.
    private struct Place {
        let base: URL
        let folder: HTTPFolder

        init() throws {
            base = FileManager.default.temporaryDirectory.appendingPathComponent("panini-files-\(UUID().uuidString)")
            let root = base.appendingPathComponent("root")
            let manager = FileManager.default
            try manager.createDirectory(at: root.appendingPathComponent("sub"), withIntermediateDirectories: true)
            try manager.createDirectory(at: root.appendingPathComponent("empty"), withIntermediateDirectories: true)
            try manager.createDirectory(
                at: root.appendingPathComponent(".well-known"),
                withIntermediateDirectories: true
            )
            for (name, text) in [
                ("root/a.txt", "text"), ("root/index.html", "<p>"), ("root/sub/index.html", "sub"),
                ("root/sub/b.css", "b"),
                ("root/.hidden", "x"), ("root/.well-known/c", "c"), ("secret", "secret"), ("root/späce x", "s"),
                ("rootless", "r"),
            ] {
                try text.write(to: base.appendingPathComponent(name), atomically: false, encoding: .utf8)
            }
            try manager.createSymbolicLink(atPath: root.path + "/out", withDestinationPath: "../secret")
            try manager.createSymbolicLink(atPath: root.path + "/outdir", withDestinationPath: base.path)
            try manager.createSymbolicLink(atPath: root.path + "/near", withDestinationPath: base.path + "/rootless")
            try manager.createSymbolicLink(atPath: root.path + "/in", withDestinationPath: "a.txt")
            #expect(mkfifo(root.path + "/pipe", 0o600) == 0)
            folder = try #require(HTTPFolder(root.path))
        }

        func kind(_ path: String) -> String {
            switch folder.open(Array(path.utf8)) {
            case .folder: return "folder"
            case .notFound: return "nothing"
            case .full: return "full"
            case .found(let file):
                defer { file.close() }
                return "\(file.size) \(file.mediaType)"
            }
        }
    }

    @Test("what is inside is found, and nothing else")
    func lookups() throws {
        let place = try Place()
        defer { try? FileManager.default.removeItem(at: place.base) }
        for (path, expected) in [
            ("a.txt", "4 text/plain; charset=utf-8"), ("", "3 text/html; charset=utf-8"),
            ("sub/", "3 text/html; charset=utf-8"),
            ("sub/b.css", "1 text/css; charset=utf-8"), ("sub", "folder"), ("in", "4 application/octet-stream"),
            (".well-known/c", "1 application/octet-stream"), ("späce x", "1 application/octet-stream"),
            ("empty/", "nothing"), ("empty", "folder"), ("none", "nothing"), ("a.txt/", "nothing"),
            ("a.txt/b", "nothing"),
            (".hidden", "nothing"), ("..", "nothing"), ("../secret", "nothing"), ("sub/../a.txt", "nothing"),
            (".", "nothing"),
            ("sub//b.css", "nothing"), ("/a.txt", "nothing"), ("/etc/passwd", "nothing"), ("a.txt\0", "nothing"),
            ("out", "nothing"), ("outdir/secret", "nothing"), ("near", "nothing"), ("pipe", "nothing"),
        ] {
            #expect(place.kind(path) == expected, "\(path)")
        }
        #expect(place.kind("sp\u{FFFD}ce") == "nothing")
        #expect(HTTPFolder(place.base.path + "/secret") == nil)
        #expect(HTTPFolder(place.base.path + "/none") == nil)
    }

    @Test(
        "ranges and conditions",
        arguments: [
            ([:], 200, 0..<10, nil),
            (["range": "bytes=0-3"], 206, 0..<4, "bytes 0-3/10"), (["range": "bytes=4-"], 206, 4..<10, "bytes 4-9/10"),
            (["range": "bytes=-3"], 206, 7..<10, "bytes 7-9/10"), (["range": "bytes=-30"], 206, 0..<10, "bytes 0-9/10"),
            (["range": "bytes=9-99999999999999999999"], 206, 9..<10, "bytes 9-9/10"),
            (["range": "bytes=10-"], 416, 0..<0, "bytes */10"), (["range": "bytes=-0"], 416, 0..<0, "bytes */10"),
            (["range": "bytes=99999999999999999999-"], 416, 0..<0, "bytes */10"),
            (["range": "bytes=5-2"], 200, 0..<10, nil), (["range": "bytes=0-1,3-4"], 200, 0..<10, nil),
            (["range": "lines=0-1"], 200, 0..<10, nil), (["range": "bytes=a-b"], 200, 0..<10, nil),
            (["range": "bytes=-"], 200, 0..<10, nil), (["range": "bytes=+1-2"], 200, 0..<10, nil),
            (["if-none-match": "\"t\""], 304, 0..<0, nil), (["if-none-match": "W/\"t\""], 304, 0..<0, nil),
            (["if-none-match": "\"a\", \"t\""], 304, 0..<0, nil), (["if-none-match": "*"], 304, 0..<0, nil),
            (["if-none-match": "\"a\""], 200, 0..<10, nil),
            (["if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"], 304, 0..<0, nil),
            (["if-modified-since": "Sun, 06 Nov 1994 08:49:36 GMT"], 200, 0..<10, nil),
            (["if-modified-since": "yesterday"], 200, 0..<10, nil),
            (["if-none-match": "\"a\"", "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT"], 200, 0..<10, nil),
            (["range": "bytes=0-3", "if-range": "\"t\""], 206, 0..<4, "bytes 0-3/10"),
            (["range": "bytes=0-3", "if-range": "\"a\""], 200, 0..<10, nil),
            (["range": "bytes=0-3", "if-range": "Sun, 06 Nov 1994 08:49:37 GMT"], 206, 0..<4, "bytes 0-3/10"),
            (["range": "bytes=0-3", "if-range": "Sun, 06 Nov 1994 08:49:38 GMT"], 200, 0..<10, nil),
        ] as [([String: String], Int, Range<Int>, String?)]
    )
    func plans(headers: [String: String], status: Int, range: Range<Int>, contentRange: String?) {
        let validators = HTTPValidators(entityTag: "\"t\"", modified: 784_111_777)
        let plan = HTTPFilePlan(size: 10, validators: validators) { headers[$0] }
        #expect(plan.status == status && plan.range == range && plan.contentRange == contentRange)
        // HEAD tells of the whole; what another method has done is done, and what is no 200 is not the file.
        let head = HTTPFilePlan(method: "HEAD", size: 10, validators: validators) { headers[$0] }
        #expect(head.status == (status == 206 || status == 416 ? 200 : status) && head.contentRange == nil)
        for plan in [
            HTTPFilePlan(method: "POST", size: 10, validators: validators) { headers[$0] },
            HTTPFilePlan(method: "GET", status: 404, size: 10, validators: validators) { headers[$0] },
        ] {
            #expect(plan.range == 0..<10 && plan.contentRange == nil && (plan.status == 200 || plan.status == 404))
        }
    }

    @Test(
        "conditions, in the order in which they count",
        arguments: [
            ([:], .goOn), (["if-match": "\"t\""], .goOn), (["if-match": "*"], .goOn), (["if-match": "\"a\""], .failed),
            (["if-match": "W/\"t\""], .failed), (["if-match": "\"a,b\" , ,\"t\""], .goOn), (["if-match": "t"], .failed),
            (["if-match": "\"t"], .failed), (["if-match": "*, \"t\""], .failed),
            (["if-unmodified-since": "Sun, 06 Nov 1994 08:49:36 GMT"], .failed),
            (["if-unmodified-since": "Sun, 06 Nov 1994 08:49:37 GMT"], .goOn), (["if-unmodified-since": "?"], .goOn),
            (["if-match": "\"t\"", "if-unmodified-since": "Sun, 06 Nov 1994 08:49:36 GMT"], .goOn),
            (["if-match": "\"t\"", "if-none-match": "W/\"t\""], .unchanged),
            (["if-match": "\"a\"", "if-none-match": "*"], .failed),
            (
                [
                    "if-unmodified-since": "Sun, 06 Nov 1994 08:49:36 GMT",
                    "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT",
                ], .failed
            ),
        ] as [([String: String], HTTPPreconditions.Outcome)]
    )
    func conditions(headers: [String: String], outcome: HTTPPreconditions.Outcome) {
        let validators = HTTPValidators(entityTag: "\"t\"", modified: 784_111_777)
        #expect(HTTPPreconditions(validators) { headers[$0] }.outcome == outcome)
        // A weak validator is equal to no other where it has to be the same to the byte.
        let weak = HTTPValidators(entityTag: "W/\"t\"", modified: 784_111_777)
        if headers["if-match"]?.contains("\"t\"") == true {
            #expect(HTTPPreconditions(weak) { headers[$0] }.outcome == .failed)
        }
    }

    @Test(
        "dates in all forms that there are",
        arguments: [
            "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        ]
    )
    func forms(text: String) { #expect(HTTPDate.parse(text) == 784_111_777) }

    @Test(
        "what is no date",
        arguments: [
            "", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
        ]
    )
    func noDates(text: String) { #expect(HTTPDate.parse(text) == nil) }

    @Test("dates are read as they are written", arguments: [0, 784_111_777, 951_782_400, 1_795_536_000, 4_107_542_400])
    func dates(seconds: Int) {
        #expect(HTTPDate.parse(HTTPDate.text(seconds)) == seconds)
    }
}
