// Why a JSON text could not be read or a value not be written, and where.

/// A JSON text that is none, or a Lua value that has no JSON form.
package struct LuaJSONError: Error, Equatable, CustomStringConvertible {
    /// What is wrong; the names are stable.
    package enum Kind: String, Equatable {
        // Reading.
        case unexpectedEnd
        case unexpectedByte
        case byteOrderMark
        case trailingText
        case invalidNumber
        case numberOutOfRange
        case controlCharacter
        case invalidEscape
        case loneSurrogate
        // Both.
        case invalidUTF8
        case tooDeep
        case tooLarge
        case memory
        case time
        // Writing.
        case unsupportedType
        case mixedTable
        case sparseArray
        case invalidKey
        case notFinite
        case cycle
    }

    package let kind: Kind
    /// One sentence without the place.
    package let message: String
    /// "key6.items[3]", positions count from 1; empty for the value itself.
    package let path: String
    /// The byte of the text, from 0, when reading.
    package let offset: Int?

    package var description: String {
        var text = message
        if !path.isEmpty { text += " at \(path)" }
        if let offset { text += " (byte \(offset + 1))" }
        return text
    }
}

/// Steps from the root to a value, gathered from the innermost outwards while a failure unwinds.
struct JSONPath {
    private var steps: [String] = []

    mutating func prepend(position: Int) {
        steps.append("[\(position)]")
    }

    mutating func prepend(key: UnsafeRawBufferPointer) {
        let shown = key.prefix(64)
        let isPlain =
            !shown.isEmpty
            && shown.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                    true
                default: byte >= 0x80
                }
            }
        let text = String(decoding: shown, as: UTF8.self) + (key.count > shown.count ? "..." : "")
        steps.append(isPlain ? ".\(text)" : "[\"\(text)\"]")
    }

    var description: String {
        let joined = steps.reversed().joined()
        return joined.hasPrefix(".") ? String(joined.dropFirst()) : joined
    }
}

/// Memory that the codec uses for every message: made once per state.
struct JSONWorkspace {
    /// How many keys of an object are compared by address to find duplicates.
    static let comparedKeys = 8

    let depth: Int
    /// Identity of the metatable that marks arrays.
    let arrayMetatable: UnsafeRawPointer?
    /// The tables around the one being written.
    let ancestors: UnsafeMutablePointer<UnsafeRawPointer?>
    /// Addresses of the first keys of each open object.
    let keys: UnsafeMutablePointer<UnsafeRawPointer?>

    init(depth: Int, arrayMetatable: UnsafeRawPointer?) {
        self.depth = depth
        self.arrayMetatable = arrayMetatable
        // Left as they come: entries are written before they are read, and pages that nobody touches cost nothing.
        // With a thousand services in one program that is nine megabytes.
        ancestors = .allocate(capacity: depth + 1)
        keys = .allocate(capacity: (depth + 1) * JSONWorkspace.comparedKeys)
    }

    func deallocate() {
        ancestors.deallocate()
        keys.deallocate()
    }
}
