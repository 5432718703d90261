// SHA-256 and HMAC as scripts get them, against the published vectors (FIPS 180-4 examples, RFC 4231).

import LuaVM
import Testing

@testable import Panini

@Suite("Hash functions")
struct HashFunctionTests {
    private static func sha(_ bytes: [UInt8]) -> String {
        let writer = ByteWriter()
        bytes.withUnsafeBytes { HashFunctions.sha256($0, into: writer) }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    private static func hmac(_ key: [UInt8], _ text: String) -> String {
        let writer = ByteWriter()
        key.withUnsafeBytes { key in
            Array(text.utf8).withUnsafeBytes { HashFunctions.hmacSHA256(key: key, $0, into: writer) }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    @Test(
        "published vectors",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
        ]
    )
    func vectors(message: String, digest: String) {
        #expect(Self.sha(Array(message.utf8)) == digest)
    }

    @Test("a million letters")
    func long() {
        let digest = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        #expect(Self.sha([UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)) == digest)
    }

    @Test("HMAC, with a short key and one longer than a block")
    func hmac() {
        #expect(
            Self.hmac(Array("Jefe".utf8), "what do ya want for nothing?")
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
        #expect(
            Self.hmac(
                [UInt8](repeating: 0xAA, count: 131),
                "Test Using Larger Than Block-Size Key - Hash Key First"
            ) == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        )
    }
}
