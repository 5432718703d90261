// Owns: the text of one server-sent event (HTML, section 9.2.6), from bytes. A value; the worker's thread.

import Bytes
import LuaVM
import ScriptRuntime

/// An event on its way to the client. Lines end at LF, CR LF or CR, as clients take them; everything else is text.
struct EventText {
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")

    private var bytes: [UInt8] = []
    /// Every line of data gets a name of its own: a text of line feeds becomes seven times as long.
    private var allowance: CopyAllowance

    init(_ vm: LuaVM) { allowance = CopyAllowance(vm) }

    var isEmpty: Bool { bytes.isEmpty }

    /// Adds a field of one line.
    ///
    /// - Returns: Whether the text is one.
    mutating func add(_ name: String, line: UnsafeRawBufferPointer) throws(UsageError) -> Bool {
        guard UTF8Text.isValid(line) else { return try add(name, line: String(decoding: line, as: UTF8.self)) }
        guard !line.contains(where: Self.endsLine) else { return false }
        try take(line.count)
        bytes += name.utf8
        bytes += [UInt8(ascii: ":"), UInt8(ascii: " ")]
        bytes += line
        bytes.append(Self.lineFeed)
        return true
    }

    mutating func add(_ name: String, line: String) throws(UsageError) -> Bool {
        try Array(line.utf8).withUnsafeBufferPointer { bytes throws(UsageError) in
            try add(name, line: UnsafeRawBufferPointer(bytes))
        }
    }

    /// Adds data, a field for each of its lines. Bytes that are no text are repaired.
    mutating func add(data: UnsafeRawBufferPointer) throws(UsageError) {
        guard UTF8Text.isValid(data) else {
            try take(data.count * 3)
            return try Array(String(decoding: data, as: UTF8.self).utf8).withUnsafeBufferPointer {
                bytes throws(UsageError) in
                try add(data: UnsafeRawBufferPointer(bytes))
            }
        }
        var rest = data[...]
        while true {
            let end = rest.firstIndex(where: Self.endsLine) ?? rest.endIndex
            try take(end - rest.startIndex)
            bytes += "data: ".utf8
            bytes += rest[..<end]
            bytes.append(Self.lineFeed)
            guard end < rest.endIndex else { return }
            let isPair =
                rest[end] == Self.carriageReturn && end + 1 < rest.endIndex && rest[end + 1] == Self.lineFeed
            rest = rest[(end + (isPair ? 2 : 1))...]
        }
    }

    /// The event as it goes out.
    consuming func end() -> [UInt8] { bytes + [Self.lineFeed] }

    private mutating func take(_ count: Int) throws(UsageError) { try allowance.take(count + 16, for: "send") }

    private static func endsLine(_ byte: UInt8) -> Bool { byte == lineFeed || byte == carriageReturn }
}
