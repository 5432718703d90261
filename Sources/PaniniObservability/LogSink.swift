// Where formatted records go. Sinks live on the writer's thread alone (after the writer was shut down: under its lock).

import Glibc
import Logging

/// A destination of log records.
package protocol LogSink: AnyObject {
    /// Takes one record; it may be kept until ``flush()``.
    func write(_ record: LogRecord)
    /// Brings everything taken so far to its destination.
    func flush()
}

/// Writes records to an open file descriptor: the console, or whatever the program's output is redirected to.
package final class DescriptorSink: LogSink {
    private let descriptor: CInt
    private var format: any LogFormat
    private var buffer: [UInt8] = []
    private var recordsInBuffer = 0
    /// Records that could not be written, and why; said once as soon as writing works again.
    private var lost = 0
    private var lostReason: CInt = 0

    private static let writeSize = 64 << 10

    /// - Parameter descriptor: an open descriptor; it is not closed by the sink.
    package init(descriptor: CInt, format: any LogFormat) {
        self.descriptor = descriptor
        self.format = format
    }

    package func write(_ record: LogRecord) {
        format.append(record, to: &buffer)
        recordsInBuffer += 1
        if buffer.count >= Self.writeSize {
            flush()
        }
    }

    package func flush() {
        guard !buffer.isEmpty else { return }
        if lost > 0 {
            var notice: [UInt8] = []
            let reason = String(cString: strerror(lostReason))
            format.append(
                LogRecord(
                    level: .warning,
                    name: "panini.log",
                    message: "lost \(lost) log records that could not be written: \(reason)"
                ),
                to: &notice
            )
            guard writeAll(notice) else {
                lost += recordsInBuffer
                forgetBuffer()
                return
            }
            lost = 0
        }
        if !writeAll(buffer) {
            lost += recordsInBuffer
        }
        forgetBuffer()
    }

    private func forgetBuffer() {
        buffer.removeAll(keepingCapacity: buffer.capacity <= 4 * Self.writeSize)
        recordsInBuffer = 0
    }

    private func writeAll(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count, let base = bytes.baseAddress {
                let written = Glibc.write(descriptor, base + start, bytes.count - start)
                if written >= 0 {
                    start += written
                    continue
                }
                switch errno {
                case EINTR:
                    continue
                case EAGAIN:
                    // Somebody made the terminal non-blocking: this thread may wait, that is what it is for.
                    var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = Glibc.poll(&poll, 1, -1)
                default:
                    lostReason = errno
                    return false
                }
            }
            return true
        }
    }
}

@available(*, unavailable)
extension DescriptorSink: Sendable {}
