// Owns: SHA-256 (FIPS 180-4) and HMAC (RFC 2104) over it, as pure values; any thread. In place of a cryptography package,
// whose build and size these two functions for scripts would not justify; when nkeys bring one anyway, it takes over.

/// A SHA-256 digest in the making.
struct SHA256 {
    private var state: InlineArray<8, UInt32> = [
        0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19,
    ]
    private var block = InlineArray<64, UInt8>(repeating: 0)
    private var used = 0
    private var total: UInt64 = 0

    /// The digest's bytes.
    typealias Digest = InlineArray<32, UInt8>

    /// Takes more of the message.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        total &+= UInt64(bytes.count)
        for byte in bytes { append(byte) }
    }

    /// Ends the message.
    mutating func finish() -> Digest {
        let bits = total &* 8
        append(0x80)
        while used != 56 { append(0) }
        for shift in 1...8 { append(UInt8(truncatingIfNeeded: bits >> UInt64(64 - shift * 8))) }
        var digest = Digest(repeating: 0)
        for index in 0..<32 {
            digest[index] = UInt8(truncatingIfNeeded: state[index / 4] >> UInt32(24 - index % 4 * 8))
        }
        return digest
    }

    private mutating func append(_ byte: UInt8) {
        block[used] = byte
        used += 1
        if used == 64 {
            compress()
            used = 0
        }
    }

    private mutating func compress() {
        var schedule = InlineArray<64, UInt32>(repeating: 0)
        for index in 0..<16 {
            var word: UInt32 = 0
            for byte in 0..<4 { word = word << 8 | UInt32(block[index * 4 + byte]) }
            schedule[index] = word
        }
        for index in 16..<64 {
            let early = schedule[index - 15]
            let late = schedule[index - 2]
            let first = Self.rotate(early, 7) ^ Self.rotate(early, 18) ^ (early >> 3)
            let second = Self.rotate(late, 17) ^ Self.rotate(late, 19) ^ (late >> 10)
            schedule[index] = schedule[index - 16] &+ first &+ schedule[index - 7] &+ second
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        var (e, f, g, h) = (state[4], state[5], state[6], state[7])
        for index in 0..<64 {
            let sumE = Self.rotate(e, 6) ^ Self.rotate(e, 11) ^ Self.rotate(e, 25)
            let choice = (e & f) ^ (~e & g)
            let first = h &+ sumE &+ choice &+ Self.constants[index] &+ schedule[index]
            let sumA = Self.rotate(a, 2) ^ Self.rotate(a, 13) ^ Self.rotate(a, 22)
            let majority = (a & b) ^ (a & c) ^ (b & c)
            (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ sumA &+ majority)
        }
        for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
    }

    private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 {
        value >> count | value << (32 - count)
    }

    /// The fractional parts of the cube roots of the first 64 primes.
    private static let constants: [UInt32] = [
        0x428A_2F98, 0x7137_4491, 0xB5C0_FBCF, 0xE9B5_DBA5, 0x3956_C25B, 0x59F1_11F1, 0x923F_82A4, 0xAB1C_5ED5,
        0xD807_AA98, 0x1283_5B01, 0x2431_85BE, 0x550C_7DC3, 0x72BE_5D74, 0x80DE_B1FE, 0x9BDC_06A7, 0xC19B_F174,
        0xE49B_69C1, 0xEFBE_4786, 0x0FC1_9DC6, 0x240C_A1CC, 0x2DE9_2C6F, 0x4A74_84AA, 0x5CB0_A9DC, 0x76F9_88DA,
        0x983E_5152, 0xA831_C66D, 0xB003_27C8, 0xBF59_7FC7, 0xC6E0_0BF3, 0xD5A7_9147, 0x06CA_6351, 0x1429_2967,
        0x27B7_0A85, 0x2E1B_2138, 0x4D2C_6DFC, 0x5338_0D13, 0x650A_7354, 0x766A_0ABB, 0x81C2_C92E, 0x9272_2C85,
        0xA2BF_E8A1, 0xA81A_664B, 0xC24B_8B70, 0xC76C_51A3, 0xD192_E819, 0xD699_0624, 0xF40E_3585, 0x106A_A070,
        0x19A4_C116, 0x1E37_6C08, 0x2748_774C, 0x34B0_BCB5, 0x391C_0CB3, 0x4ED8_AA4A, 0x5B9C_CA4F, 0x682E_6FF3,
        0x748F_82EE, 0x78A5_636F, 0x84C8_7814, 0x8CC7_0208, 0x90BE_FFFA, 0xA450_6CEB, 0xBEF9_A3F7, 0xC671_78F2,
    ]
}

extension SHA256 {
    /// The digest of a message.
    static func hash(_ message: UnsafeRawBufferPointer) -> Digest {
        var sha = SHA256()
        sha.update(message)
        return sha.finish()
    }

    /// The HMAC of a message.
    static func hmac(key: UnsafeRawBufferPointer, _ message: UnsafeRawBufferPointer) -> Digest {
        // A key longer than a block is its own digest.
        var padded = [UInt8](repeating: 0, count: 64)
        if key.count > 64 {
            let short = hash(key)
            for index in 0..<32 { padded[index] = short[index] }
        } else {
            for (index, byte) in key.enumerated() { padded[index] = byte }
        }
        var inner = SHA256()
        padded.map { $0 ^ 0x36 }.withUnsafeBytes { inner.update($0) }
        inner.update(message)
        let digest = inner.finish()
        var outer = SHA256()
        padded.map { $0 ^ 0x5C }.withUnsafeBytes { outer.update($0) }
        (0..<32).map { digest[$0] }.withUnsafeBytes { outer.update($0) }
        return outer.finish()
    }
}
