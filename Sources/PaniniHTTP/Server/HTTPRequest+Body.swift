// Owns: how a request's body gathers: its limit, and undoing its encoding. Loop-bound.

import NIOCore
import NIOHTTP1

extension HTTPRequest {
    /// Reads `content-encoding`.
    ///
    /// - Returns: The refusal of an encoding that is not known here.
    func setUpDecoding() -> HTTPResponse? {
        var head = self.head
        let names = head.headers["content-encoding"].flatMap { $0.split(separator: ",") }.map {
            $0.filter { $0 != " " && $0 != "\t" }.lowercased()
        }.filter { !$0.isEmpty && $0 != "identity" }
        guard let name = names.first else { return nil }
        guard names.count == 1, let format = HTTPInflater.Format(name) else {
            return .failure(
                415,
                "the body's content-encoding can be gzip or deflate, and only one of them",
                headers: [("accept-encoding", "gzip, deflate")]
            )
        }
        decoder = HTTPInflater(format)
        // Whoever reads the body sees neither.
        head.headers.remove(name: "content-encoding")
        head.headers.remove(name: "content-length")
        self.head = head
        return nil
    }

    /// What it makes the server hold while it gathers, and until its handler has begun.
    var heldBytes: Int {
        (body?.storageCapacity ?? 0) + (decoder == nil ? 0 : HTTPInflater.stateBytes)
    }

    /// Whoever responds has copied the body.
    package func releaseBody() { body = nil }

    /// Takes a part of the body.
    ///
    /// - Returns: The refusal of a body that is too large or not what it says.
    func append(_ bytes: ByteBuffer) -> HTTPResponse? {
        guard let decoder else {
            let size = body?.readableBytes ?? 0
            guard size + bytes.readableBytes <= maximumBody else { return tooLarge }
            if size == 0 {
                body = bytes
            } else {
                body?.writeImmutableBuffer(bytes)
            }
            return nil
        }
        var input = bytes
        var whole = body ?? ByteBuffer()
        body = nil
        defer { body = whole }
        while true {
            let before = whole.readableBytes
            do throws(HTTPInflater.Failure) {
                // One byte more than there may be: whoever needs it is refused, whatever is still packed.
                try decoder.decode(&input, into: &whole, atMost: min(Self.pieceBytes, maximumBody - before + 1))
            } catch {
                return Self.undecodable
            }
            if whole.readableBytes > maximumBody { return tooLarge }
            if whole.readableBytes == before, input.readableBytes == 0 { return nil }
        }
    }

    /// The body has ended.
    func finishBody() -> HTTPResponse? {
        guard let decoder, decoder.hasBegun else { return nil }
        return decoder.isComplete ? nil : Self.undecodable
    }

    private var tooLarge: HTTPResponse { .failure(413, "the request's body is larger than \(maximumBody) bytes") }

    private static let undecodable = HTTPResponse.failure(400, "the body is not what its content-encoding says")
    private static let pieceBytes = 64 << 10
}
