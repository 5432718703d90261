// Owns: a Lua pattern as the regular expression of a JSON Schema, where there is one. Pure; any thread.

import Bytes
import CScriptObjects

extension LuaPattern {
    /// The expression, anchored at both ends; nil when the pattern can say more (`%b`), or cuts characters into bytes.
    var regularExpression: String? {
        var text = "^"
        var index = 0
        while index < items.count {
            let item = items[index]
            index += 1
            switch item.kind {
            case Int(PANINI_PATTERN_OPEN): text += "("
            case Int(PANINI_PATTERN_CLOSE): text += ")"
            case Int(PANINI_PATTERN_POSITION): text += "()"
            case Int(PANINI_PATTERN_REFERENCE): text += "(?:\\\(item.a + 1))"
            case Int(PANINI_PATTERN_FRONTIER):
                guard let frontier = frontier(sets[Int(item.a)]) else { return nil }
                text += frontier
            case Int(PANINI_PATTERN_BYTE) where item.a >= 0x80:
                guard let character = character(&index) else { return nil }
                text += character
            case Int(PANINI_PATTERN_BYTE): text += Self.escaped(item.a) + Self.repetition(item)
            case Int(PANINI_PATTERN_ANY): text += "[\\s\\S]" + Self.repetition(item)
            case Int(PANINI_PATTERN_SET):
                guard let set = Self.expression(sets[Int(item.a)]) else { return nil }
                text += set + Self.repetition(item)
            default: return nil
            }
        }
        return text + "$"
    }

    private static func repetition(_ item: Item) -> String {
        ["", "*", "+", "*?", "?"][item.repetition]
    }

    /// The bytes of one character that is not ASCII; only whole ones have an expression.
    private func character(_ index: inout Int) -> String? {
        var bytes = [items[index - 1].a]
        guard items[index - 1].repetition == Int(PANINI_ONCE) else { return nil }
        while index < items.count, items[index].kind == Int(PANINI_PATTERN_BYTE), items[index].a & 0xC0 == 0x80 {
            guard items[index].repetition == Int(PANINI_ONCE) else { return nil }
            bytes.append(items[index].a)
            index += 1
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private func frontier(_ set: ByteSet) -> String? {
        var complement = set
        complement.formComplement()
        guard let inside = Self.expression(set) else { return nil }
        guard set.contains(0) else { return "(?<!\(inside))(?=\(inside))" }
        guard let outside = Self.expression(complement) else { return nil }
        return "(?<=\(outside))(?=\(inside)|$)"
    }

    /// A class; nil when it tells some bytes beyond ASCII from others.
    private static func expression(_ set: ByteSet) -> String? {
        let beyond = (UInt8(0x80)...0xFF).count { set.contains($0) }
        guard beyond == 0 || beyond == 128 else { return nil }
        let isComplement = beyond == 128
        var text = ""
        var byte = 0
        while byte < 0x80 {
            guard set.contains(UInt8(byte)) != isComplement else {
                byte += 1
                continue
            }
            let first = byte
            while byte < 0x7F, set.contains(UInt8(byte + 1)) != isComplement { byte += 1 }
            text += escaped(UInt8(first))
            if byte > first { text += (byte > first + 1 ? "-" : "") + escaped(UInt8(byte)) }
            byte += 1
        }
        // Empty classes are not every dialect's.
        if text.isEmpty { return isComplement ? "[\\s\\S]" : "(?!)" }
        return (isComplement ? "[^" : "[") + text + "]"
    }

    private static func escaped(_ byte: UInt8) -> String {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: " "), UInt8(ascii: "@"),
            UInt8(ascii: ","), UInt8(ascii: ":"):
            String(UnicodeScalar(byte))
        default:
            "\\u00" + String(decoding: [Hex.digit(byte >> 4), Hex.digit(byte)], as: UTF8.self)
        }
    }
}
