// SHA-256 and HMAC against the published vectors (FIPS 180-4 examples, RFC 4231), and the lengths around a block's end.

import Testing

@testable import Panini

@Suite("SHA-256")
struct SHA256Tests {
    private static func hex(_ digest: SHA256.Digest) -> String {
        (0..<32).map { index in
            let text = String(digest[index], radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    private static func sha(_ bytes: [UInt8]) -> String { bytes.withUnsafeBytes { hex(SHA256.hash($0)) } }

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

    @Test("pieces give what the whole gives", arguments: [1, 3, 55, 56, 63, 64, 65, 119, 120, 128])
    func pieces(size: Int) {
        let message = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var sha = SHA256()
        for start in stride(from: 0, to: message.count, by: size) {
            Array(message[start..<min(start + size, message.count)]).withUnsafeBytes { sha.update($0) }
        }
        #expect(Self.hex(sha.finish()) == Self.sha(message))
    }

    @Test("HMAC, with a short key and one longer than a block")
    func hmac() {
        func hmac(_ key: [UInt8], _ text: String) -> String {
            key.withUnsafeBytes { key in
                Array(text.utf8).withUnsafeBytes { Self.hex(SHA256.hmac(key: key, $0)) }
            }
        }
        #expect(
            hmac(Array("Jefe".utf8), "what do ya want for nothing?")
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        )
        #expect(
            hmac([UInt8](repeating: 0xAA, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First")
                == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        )
    }
}
