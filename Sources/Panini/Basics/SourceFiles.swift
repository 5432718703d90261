// Owns: the files of one version of a service: each is read once, so that all workers run the same bytes, whatever happens
// to the file meanwhile. Any thread, behind a lock.

import Bytes
import Crypto
import Glibc
import LuaVM
import NATSProtocol
import ScriptRuntime
import Synchronization

/// The files that the scripts of one generation were made of.
final class SourceFiles: ModuleFiles {
    /// One file, as it was read.
    struct File: Sendable {
        let bytes: [UInt8]
        let digest: FileDigest
    }

    private struct State {
        var files: [ExactText: File] = [:]
        /// Looked for, and not there: whoever makes one of them changes the service.
        var missing: Set<String> = []
    }

    private let state = Mutex(State())
    /// Texts of the program that embeds the host, by their plain paths: they win over files.
    private let texts: [ExactText: [UInt8]]

    init(texts: [String: String] = [:]) {
        self.texts = Dictionary(
            texts.map { (ExactText(Self.plain($0.key)), Array($0.value.utf8)) },
            uniquingKeysWith: { $1 }
        )
    }

    /// `./a/../b.lua` is `b.lua`.
    private static func plain(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.parts(between: ASCII.slash) where !part.isEmpty && !part.isExactly(".") {
            if part.isExactly(".."), let last = parts.last, !last.isExactly("..") {
                parts.removeLast()
            } else {
                parts.append(part)
            }
        }
        return (path.begins(with: "/") ? "/" : "") + parts.joined(separator: "/")
    }

    private func text(_ path: String) -> [UInt8]? { texts.isEmpty ? nil : texts[ExactText(Self.plain(path))] }

    /// The file's bytes; read the first time it is asked for.
    func read(_ path: String, maximum: Int) throws(FileError) -> [UInt8] {
        if let text = text(path) { return text }
        if let known = state.withLock({ $0.files[ExactText(path)] }) { return known.bytes }
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try readFile(path, maximum: maximum)
        } catch {
            noteMissing(path)
            throw error
        }
        let file = File(bytes: bytes, digest: FileDigest(of: bytes))
        return state.withLock { state in
            // Two at once: the first one counts, for both.
            if let known = state.files[ExactText(path)] { return known.bytes }
            state.files[ExactText(path)] = file
            state.missing.remove(path)
            return bytes
        }
    }

    /// Whether there is such a file. What was read is there, also when it has been removed since; what cannot be looked at
    /// is there, so that reading it says why.
    func exists(_ path: String) -> Bool {
        if text(path) != nil || state.withLock({ $0.files[ExactText(path)] != nil }) { return true }
        if access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR) { return true }
        noteMissing(path)
        return false
    }

    /// Takes note of a file that others read: a change of it is a change of the service.
    func note(_ path: String, maximum: Int) { _ = try? read(path, maximum: maximum) }

    private func noteMissing(_ path: String) {
        state.withLock { state in
            // A script that looks for ever new names must not grow this without bound.
            if state.missing.count < 1000 { state.missing.insert(path) }
        }
    }

    /// What each file was when it was read; nil for those that were looked for and not there.
    var digests: [String: FileDigest?] {
        state.withLock { state in
            var digests: [String: FileDigest?] = [:]
            for (path, file) in state.files { digests[path.text] = file.digest }
            for path in state.missing { digests[path] = .some(nil) }
            return digests
        }
    }
}

/// What a file holds, in 32 bytes.
struct FileDigest: Hashable, Sendable {
    private let bytes: [UInt8]

    init(of content: [UInt8]) { bytes = Array(SHA256.hash(data: content)) }
}
