// Owns: the credentials in front of a server's address, `user:password@` or `token@`. Pure, any thread. What it takes off an
// address never appears in an error.

import Bytes
import NATSProtocol

extension NATSServerAddress: CustomReflectable {
    /// The address as its ``description`` tells it: whoever dumps a configuration sees no secret.
    public var customMirror: Mirror { Mirror(self, children: ["address": description]) }

    struct UserInfo {
        var user: String?
        var password: String?
    }

    /// Takes what stands between the scheme and the last `@` off `text`, percent-decoded. A user without a password is
    /// a token.
    ///
    /// - Throws: ``NATSError`` with code ``NATSError/Code/invalidAddress``.
    static func takeUserInfo(from text: inout String) throws(NATSError) -> UserInfo {
        guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")) else { return UserInfo() }
        let slashes = text[..<at].utf8.firstIndex(of: ASCII.colon).flatMap { colon in
            text[colon...].begins(with: "://") ? text.utf8.index(colon, offsetBy: 3) : nil
        }
        let start = slashes ?? text.startIndex
        let info = text[start..<at]
        text = String(text[..<start]) + String(text[text.utf8.index(after: at)...])
        let colon = info.utf8.firstIndex(of: ASCII.colon)
        let user = info[..<(colon ?? info.endIndex)]
        let password = colon.map { info[info.utf8.index(after: $0)...] }
        guard !user.isEmpty, !info.utf8.contains(ASCII.slash) else {
            throw NATSError(
                .invalidAddress,
                "cannot use the credentials in front of \"\(text)\" as user:password or token"
            )
        }
        var result = UserInfo()
        result.user = decoded(user)
        result.password = password.flatMap(decoded)
        guard result.user != nil, password == nil || result.password != nil else {
            throw NATSError(.invalidAddress, "the credentials in front of \"\(text)\" are not well percent-encoded")
        }
        return result
    }

    /// `text` with every `%41` replaced by the byte it stands for; nil when something else follows a `%`, or when the
    /// bytes are no UTF-8.
    private static func decoded(_ text: Substring) -> String? {
        PercentCoding.decoded(text.utf8).flatMap { String(validating: $0, as: UTF8.self) }
    }
}
