// Reading and writing the standard streams, unbuffered and without Foundation. Blocking calls: for commands, never for
// a loop that serves.

import Bytes
import Glibc

/// What a command prints as its result. Logs never go here while a command has a result.
enum StandardOutput {
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Writes lines. Names of scripts and services, paths and texts of errors are somebody else's: none steers a terminal.
    static func writeLine(_ text: String) {
        write(visibleLines(text))
    }

    /// Writes everything, or ends the program: quietly when the reader went away (`panini subscribe x | head -1`).
    static func write(_ bytes: [UInt8]) {
        let problem = writeAll(bytes, to: STDOUT_FILENO)
        guard problem != 0 else { return }
        // The reader has what it wanted: nothing failed.
        if problem == EPIPE { exit(0) }
        StandardError.say("panini: cannot write the output: \(String(cString: strerror(problem)))")
        exit(CommandError.Code.failed.rawValue)
    }
}

/// What a command says about itself.
enum StandardError {
    /// Writes a text.
    ///
    /// - Parameter indent: Blanks before its further lines: a text that others have a part in makes no line that looks like one of
    ///   the program's own.
    static func say(_ line: String, indent: Int = 0) {
        _ = writeAll(visibleLines(line, indent: indent), to: STDERR_FILENO)
    }
}

/// What is piped into a command.
enum StandardInput {
    /// A message cannot be larger anyway.
    static let maximumBytes = 64 << 20

    /// Everything up to the end of the input.
    static func readAll() throws(CommandError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw CommandError("cannot read standard input: \(String(cString: strerror(errno)))")
            }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= maximumBytes else {
                throw CommandError("standard input has more than \(maximumBytes) bytes; no message can be that large")
            }
        }
    }
}

/// Lines with an end, and with nothing that a terminal would obey.
private func visibleLines(_ text: String, indent: Int = 0) -> [UInt8] {
    var bytes: [UInt8] = []
    VisibleText.append(text, .lines(indent: indent), to: &bytes)
    if bytes.last != 0x0A { bytes.append(0x0A) }
    return bytes
}

/// Returns 0 or the error number.
private func writeAll(_ bytes: [UInt8], to descriptor: CInt) -> CInt {
    bytes.withUnsafeBytes { bytes in
        var start = 0
        while start < bytes.count, let base = bytes.baseAddress {
            let written = Glibc.write(descriptor, base + start, bytes.count - start)
            if written >= 0 {
                start += written
            } else if errno == EAGAIN {
                var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&poll, 1, -1)
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }
}
