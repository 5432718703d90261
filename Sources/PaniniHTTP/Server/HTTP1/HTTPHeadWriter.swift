// Owns: writing the head of a response into memory that somebody has made large enough. Pure; any thread.

/// Writes on at an address. Who makes the memory adds up what there is to write first: nothing here looks at its end.
struct HTTPHeadWriter {
    /// Where the next byte goes.
    private(set) var at: UnsafeMutableRawPointer

    /// What the status line, the date, the lengths and the connection's header take at most.
    static let room = 256

    init(_ start: UnsafeMutableRawPointer) { at = start }

    mutating func write(_ bytes: UnsafeRawBufferPointer) {
        if let from = bytes.baseAddress { at.copyMemory(from: from, byteCount: bytes.count) }
        at += bytes.count
    }

    @inline(__always)
    mutating func write(_ text: StaticString) {
        at.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        at += text.utf8CodeUnitCount
    }

    @inline(__always)
    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }

    mutating func writeDecimal(_ number: Int) {
        var digits = 1
        var rest = number
        while rest >= 10 {
            rest /= 10
            digits += 1
        }
        rest = number
        for place in stride(from: digits - 1, through: 0, by: -1) {
            at.storeBytes(of: UInt8(48 + rest % 10), toByteOffset: place, as: UInt8.self)
            rest /= 10
        }
        at += digits
    }

    mutating func writeStatusLine(_ status: Int) {
        if status == 200 { return write("HTTP/1.1 200 OK\r\n") }
        write("HTTP/1.1 ")
        writeDecimal(status)
        write(" ")
        write(HTTPResponse.reason(status))
        write("\r\n")
    }

    mutating func write(_ fields: HTTPFields) {
        for (name, value) in fields.all {
            write(name)
            write(": ")
            write(value)
            write("\r\n")
        }
    }
}
