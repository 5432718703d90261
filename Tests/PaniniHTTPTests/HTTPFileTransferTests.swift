// A file that is sent in pieces: all of it, as far as the client takes it, and closed at its end whatever that is.

import Glibc
import NIOCore
import Testing

@testable import PaniniHTTP

/// Takes so many pieces at once.
private final class Client: HTTPFileSender {
    var transfer: HTTPFileTransfer?
    var room: Int
    var bytes: [UInt8] = []
    var pieces = 0
    var isComplete = false
    var isCutShort = false

    init(_ file: HTTPFile, _ range: Range<Int>, room: Int) {
        transfer = HTTPFileTransfer(file, range)
        self.room = room
    }

    var takesFile: Bool { room > 0 }

    func send(_ piece: ByteBuffer, isLast: Bool) {
        room -= 1
        pieces += 1
        bytes += piece.readableBytesView
        #expect(!isComplete, "a piece behind the last")
        if isLast { isComplete = true }
    }

    func fileIsCutShort() { isCutShort = true }
}

@Suite("File transfers")
struct HTTPFileTransferTests {
    private static let content = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    private static func file(_ content: [UInt8] = content) throws -> HTTPFile {
        var path = Array("/tmp/panini-transfer-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        unlink(path)
        try #require(write(descriptor, content, content.count) == content.count)
        return HTTPFile(descriptor: descriptor, size: content.count, modified: 0, entityTag: "", mediaType: "")
    }

    /// Which file the descriptor stands for: other tests may get a number that was closed.
    private static func inode(_ file: HTTPFile) -> ino_t? {
        var status = stat()
        return fstat(file.descriptor, &status) == 0 ? status.st_ino : nil
    }

    @Test("a range, in pieces, and the file is closed with the last one", arguments: [0..<150_000, 5..<70_000, 9..<10])
    func whole(range: Range<Int>) throws {
        let file = try Self.file()
        let inode = Self.inode(file)
        let client = Client(file, range, room: 100)
        client.sendFile()
        #expect(client.isComplete && !client.isCutShort && client.transfer == nil)
        #expect(client.bytes == Array(Self.content[range]))
        #expect(client.pieces == (range.count + 65535) / 65536)
        #expect(inode != nil && Self.inode(file) != inode)
    }

    @Test("as far as there is room, then on")
    func room() throws {
        let client = Client(try Self.file(), 0..<150_000, room: 1)
        client.sendFile()
        #expect(client.pieces == 1 && !client.isComplete)
        client.sendFile()
        #expect(client.pieces == 1)
        client.room = 9
        client.sendFile()
        #expect(client.pieces == 3 && client.isComplete && client.bytes == Self.content)
    }

    @Test("a file that becomes shorter is broken off, and closed")
    func cutShort() throws {
        let file = try Self.file()
        let inode = Self.inode(file)
        let client = Client(file, 0..<150_000, room: 1)
        client.sendFile()
        #expect(ftruncate(file.descriptor, 70_000) == 0)
        client.room = 9
        client.sendFile()
        #expect(client.isCutShort && !client.isComplete && client.bytes.count == 70_000 && client.transfer == nil)
        #expect(inode != nil && Self.inode(file) != inode)
    }

    @Test("given up in the middle, it is closed")
    func givenUp() throws {
        let file = try Self.file()
        let inode = Self.inode(file)
        let client = Client(file, 0..<150_000, room: 1)
        client.sendFile()
        #expect(Self.inode(file) == inode)
        client.transfer = nil
        client.sendFile()
        #expect(client.pieces == 1 && Self.inode(file) != inode)
    }
}
