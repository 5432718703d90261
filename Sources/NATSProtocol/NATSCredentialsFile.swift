// The text of a credentials file: a user's JWT and the seed it was made for, each in a block between lines of dashes.
// Also of a seed file: such a block, or the bare seed. Pure, any thread. Errors name the fault, never the content.

import Bytes

/// What a credentials file holds.
package struct NATSCredentialsFile: Sendable, CustomReflectable {
    /// What is wrong with a file.
    package enum Fault: Error, Equatable, CustomStringConvertible {
        /// There is no block of this name.
        case missing(Block)
        /// The block has no end, or another one begins inside it.
        case unended(Block)
        /// Nothing stands between the block's lines.
        case empty(Block)
        /// The JWT is not three base64url parts.
        case malformedJWT
        case badSeed(NKeyError)
        /// The seed belongs to somebody else than a user.
        case notAUser

        package var description: String {
            switch self {
            case .missing(let block): "no \(block.rawValue) block"
            case .unended(let block): "the \(block.rawValue) block has no end"
            case .empty(let block): "the \(block.rawValue) block is empty"
            case .malformedJWT: "the JWT is malformed"
            case .badSeed(let error): error.description
            case .notAUser: "the seed is not a user's (a user's seed begins with SU)"
            }
        }
    }

    /// The name in a block's first and last line.
    package enum Block: String, Sendable {
        case jwt = "NATS USER JWT"
        case seed = "USER NKEY SEED"
    }

    package let jwt: String
    package let key: NKey

    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Reads a credentials file. Text around the blocks, any number of dashes from three on, CRLF and a broken JWT line
    /// are fine.
    package init(parsing text: UnsafeRawBufferPointer) throws(Fault) {
        guard var jwt = try Self.block(.jwt, of: text) else { throw .missing(.jwt) }
        defer { Secret.wipe(&jwt) }
        guard Self.isJWT(jwt) else { throw .malformedJWT }
        guard var seed = try Self.block(.seed, of: text) else { throw .missing(.seed) }
        defer { Secret.wipe(&seed) }
        key = try Self.userKey(seed)
        self.jwt = String(decoding: jwt, as: UTF8.self)
    }

    /// Reads the text of a seed: a block as in a credentials file, or a line of its own that begins with S.
    package static func seed(parsing text: UnsafeRawBufferPointer) throws(Fault) -> NKey {
        if var seed = try block(.seed, of: text) {
            defer { Secret.wipe(&seed) }
            return try userKey(seed)
        }
        var bare: [UInt8]?
        forEachLine(text) { line in
            if line.first == UInt8(ascii: "S") { bare = Array(line) }
            return bare == nil
        }
        guard var bare else { throw .badSeed(.notASeed) }
        defer { Secret.wipe(&bare) }
        return try userKey(bare)
    }

    private static func userKey(_ seed: [UInt8]) throws(Fault) -> NKey {
        let key: NKey
        do throws(NKeyError) {
            key = try NKey(seed: seed)
        } catch {
            throw .badSeed(error)
        }
        guard key.role == .user else { throw .notAUser }
        return key
    }

    /// What stands in the first block called `name`; nil when there is none.
    private static func block(_ name: Block, of text: UnsafeRawBufferPointer) throws(Fault) -> [UInt8]? {
        var body: [UInt8] = []
        // Room for all, so that no copy of a secret is left behind by growing.
        body.reserveCapacity(text.count)
        var state = 0
        var fault: Fault?
        forEachLine(text) { line in
            let title = title(of: line)
            if state == 0 {
                if title == "BEGIN \(name.rawValue)" { state = 1 }
                return true
            }
            guard let title else {
                body.append(contentsOf: line)
                return true
            }
            // The tools write six dashes and END; whose name follows is not looked at.
            if title.hasPrefix("END") { state = 2 } else { fault = .unended(name) }
            return false
        }
        if state == 1 { fault = .unended(name) }
        if state == 2, body.isEmpty { fault = .empty(name) }
        if let fault {
            Secret.wipe(&body)
            throw fault
        }
        return state == 0 ? nil : body
    }

    /// What a line says between at least three dashes on either side; nil for other lines.
    private static func title(of line: UnsafeRawBufferPointer) -> String? {
        guard let start = line.firstIndex(where: { $0 != ASCII.minus }), start >= 3,
            let end = line.lastIndex(where: { $0 != ASCII.minus }), line.count - end > 3
        else { return nil }
        let words = String(decoding: line[start...end], as: UTF8.self)
        return words.split(separator: " ").joined(separator: " ")
    }

    /// Calls `body` with each line, without the blanks around it and without empty ones, until it returns false.
    private static func forEachLine(_ text: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Bool) {
        for line in text.split(whereSeparator: { $0 == ASCII.lineFeed || $0 == ASCII.carriageReturn }) {
            let isBlank: (UInt8) -> Bool = { $0 == ASCII.space || $0 == ASCII.tab }
            guard let start = line.firstIndex(where: { !isBlank($0) }),
                let end = line.lastIndex(where: { !isBlank($0) })
            else { continue }
            if !body(UnsafeRawBufferPointer(rebasing: text[start...end])) { return }
        }
    }

    private static func isJWT(_ text: [UInt8]) -> Bool {
        let parts = text.split(separator: ASCII.dot, omittingEmptySubsequences: false)
        return parts.count == 3 && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy(Base64URL.isDigit) }
    }
}
