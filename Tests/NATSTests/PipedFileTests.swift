// Credentials that come through a pipe: read once, bounded in size and time, and kept for the next attempt.

import Foundation
import NIOPosix
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct PipedFileTests {
    private static func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appending(path: "panini-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }

    private func fifo(_ folder: URL) throws -> String {
        let path = folder.appending(path: "pipe").path
        try #require(mkfifo(path, 0o600) == 0)
        return path
    }

    /// On a thread of its own: opening a FIFO blocks, and the tasks of a test have few threads.
    private func write(_ text: String, to path: String, after milliseconds: UInt32 = 0) {
        Thread.detachNewThread {
            usleep(milliseconds * 1000)
            guard let handle = FileHandle(forWritingAtPath: path) else { return }
            for byte in text.utf8 { try? handle.write(contentsOf: Data([byte])) }
            try? handle.close()
        }
    }

    private func read(_ path: String) async throws -> [UInt8] {
        try await NIOThreadPool.singleton.runIfActive { try SecretFile.read(path) }
    }

    @Test("a pipe of a shell is read once, and what it gave is kept for every attempt")
    func anonymousPipes() async throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.write(contentsOf: Data("secret".utf8))
        try pipe.fileHandleForWriting.close()
        let path = "/proc/self/fd/\(pipe.fileHandleForReading.fileDescriptor)"
        for _ in 0..<3 {
            #expect(try SecretFile.read(path) == Array("secret".utf8))
        }
    }

    @Test("a FIFO whose writer comes later, and again with something new")
    func fifos() async throws {
        let folder = try Self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = try fifo(folder)
        write("first", to: path, after: 30)
        #expect(try await read(path) == Array("first".utf8))
        #expect(try await read(path) == Array("first".utf8))
        write("second", to: path)
        var seen: [UInt8] = []
        for _ in 0..<100 where seen != Array("second".utf8) {
            seen = try await read(path)
        }
        #expect(seen == Array("second".utf8))
    }

    @Test("many readers at once get the same, not a part each")
    func manyReaders() async throws {
        let folder = try Self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = try fifo(folder)
        let text = String(repeating: "0123456789", count: 500)
        write(text, to: path)
        let seen = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for _ in 0..<4 { group.addTask { try await read(path) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(seen == Array(repeating: Array(text.utf8), count: 4))
    }

    @Test("nobody who writes, and a writer without an end, cost a bounded time")
    func bounds() async throws {
        let folder = try Self.folder()
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = try fifo(folder)
        func read(_ maximum: Int) throws -> [UInt8] {
            let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            defer { close(descriptor) }
            return try PipedFile.read(path, descriptor, maximum: maximum, time: .milliseconds(50))
        }
        #expect(throws: PipedFile.Problem.self) { try read(100) }
        let descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)
        defer { close(descriptor) }
        #expect(throws: PipedFile.Problem.self) { try read(100) }
        _ = Array("half".utf8).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        #expect(throws: PipedFile.Problem.self) { try read(100) }
        _ = Array(repeating: UInt8(1), count: 101).withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        #expect(throws: PipedFile.Problem.self) { try read(100) }
    }

    @Test("what is empty says so at once")
    func emptyOnes() throws {
        let pipe = Pipe()
        try pipe.fileHandleForWriting.close()
        let began = ContinuousClock.now
        for path in ["/proc/self/fd/\(pipe.fileHandleForReading.fileDescriptor)", "/dev/null"] {
            let problem = #expect(throws: SecretFile.Problem.self) { try SecretFile.read(path) }
            #expect(problem?.reason == "it is empty")
        }
        #expect(ContinuousClock.now - began < PipedFile.maximumTime)
    }

    @Test func foldersAreNoFiles() {
        #expect(throws: SecretFile.Problem.self) { try SecretFile.read("/tmp") }
    }
}
