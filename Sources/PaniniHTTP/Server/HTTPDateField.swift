// Owns: the `date` field of responses, made once a second. A value; loop-bound with its server.

import Glibc

/// The date of the second that it is.
struct HTTPDateField {
    private var second = -1
    private var line: [UInt8] = []
    private var text = ""

    /// Gives `date: ...` with its line end.
    @inline(__always)
    mutating func withLine(_ body: (UnsafeRawBufferPointer) -> Void) {
        update()
        line.withUnsafeBytes { body($0) }
    }

    /// The value of the field.
    mutating func value() -> String {
        update()
        return text
    }

    private mutating func update() {
        let now = time(nil)
        guard now != second else { return }
        second = now
        text = HTTPDate.text(now)
        line = Array("date: \(text)\r\n".utf8)
    }
}
