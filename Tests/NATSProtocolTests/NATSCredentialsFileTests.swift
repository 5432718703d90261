// Credentials and seed files: the form the tools write, what people make of it, and each way of being wrong.

import Testing

@testable import NATSProtocol

@Suite(.timeLimit(.minutes(5))) struct NATSCredentialsFileTests {
    static let jwt = "eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVIn0.c2ln-_9"
    static let plain = """
        -----BEGIN NATS USER JWT-----
        \(jwt)
        ------END NATS USER JWT------

        ************************* IMPORTANT *************************
        NKEY Seed printed below can be used to sign and prove identity.
        NKEYs are sensitive and should be treated as secrets.

        -----BEGIN USER NKEY SEED-----
        \(NKeyTests.user)
        ------END USER NKEY SEED------

        *************************************************************

        """

    private func parse(_ text: String) throws -> NATSCredentialsFile {
        try Array(text.utf8).withUnsafeBytes { try NATSCredentialsFile(parsing: $0) }
    }

    private func parseSeed(_ text: String) throws -> NKey {
        try Array(text.utf8).withUnsafeBytes { try NATSCredentialsFile.seed(parsing: $0) }
    }

    private func replacing(_ old: String, _ new: String) -> String {
        Self.plain.split(separator: old, omittingEmptySubsequences: false).joined(separator: new)
    }

    @Test func rule23ReadsBothBlocks() throws {
        let file = try parse(Self.plain)
        #expect(file.jwt == Self.jwt)
        #expect(file.key.publicKey == NKeyTests.userPublic)
    }

    @Test func rule23ToleratesWhatEditorsAndPeopleDo() throws {
        let half = Self.jwt.index(Self.jwt.startIndex, offsetBy: 20)
        let texts = [
            replacing("\n", "\r\n"),
            replacing("\n", "\n\n"),
            replacing("\n", "  \n\t"),
            replacing("-----BEGIN", "---BEGIN"),
            replacing("JWT-----\n", "JWT---------- \n"),
            replacing("BEGIN NATS USER JWT", " BEGIN  NATS USER JWT "),
            replacing("END NATS USER JWT", "END"),
            replacing(Self.jwt, String(Self.jwt[..<half] + "\n" + Self.jwt[half...])),
            "# mine, SU not a seed\n" + Self.plain + "# the end",
        ]
        for text in texts {
            let file = try parse(text)
            #expect(file.jwt == Self.jwt)
            #expect(file.key.publicKey == NKeyTests.userPublic)
        }
    }

    @Test func rule23NamesTheFaultAndNotTheContent() {
        let seedBlock = Self.plain.drop { $0 != "*" }
        let faults: [(String, NATSCredentialsFile.Fault)] = [
            ("", .missing(.jwt)),
            ("\u{0}\u{ff}\n---\n------\n", .missing(.jwt)),
            (String(seedBlock), .missing(.jwt)),
            (String(Self.plain.prefix { $0 != "*" }), .missing(.seed)),
            (replacing("--BEGIN NATS", "--BEGIN MY"), .missing(.jwt)),
            (replacing("-----BEGIN NATS", "--BEGIN NATS"), .missing(.jwt)),
            (replacing("------END NATS USER JWT------\n", ""), .unended(.jwt)),
            (replacing("------END USER NKEY SEED------\n", ""), .unended(.seed)),
            (replacing(Self.jwt, ""), .empty(.jwt)),
            (replacing(NKeyTests.user, ""), .empty(.seed)),
            (replacing(Self.jwt, "eyJ0.eyJ9"), .malformedJWT),
            (replacing(Self.jwt, "eyJ0..eyJ9"), .malformedJWT),
            (replacing(Self.jwt, "eyJ0.ey J9.abc"), .malformedJWT),
            (replacing(Self.jwt, "eyJ0.eyJ9=.abc"), .malformedJWT),
            (replacing(NKeyTests.user, "SUB" + NKeyTests.user.dropFirst(3)), .badSeed(.badChecksum)),
            (replacing(NKeyTests.user, NKeyTests.userPublic), .badSeed(.notASeed)),
            (replacing(NKeyTests.user, NKeyTests.account), .notAUser),
        ]
        for (text, fault) in faults {
            #expect(throws: fault) { try parse(text) }
            #expect(!"\(fault)".contains("eyJ") && !"\(fault)".contains("AAAA"))
        }
    }

    @Test func rule23ReadsSeedFilesWithAndWithoutABlock() throws {
        let texts = [
            NKeyTests.user, NKeyTests.user + "\n", " \(NKeyTests.user) \r\n", "# a comment\n\(NKeyTests.user)\n",
            Self.plain, String(Self.plain.drop { $0 != "*" }),
        ]
        for text in texts {
            #expect(try parseSeed(text).publicKey == NKeyTests.userPublic)
        }
    }

    @Test(
        arguments: [
            ("", NATSCredentialsFile.Fault.badSeed(.notASeed)),
            ("hello", .badSeed(.notASeed)),
            (NKeyTests.userPublic, .badSeed(.notASeed)),
            (NKeyTests.account, .notAUser),
            (NKeyTests.operatorSeed, .notAUser),
            ("SUAAA", .badSeed(.wrongLength)),
            ("-----BEGIN USER NKEY SEED-----\n", .unended(.seed)),
        ]
    )
    func rule23RefusesOtherSeedFiles(_ text: String, _ fault: NATSCredentialsFile.Fault) {
        #expect(throws: fault) { try parseSeed(text) }
    }

    /// A cut at every place gives an error or, behind the last line that counts, the whole.
    @Test func survivesEveryCut() {
        let bytes = Array(Self.plain.utf8)
        for length in 0..<bytes.count {
            let file = try? bytes[..<length].withUnsafeBytes { try NATSCredentialsFile(parsing: $0) }
            if let file { #expect(file.jwt == Self.jwt && file.key.publicKey == NKeyTests.userPublic) }
        }
    }

    @Test func showsNoSecret() throws {
        var text = ""
        dump(try parse(Self.plain), to: &text)
        #expect(!text.contains("eyJ"))
    }
}
