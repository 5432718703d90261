// Owns: a file on its way to a client: its descriptor, and what of it is left to be sent. Loop-bound; reading blocks for as
// long as the disk takes. Knows neither versions of HTTP nor channels.

import Glibc
import NIOCore

/// What is left to be sent of a file. The file is closed with its transfer.
final class HTTPFileTransfer {
    enum Piece: Equatable {
        case bytes(ByteBuffer, isLast: Bool)
        /// The file has fewer bytes than it had.
        case cutShort
    }

    static let pieceBytes = 64 << 10

    private let file: HTTPFile
    private var range: Range<Int>

    init(_ file: HTTPFile, _ range: Range<Int>) {
        self.file = file
        self.range = range
    }

    deinit { file.close() }

    /// Reads the next piece. Nothing follows the last one.
    func next() -> Piece {
        var piece = ByteBuffer()
        let count = file.read(range.prefix(Self.pieceBytes), into: &piece)
        guard count > 0 else { return .cutShort }
        range = (range.lowerBound + count)..<range.upperBound
        return .bytes(piece, isLast: range.isEmpty)
    }
}

@available(*, unavailable)
extension HTTPFileTransfer: Sendable {}

/// What sends files in pieces: a connection, a stream of one, an exchange inside the program.
protocol HTTPFileSender: AnyObject {
    /// The file that is being sent; nil: none.
    var transfer: HTTPFileTransfer? { get set }
    /// Whether the client takes more at the moment.
    var takesFile: Bool { get }
    /// Writes a piece; behind the last one the response is complete.
    func send(_ piece: ByteBuffer, isLast: Bool)
    /// There is no last piece: the client must see that something is missing.
    func fileIsCutShort()
}

extension HTTPFileSender {
    /// Sends on, as far as the client takes it.
    func sendFile() {
        while let transfer, takesFile {
            switch transfer.next() {
            case .bytes(let piece, let isLast):
                // Before the write, which may come back here when it makes room.
                if isLast { self.transfer = nil }
                send(piece, isLast: isLast)
            case .cutShort:
                self.transfer = nil
                return fileIsCutShort()
            }
        }
    }
}

extension HTTPFile {
    /// Adds bytes of the file to a buffer.
    ///
    /// - Returns: How many; 0 at the end of the file, and when it cannot be read.
    func read(_ range: Range<Int>, into buffer: inout ByteBuffer) -> Int {
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: range.count) { room in
            max(0, pread(descriptor, room.baseAddress, range.count, off_t(range.lowerBound)))
        }
    }
}
