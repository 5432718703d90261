// The course of a fetch: redirects, decoding, limits.

import NIOCore
import Testing

@testable import PaniniHTTP

@Suite("The course of a fetch")
struct HTTPFetchMachineTests {
    private func machine(
        _ url: String = "http://u:p@a/start",
        _ change: (inout HTTPFetch) -> Void = { _ in }
    ) throws -> HTTPFetchMachine {
        var fetch = HTTPFetch(url: try HTTPURL(url))
        change(&fetch)
        return HTTPFetchMachine(fetch)
    }

    private func value(_ machine: HTTPFetchMachine, _ name: String) -> String? {
        machine.hop.headers[name]
    }

    private func redirect(_ machine: inout HTTPFetchMachine, _ status: Int, _ location: String) -> HTTPFetchError? {
        if case .fail(let failure) = machine.head(status: status, headers: [("location", location)]) { return failure }
        #expect(machine.end() == .send)
        return nil
    }

    @Test func credentialsBecomeAHeader() throws {
        #expect(value(try machine(), "authorization") == "Basic dTpw")
        #expect(value(try machine { $0.headers = [("authorization", "own")] }, "authorization") == "own")
    }

    @Test(arguments: [
        ("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST"),
        ("PUT", 301, "PUT"), ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("HEAD", 303, "HEAD"), ("DELETE", 307, "DELETE"),
    ])
    func redirectsChangeMethods(_ method: String, _ status: Int, _ wanted: String) throws {
        var machine = try machine {
            $0.method = method
            $0.body = ByteBuffer(string: "x")
            $0.headers = [("content-type", "text/plain"), ("x", "y")]
        }
        #expect(redirect(&machine, status, "next") == nil)
        #expect(machine.hop.method == wanted)
        #expect(machine.hop.url.text == "http://a/next")
        let keepsBody = wanted == method && method != "HEAD" || status == 307
        if method != "HEAD" { #expect((machine.hop.body != nil) == keepsBody) }
        if method != "HEAD" { #expect((value(machine, "content-type") != nil) == keepsBody) }
        #expect(value(machine, "x") == "y")
    }

    @Test func secretsStayWithTheirServer() throws {
        var machine = try machine { $0.headers = [("cookie", "c"), ("host", "v"), ("x", "y")] }
        _ = redirect(&machine, 302, "/other")
        #expect(value(machine, "authorization") != nil && value(machine, "cookie") == "c")
        _ = redirect(&machine, 302, "http://a:81/")
        #expect(value(machine, "authorization") == nil && value(machine, "cookie") == nil)
        #expect(value(machine, "host") == nil && value(machine, "x") == "y")
    }

    @Test func redirectsHaveALimit() throws {
        var machine = try machine { $0.maximumRedirects = 2 }
        #expect(redirect(&machine, 302, "/1") == nil)
        #expect(redirect(&machine, 302, "/2") == nil)
        #expect(redirect(&machine, 302, "/3")?.code == .redirects)
        var none = try self.machine { $0.maximumRedirects = 0 }
        guard case .receive = none.head(status: 302, headers: [("location", "/1")]) else {
            Issue.record("with 0 the redirect itself is the answer")
            return
        }
    }

    @Test(arguments: ["ftp://x/", "http://", "http://a/\u{1}"])
    func redirectsToNowhereFail(_ location: String) throws {
        var machine = try machine()
        #expect(redirect(&machine, 302, location)?.code == .protocol)
    }

    @Test func aRedirectWithoutLocationIsAnAnswer() throws {
        var machine = try machine()
        guard case .receive = machine.head(status: 302, headers: []) else {
            Issue.record("it is an answer")
            return
        }
        #expect(machine.response?.status == 302 && machine.end() == .finish)
    }

    @Test func theLongBodyOfARedirectIsAbandoned() throws {
        var machine = try machine()
        _ = machine.head(status: 302, headers: [("location", "/")])
        #expect(machine.bytes(ByteBuffer(repeating: 0, count: 60_000)) == .continueReading)
        #expect(machine.bytes(ByteBuffer(repeating: 0, count: 60_000)) == .abandon)
    }

    // MARK: - Bodies

    private func body(_ machine: inout HTTPFetchMachine, _ reads: [ByteBuffer]) -> Result<ByteBuffer, HTTPFetchError> {
        var all = ByteBuffer()
        for read in reads {
            #expect(machine.bytes(read) == .take)
            pieces: while true {
                switch machine.nextPiece() {
                case .bytes(let piece):
                    #expect(piece.readableBytes > 0)
                    all.writeImmutableBuffer(piece)
                case .none: break pieces
                case .fail(let failure): return .failure(failure)
                }
            }
        }
        if case .fail(let failure) = machine.end() { return .failure(failure) }
        return .success(all)
    }

    private func packed(_ body: ByteBuffer, _ format: HTTPDeflater.Format) throws -> ByteBuffer {
        var out = ByteBuffer()
        let deflater = try #require(HTTPDeflater(format, .stream))
        body.withUnsafeReadableBytes { deflater.write($0, into: &out) }
        deflater.finish(into: &out)
        return out
    }

    @Test(arguments: [HTTPDeflater.Format.gzip, .deflate], [1, 7, 100_000])
    func decodes(_ format: HTTPDeflater.Format, _ step: Int) throws {
        let text = ByteBuffer(string: (0..<5000).map { "line \($0)\n" }.joined())
        var rest = try packed(text, format)
        var reads: [ByteBuffer] = []
        while rest.readableBytes > 0 { reads.append(rest.readSlice(length: min(step, rest.readableBytes))!) }
        var machine = try machine()
        _ = machine.head(
            status: 200,
            headers: [("content-encoding", format.rawValue), ("content-length", "5"), ("x", "y")]
        )
        #expect(machine.response?.headers.map(\.name) == ["x"])
        #expect(body(&machine, reads) == .success(text))
    }

    @Test func severalMembersAreOneBody() throws {
        var two = try packed(ByteBuffer(string: "one "), .gzip)
        two.writeImmutableBuffer(try packed(ByteBuffer(string: "two"), .gzip))
        var machine = try machine()
        _ = machine.head(status: 200, headers: [("content-encoding", "gzip")])
        #expect(body(&machine, [two]) == .success(ByteBuffer(string: "one two")))
    }

    @Test func whatIsMissingOrTooMuchFails() throws {
        let whole = try packed(ByteBuffer(repeating: 65, count: 10_000), .gzip)
        var more = whole
        more.writeString("more")
        for wrong in [
            whole.getSlice(at: 0, length: whole.readableBytes - 5)!, more, ByteBuffer(string: "no gzip at all"),
        ] {
            var machine = try machine()
            _ = machine.head(status: 200, headers: [("content-encoding", "gzip")])
            guard case .failure(let failure) = body(&machine, [wrong]) else {
                Issue.record("\(wrong) was taken")
                continue
            }
            #expect(failure.code == .protocol)
        }
    }

    @Test func theLimitIsThatOfTheDecodedBody() throws {
        let bomb = try packed(ByteBuffer(repeating: 0, count: 20 << 20), .gzip)
        #expect(bomb.readableBytes < 200_000)
        var machine = try machine { $0.maximumBody = 1 << 20 }
        _ = machine.head(status: 200, headers: [("content-encoding", "gzip")])
        #expect(machine.bytes(bomb) == .take)
        var taken = 0
        while true {
            switch machine.nextPiece() {
            case .bytes(let piece):
                #expect(piece.readableBytes <= HTTPFetchMachine.pieceBytes)
                taken += piece.readableBytes
                continue
            case .none: Issue.record("the bomb was taken")
            case .fail(let failure): #expect(failure.code == .tooLarge)
            }
            break
        }
        #expect(taken <= 1 << 20)
    }

    @Test func aLengthBeyondTheLimitFailsAtOnce() throws {
        var machine = try machine { $0.maximumBody = 10 }
        guard case .fail(let failure) = machine.head(status: 200, headers: [("content-length", "11")]) else {
            Issue.record("it was taken")
            return
        }
        #expect(failure.code == .tooLarge)
        var head = try self.machine { ($0.maximumBody, $0.method) = (10, "HEAD") }
        guard case .receive = head.head(status: 200, headers: [("content-length", "11"), ("content-encoding", "gzip")])
        else {
            Issue.record("a HEAD has no body")
            return
        }
        #expect(head.end() == .finish)
    }

    @Test func anEncodingOfItsOwnIsLeftAlone() throws {
        var machine = try machine { $0.headers = [("accept-encoding", "gzip")] }
        _ = machine.head(status: 200, headers: [("content-encoding", "gzip")])
        #expect(body(&machine, [ByteBuffer(string: "raw")]) == .success(ByteBuffer(string: "raw")))
        #expect(machine.response?.headers.count == 1)
    }
}
