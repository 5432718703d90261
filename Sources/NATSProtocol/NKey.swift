// An nkey: an Ed25519 key pair made from a seed's text. A value, any thread. The private key lives in memory that the
// cryptography package wipes; every other copy made here is wiped here. Errors name the fault, never the content.

import Crypto

/// Why a seed was refused.
package enum NKeyError: Error, Equatable, CustomStringConvertible {
    /// Not base32, or cut short.
    case badEncoding
    /// Base32 of some other length.
    case wrongLength
    /// Mistyped: the checksum does not fit.
    case badChecksum
    /// A public key, or something else that is no seed.
    case notASeed
    /// A seed of a kind that nobody knows.
    case unknownRole

    package var description: String {
        switch self {
        case .badEncoding: "the seed is not base32"
        case .wrongLength: "the seed has the wrong length"
        case .badChecksum: "the seed's checksum does not fit"
        case .notASeed: "it is no seed (a user's seed begins with SU)"
        case .unknownRole: "the seed is of an unknown kind"
        }
    }
}

/// A key pair that signs a server's challenge.
package struct NKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// Whose key it is; the raw value is what the text of a public key begins with.
    package enum Role: UInt8, Sendable, CaseIterable {
        case account = 0x00
        case cluster = 0x10
        case server = 0x68
        case `operator` = 0x70
        case user = 0xA0
        case curve = 0xB8
    }

    /// The first five bits of a seed: the letter S.
    package static let seedPrefix: UInt8 = 0x90
    /// Two prefix bytes, the key, the checksum.
    private static let seedLength = 2 + 32 + 2

    package let role: Role
    private let key: Curve25519.Signing.PrivateKey

    /// Reads a seed's text, `SU...`, without anything around it.
    package init(seed text: some Collection<UInt8>) throws(NKeyError) {
        guard var bytes = Base32.decode(text) else { throw .badEncoding }
        defer { Secret.wipe(&bytes) }
        guard bytes.count >= 4 else { throw .wrongLength }
        let body = bytes.count - 2
        let checksum = UInt16(bytes[body]) | UInt16(bytes[body + 1]) << 8
        guard CRC16.checksum(bytes[..<body]) == checksum else {
            // A seed is always of one length: say what is more likely.
            throw bytes.count == Self.seedLength ? .badChecksum : .wrongLength
        }
        guard bytes[0] & 0xF8 == Self.seedPrefix else { throw .notASeed }
        guard bytes.count == Self.seedLength else { throw .wrongLength }
        guard let role = Role(rawValue: bytes[0] << 5 | bytes[1] >> 3) else { throw .unknownRole }
        try self.init(role: role, rawSeed: bytes[2..<body])
    }

    /// The key pair of 32 bytes.
    package init(role: Role, rawSeed: ArraySlice<UInt8>) throws(NKeyError) {
        self.role = role
        do {
            key = try Curve25519.Signing.PrivateKey(rawRepresentation: rawSeed)
        } catch {
            throw .wrongLength
        }
    }

    /// The text of the public key: `U...` of a user.
    package var publicKey: String {
        var bytes = [role.rawValue]
        bytes.append(contentsOf: key.publicKey.rawRepresentation)
        let checksum = CRC16.checksum(bytes)
        bytes.append(UInt8(truncatingIfNeeded: checksum))
        bytes.append(UInt8(truncatingIfNeeded: checksum >> 8))
        return Base32.encode(bytes)
    }

    /// The 64 bytes of `message`'s Ed25519 signature.
    package func sign(_ message: some Sequence<UInt8>) throws -> [UInt8] {
        Array(try key.signature(for: Array(message)))
    }

    /// Whose key it is and its public half.
    package var description: String { "nkey \(publicKey)" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}
