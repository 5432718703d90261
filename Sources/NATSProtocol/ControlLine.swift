// How long the lines are that a server counts: it closes the connection of a client whose line is longer than its
// `max_control_line` (4096 bytes unless set), which INFO does not tell. Pure functions, any thread.
//
// What counts was measured with nats-server: everything between the blank behind the operation's name and the line end,
// for PUB, HPUB, SUB and UNSUB alike, in one read or in many.

import Bytes

/// Lengths of control lines, without the operation's name, the blank behind it, and the line end.
package enum ControlLine {
    /// What a server takes unless it is told otherwise.
    package static let defaultMaximum = 4096

    /// No line is longer than its subjects by more: two blanks and two numbers.
    @inline(__always) package static var publishOverhead: Int { 3 + 2 * 19 }

    /// The arguments of PUB, or of HPUB when there are headers.
    ///
    /// - Parameters:
    ///   - names: bytes of the subject and the reply subject together.
    ///   - hasReply: whether there is a reply subject.
    ///   - headers: bytes of the header block, 0 for none.
    ///   - size: bytes of header block and payload together.
    package static func publish(names: Int, hasReply: Bool, headers: Int, size: Int) -> Int {
        names + (hasReply ? 1 : 0) + (headers > 0 ? 1 + ASCII.digitCount(headers) : 0) + 1 + ASCII.digitCount(size)
    }

    /// The arguments of SUB.
    package static func subscribe(subject: Int, queue: Int?, sid: Int) -> Int {
        subject + (queue.map { 1 + $0 } ?? 0) + 1 + ASCII.digitCount(sid)
    }
}
