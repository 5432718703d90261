// Owns: SHA-256 and HMAC over it as lower case hexadecimal text, from the cryptography package to the bytes a script
// gets. Any thread; knows no Lua.

import Bytes
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
        var writer = writer
        Hex.append(digest, to: &writer)
    }
}
