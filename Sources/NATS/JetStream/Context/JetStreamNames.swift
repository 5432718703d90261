// Owns: which names and subjects may go into the subjects of the API. A blank or a tab there makes the server close the
// connection (A1), so everything is checked before it is sent. Pure functions, any thread.

import Bytes
import NATSProtocol

enum JetStreamNames {
    static let longestName = 255

    /// Refuses what cannot name a stream or a consumer: 1 to 255 bytes, none of `. * > / \`, no white space and no
    /// control character (A4).
    static func check(_ name: String, _ what: StaticString) throws(JetStreamError) {
        let bytes = name.utf8
        guard !bytes.isEmpty, bytes.count <= longestName, bytes.allSatisfy(isNameByte) else {
            throw JetStreamError(.invalidName, "\"\(name)\" cannot name a \(what)")
        }
    }

    /// Refuses what no subject can be filtered by.
    static func checkFilter(_ subject: String) throws(JetStreamError) {
        guard NATSSubject.isValidForSubscribe(subject) else {
            throw JetStreamError(.invalidName, "\"\(subject)\" is no subject")
        }
    }

    /// Refuses what nothing can be published to.
    static func checkSubject(_ subject: String) throws(JetStreamError) {
        guard NATSSubject.isValidForPublish(subject) else {
            throw JetStreamError(.invalidName, "cannot publish to \"\(subject)\"")
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0...ASCII.space, 0x7F, ASCII.dot, ASCII.star, ASCII.greater, ASCII.slash, UInt8(ascii: "\\"): false
        default: true
        }
    }
}
