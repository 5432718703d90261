// The little JSON that commands print. Pure functions; values are JSON texts already.

import PaniniObservability

enum JSONText {
    static func string(_ text: String?) -> String {
        guard let text else { return "null" }
        var bytes: [UInt8] = [0x22]
        // For a program the escapes mean the same, and whoever looks at it in a terminal is not fooled.
        VisibleText.append(text, .json, to: &bytes)
        bytes.append(0x22)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func array(_ values: [String]) -> String {
        "[" + values.joined(separator: ", ") + "]"
    }

    /// Members in the given order.
    static func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\(string($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }
}
