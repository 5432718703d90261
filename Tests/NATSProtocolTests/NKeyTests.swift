// nkeys against vectors from the implementation in Python, and everything a seed may be mistyped into.

import Bytes
import Testing

@testable import NATSProtocol

@Suite(.timeLimit(.minutes(5))) struct NKeyTests {
    /// The seeds of the bytes 0 to 31, their public keys, and the one signature of "nonce".
    static let user = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y"
    static let account = "SAAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4HYMHI"
    static let operatorSeed = "SOAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H2AJA"
    static let userPublic = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK"
    static let signature = "-HTq4d6DDHVNb8MsTRAZtSIa0vXA_yuZblwTA7JT5wYzmKBxJ2wpYfjHh7hcptZlidbVw_6ZLyubjm_yDk-OCQ"

    @Test(
        arguments: [
            (user, NKey.Role.user, userPublic),
            (account, .account, "AAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QPZV"),
            (
                "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU", .user,
                "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L"
            ),
            (operatorSeed, .operator, "OAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3QZVT"),
        ]
    )
    func rule23ReadsSeedsAndNamesPublicKeys(_ seed: String, _ role: NKey.Role, _ publicKey: String) throws {
        let key = try NKey(seed: Array(seed.utf8))
        #expect(key.role == role)
        #expect(key.publicKey == publicKey)
    }

    @Test func rule23SignsTheNonceAsBase64URLWithoutPadding() throws {
        let key = try NKey(seed: Array(Self.user.utf8))
        #expect(Base64URL.encode(try key.sign("nonce".utf8)) == Self.signature)
    }

    @Test func aKeyIsMadeOfItsBytes() throws {
        let key = try NKey(role: .user, rawSeed: Array(0..<32)[...])
        #expect(key.publicKey == Self.userPublic)
        #expect(throws: NKeyError.wrongLength) { try NKey(role: .user, rawSeed: Array(0..<31)[...]) }
    }

    private static let noSeeds: [(String, NKeyError)] = [
        ("", .wrongLength),
        ("S", .badEncoding),
        ("SU", .wrongLength),
        (String(user.dropLast()), .badEncoding),
        (String(user.dropLast(2)), .wrongLength),
        ("\(user)AAAAAAAA", .wrongLength),
        (user.lowercased(), .badEncoding),
        (" \(user)", .badEncoding),
        ("SUB\(user.dropFirst(3))", .badChecksum),
        ("SA\(user.dropFirst(2))", .badChecksum),
        (userPublic, .notASeed),
        ("SU11111111", .badEncoding),
    ]

    @Test(arguments: noSeeds)
    func rule23RefusesWhatIsNoSeed(_ text: String, _ error: NKeyError) {
        #expect(throws: error) { try NKey(seed: Array(text.utf8)) }
        #expect(!"\(error)".contains("AAAA"))
    }

    /// A kind of seed that may come one day.
    @Test func refusesUnknownRoles() {
        var bytes: [UInt8] = [0x90, 0x08]
        bytes.append(contentsOf: 0..<32)
        let checksum = CRC16.checksum(bytes)
        bytes += [UInt8(truncatingIfNeeded: checksum), UInt8(checksum >> 8)]
        #expect(throws: NKeyError.unknownRole) { try NKey(seed: Array(Base32.encode(bytes).utf8)) }
    }

    @Test func showsNoSecret() throws {
        let key = try NKey(seed: Array(Self.user.utf8))
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), dumped] {
            #expect(text.contains(Self.userPublic))
            #expect(!text.contains("SUAAA") && !text.contains("PrivateKey"))
        }
    }
}

@Suite(.timeLimit(.minutes(5))) struct SmallEncodingTests {
    /// The vectors of RFC 4648, section 10.
    @Test(
        arguments: [
            ("", "", ""), ("f", "MY", "Zg"), ("fo", "MZXQ", "Zm8"), ("foo", "MZXW6", "Zm9v"),
            ("foob", "MZXW6YQ", "Zm9vYg"), ("fooba", "MZXW6YTB", "Zm9vYmE"), ("foobar", "MZXW6YTBOI", "Zm9vYmFy"),
        ]
    )
    func publishedVectors(_ plain: String, _ base32: String, _ base64: String) {
        #expect(Base32.encode(plain.utf8) == base32)
        #expect(Base32.decode(base32.utf8) == Array(plain.utf8))
        #expect(Base64URL.encode(plain.utf8) == base64)
    }

    @Test func base64URLUsesItsOwnTwoDigits() {
        #expect(Base64URL.encode([0xFB, 0xFF, 0xBF]) == "-_-_")
    }

    @Test(arguments: ["M", "MZX", "MZXW6Y", "MZ", "MY======", "my", "M1", "M\u{e9}"])
    func base32RefusesWhatNoEncoderGives(_ text: String) {
        #expect(Base32.decode(text.utf8) == nil)
    }

    @Test func checksumOfThePublishedVector() {
        #expect(CRC16.checksum("123456789".utf8) == 0x31C3)
        #expect(CRC16.checksum([]) == 0)
    }

    @Test("rule 23: a secret is wiped")
    func wipes() {
        var bytes: [UInt8] = [1, 2, 3]
        Secret.wipe(&bytes)
        #expect(bytes.isEmpty)
        Secret.wipe(&bytes)
    }
}
