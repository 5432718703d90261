// The choice of compression, and its way there and back.

import NIOCore
import Testing

@testable import PaniniHTTP

@Suite("Compression")
struct HTTPCodingTests {
    @Test(arguments: [
        (["gzip"], HTTPDeflater.Format.gzip as HTTPDeflater.Format?), (["deflate"], .deflate),
        (["gzip, deflate, br"], .gzip),
        (["gzip;q=0.5, deflate"], .deflate), (["gzip;q=0"], nil), (["*"], .gzip), (["*;q=0"], nil),
        (["gzip;q=0, *"], .deflate), (["br"], nil), ([], nil), ([""], nil), (["x-gzip"], .gzip),
        (["identity, gzip;q=0.2"], nil), (["GZIP ; Q=0.8"], .gzip), (["br", "gzip"], .gzip), (["gzip;q=x"], nil),
    ])
    func choosesByWeight(_ values: [String], _ wanted: HTTPDeflater.Format?) {
        #expect(HTTPCoding.choose(values) == wanted)
    }

    @Test("a list of thousands of codings costs little, and does not hide the one that counts")
    func hostileLists() {
        let begun = ContinuousClock.now
        for filling in ["x,", "gzip;q=0,", ";", "gzip;", " ", "*;q=0.1;", "q=,;"] {
            let text = String(repeating: filling, count: 16000 / filling.utf8.count)
            for _ in 0..<5 {
                #expect(HTTPCoding.choose([text + ",gzip"]) == .gzip)
                _ = HTTPCoding.choose([text])
            }
        }
        #expect(HTTPCoding.choose(["gzip;q=0." + String(repeating: "9", count: 10000)]) == nil)
        #expect(ContinuousClock.now - begun < .seconds(5))
    }

    @Test("empty members of gzip by the thousand take no stack")
    func emptyMembers() throws {
        var empty = ByteBuffer()
        let deflater = try #require(HTTPDeflater(.gzip, .stream))
        deflater.finish(into: &empty)
        var wire = ByteBuffer()
        for _ in 0..<50_000 { wire.writeImmutableBuffer(empty) }
        let inflater = HTTPInflater(.gzip)
        var read = ByteBuffer()
        try inflater.decode(&wire, into: &read, atMost: 100)
        #expect(wire.readableBytes == 0 && read.readableBytes == 0 && inflater.isComplete)
    }

    @Test func onlyWhatShrinks() {
        func isWorthIt(_ headers: HTTPFields, _ status: Int = 200) -> Bool {
            HTTPCoding.isWorthIt(status, headers)
        }
        for type in [
            "text/html; charset=utf-8", "application/json", "image/svg+xml", "application/problem+json", "TEXT/CSV",
        ] {
            #expect(isWorthIt([("content-type", type)]), "\(type)")
        }
        for type in ["image/png", "application/octet-stream", "video/mp4", "application/zip"] {
            #expect(!isWorthIt([("content-type", type)]), "\(type)")
        }
        #expect(!isWorthIt([]))
        let json = (name: "content-type", value: "application/json")
        #expect(!isWorthIt([json, ("content-encoding", "br")]))
        #expect(!isWorthIt([json, ("content-range", "bytes 0-1/2")]))
        #expect(!isWorthIt([json, ("cache-control", "public, No-Transform")]))
        for status in [204, 206, 304] { #expect(!isWorthIt([json], status)) }
        #expect(isWorthIt([json], 404))
    }

    @Test func headersOfWhatIsCompressed() {
        let headers = HTTPCoding.encoded([("etag", "\"x\""), ("a", "b")], .gzip)
        #expect(headers.map(\.value) == ["W/\"x\"", "b", "gzip"])
        #expect(HTTPCoding.encoded([("etag", "W/\"x\"")], .deflate).map(\.value) == ["W/\"x\"", "deflate"])
        #expect(HTTPCoding.varying([("vary", "Origin")]).values("vary") == ["Origin", "accept-encoding"])
        for value in ["origin, Accept-Encoding", "*"] {
            #expect(HTTPCoding.varying([("vary", value)]).values("vary") == [value])
        }
    }

    @Test func piecesOfAStreamCanBeReadAtOnce() throws {
        let deflater = try #require(HTTPDeflater(.gzip, .stream))
        let inflater = HTTPInflater(.gzip)
        for text in ["one", "", "two", String(repeating: "three", count: 100_000)] {
            var wire = ByteBuffer()
            text.utf8.withContiguousStorageIfAvailable { deflater.write(UnsafeRawBufferPointer($0), into: &wire) }
            var read = ByteBuffer()
            while wire.readableBytes > 0 { try inflater.decode(&wire, into: &read, atMost: 1 << 20) }
            #expect(String(buffer: read) == text)
        }
        var wire = ByteBuffer()
        deflater.finish(into: &wire)
        var read = ByteBuffer()
        try inflater.decode(&wire, into: &read, atMost: 100)
        #expect(inflater.isComplete && read.readableBytes == 0)
    }

    @Test func wholeBodiesAgainAndAgain() throws {
        let deflater = try #require(HTTPDeflater(.gzip, .bodies))
        for count in [2000, 100_000, 1024] {
            let body = [UInt8](repeating: 66, count: count)
            var wire = ByteBuffer(string: "before")
            #expect(body.withUnsafeBytes { deflater.encode($0, into: &wire) })
            wire.moveReaderIndex(forwardBy: 6)
            #expect(wire.readableBytes < count / 10)
            var read = ByteBuffer()
            try HTTPInflater(.gzip).decode(&wire, into: &read, atMost: count + 1)
            #expect(Array(buffer: read) == body)
        }
    }

    @Test func whatDoesNotShrinkIsLeftAsItIs() throws {
        let deflater = try #require(HTTPDeflater(.gzip, .bodies))
        var generator = SystemRandomNumberGenerator()
        let noise = (0..<2000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var wire = ByteBuffer(string: "before")
        #expect(!noise.withUnsafeBytes { deflater.encode($0, into: &wire) })
        #expect(String(buffer: wire) == "before")
    }

    @Test func deflateWithAndWithoutItsFrame() throws {
        // "hello" as a raw deflate stream, as some servers send it.
        var raw = ByteBuffer(bytes: [0xCB, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00])
        var read = ByteBuffer()
        try HTTPInflater(.deflate).decode(&raw, into: &read, atMost: 100)
        #expect(String(buffer: read) == "hello")
    }
}
