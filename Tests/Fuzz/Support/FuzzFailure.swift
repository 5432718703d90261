// How a check says that an invariant does not hold, and how bytes are shown to people. Pure, any thread.

/// A broken invariant: the fuzzers stop at it, the tests report it with seed and input.
package struct FuzzFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// Throws when `condition` does not hold.
package func require(_ condition: Bool, _ what: @autoclosure () -> String) throws(FuzzFailure) {
    if !condition { throw FuzzFailure(what()) }
}

/// The bytes as a Swift string literal with every byte that is not printable ASCII escaped.
package func literal(_ bytes: some Sequence<UInt8>) -> String {
    var text = "\""
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "\r"): text += "\\r"
        case UInt8(ascii: "\n"): text += "\\n"
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
        case 0x20..<0x7F: text += String(UnicodeScalar(byte))
        default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }
    return text + "\""
}

extension [UInt8] {
    /// Runs `body` on a fresh allocation of exactly these bytes, so that a read past their end is seen by a sanitizer.
    package func withExactBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(FuzzFailure) -> Result
    ) throws(FuzzFailure) -> Result {
        let exact = UnsafeMutableRawBufferPointer.allocate(byteCount: Swift.max(1, count), alignment: 1)
        defer { exact.deallocate() }
        exact.copyBytes(from: self)
        return try body(UnsafeRawBufferPointer(rebasing: exact[0..<count]))
    }

    /// A number that depends on all bytes (FNV-1a): the seed for what an input does not decide itself.
    package var seed: UInt64 {
        reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}
