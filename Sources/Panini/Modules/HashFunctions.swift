// Owns: SHA-256 and HMAC over it as lower case hexadecimal text, from the cryptography package to the bytes a script
// gets. Any thread; knows no Lua.

import Crypto
import LuaVM

enum HashFunctions {
    /// Appends the digest of `message` to `writer`.
    static func sha256(_ message: UnsafeRawBufferPointer, into writer: ByteWriter) {
        append(SHA256.hash(data: message), to: writer)
    }

    /// Appends the HMAC of `message` to `writer`.
    static func hmacSHA256(
        key: UnsafeRawBufferPointer,
        _ message: UnsafeRawBufferPointer,
        into writer: ByteWriter
    ) {
        append(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)), to: writer)
    }

    private static func append(_ digest: some Sequence<UInt8>, to writer: ByteWriter) {
        for byte in digest {
            writer.append(digit(byte >> 4))
            writer.append(digit(byte & 15))
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
