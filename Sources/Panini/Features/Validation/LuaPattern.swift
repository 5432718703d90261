// Owns: compiling a Lua pattern into the program that the matcher of CScriptObjects runs. Pure; any thread. The syntax is the manual's
// (section 6.4.1), with classes of ASCII whatever the locale; what is wrong is found here, not when a message comes.

import CScriptObjects

/// A Lua pattern for whole strings, compiled.
struct LuaPattern {
    /// Why a text is no pattern.
    struct Invalid: Error {
        let message: String

        init(_ message: String) { self.message = message }
    }

    /// The longest text of a pattern, in bytes: items are few, and a set in brackets has 256 bytes at most to name.
    static let longestText = 65_536

    struct Item {
        var kind: Int
        var repetition = Int(PANINI_ONCE)
        var a: UInt8 = 0
        var b: UInt8 = 0
    }

    private(set) var items: [Item] = []
    private(set) var sets: [ByteSet] = []

    private let text: [UInt8]
    private var at = 0
    private var end: Int
    private var captures = 0
    private var open: [Int] = []
    private var closed: Set<Int> = []

    init(_ text: [UInt8]) throws(Invalid) {
        guard text.count <= Self.longestText else { throw Invalid("too long: more than \(Self.longestText) bytes") }
        self.text = text
        end = text.count
        // The anchors say what holds anyway.
        if text.first == UInt8(ascii: "^") { at = 1 }
        if end > at, text[end - 1] == UInt8(ascii: "$"), !isEscaped(end - 1) { end -= 1 }
        while at < end {
            try item()
            guard items.count <= Int(PANINI_PATTERN_ITEMS) else {
                throw Invalid("too long: more than \(PANINI_PATTERN_ITEMS) items")
            }
        }
        guard open.isEmpty else { throw Invalid("unfinished capture") }
    }

    /// The bytes for `panini_pattern_matches`.
    var program: [UInt8] {
        var bytes = [UInt8(items.count & 255), UInt8(items.count >> 8)]
        for item in items { bytes += [UInt8(item.kind), UInt8(item.repetition), item.a, item.b] }
        for set in sets { bytes += set.bytes }
        return bytes
    }

    /// Whether an odd number of percent signs stands before a byte.
    private func isEscaped(_ position: Int) -> Bool {
        var count = 0
        while position - count > at, text[position - count - 1] == UInt8(ascii: "%") { count += 1 }
        return count % 2 == 1
    }

    private mutating func item() throws(Invalid) {
        switch text[at] {
        case UInt8(ascii: "("):
            at += 1
            captures += 1
            guard captures <= Int(PANINI_PATTERN_CAPTURES) else { throw Invalid("too many captures") }
            if at < end, text[at] == UInt8(ascii: ")") {
                at += 1
                return items.append(Item(kind: Int(PANINI_PATTERN_POSITION)))
            }
            open.append(captures - 1)
            items.append(Item(kind: Int(PANINI_PATTERN_OPEN), a: UInt8(captures - 1)))
        case UInt8(ascii: ")"):
            at += 1
            guard let capture = open.popLast() else { throw Invalid("a ) without its (") }
            closed.insert(capture)
            items.append(Item(kind: Int(PANINI_PATTERN_CLOSE), a: UInt8(capture)))
        case UInt8(ascii: "%") where at + 1 < end && text[at + 1] == UInt8(ascii: "b"):
            guard at + 3 < end else { throw Invalid("%b needs two characters") }
            items.append(Item(kind: Int(PANINI_PATTERN_BALANCE), a: text[at + 2], b: text[at + 3]))
            at += 4
        case UInt8(ascii: "%") where at + 1 < end && text[at + 1] == UInt8(ascii: "f"):
            at += 2
            guard at < end, text[at] == UInt8(ascii: "[") else { throw Invalid("%f needs a set in brackets") }
            let set = try bracketed()
            items.append(Item(kind: Int(PANINI_PATTERN_FRONTIER), a: try add(set)))
        case UInt8(ascii: "%") where at + 1 < end && (0x30...0x39).contains(text[at + 1]):
            let capture = Int(text[at + 1]) - 0x31
            guard closed.contains(capture) else { throw Invalid("%\(capture + 1) refers to no finished capture") }
            items.append(Item(kind: Int(PANINI_PATTERN_REFERENCE), a: UInt8(capture)))
            at += 2
        default:
            try single()
        }
    }

    /// One character or class, and how often.
    private mutating func single() throws(Invalid) {
        var item: Item
        switch text[at] {
        case UInt8(ascii: "."):
            at += 1
            item = Item(kind: Int(PANINI_PATTERN_ANY))
        case UInt8(ascii: "%"):
            guard at + 1 < end else { throw Invalid("ends with a %") }
            if ByteSet.isClass(text[at + 1]) {
                item = Item(kind: Int(PANINI_PATTERN_SET), a: try add(ByteSet(class: text[at + 1])))
            } else {
                item = Item(kind: Int(PANINI_PATTERN_BYTE), a: text[at + 1])
            }
            at += 2
        case UInt8(ascii: "["):
            item = Item(kind: Int(PANINI_PATTERN_SET), a: try add(try bracketed()))
        default:
            item = Item(kind: Int(PANINI_PATTERN_BYTE), a: text[at])
            at += 1
        }
        if at < end {
            switch text[at] {
            case UInt8(ascii: "*"): item.repetition = Int(PANINI_STAR)
            case UInt8(ascii: "+"): item.repetition = Int(PANINI_PLUS)
            case UInt8(ascii: "-"): item.repetition = Int(PANINI_LAZY)
            case UInt8(ascii: "?"): item.repetition = Int(PANINI_OPTIONAL)
            default: at -= 1
            }
            at += 1
        }
        items.append(item)
    }

    private mutating func add(_ set: ByteSet) throws(Invalid) -> UInt8 {
        if let known = sets.firstIndex(where: { $0.bytes == set.bytes }) { return UInt8(known) }
        guard sets.count < 255 else { throw Invalid("too many sets") }
        sets.append(set)
        return UInt8(sets.count - 1)
    }

    /// A set in brackets; the first character after the bracket is one of it, whatever it is.
    private mutating func bracketed() throws(Invalid) -> ByteSet {
        at += 1
        var isComplement = false
        if at < end, text[at] == UInt8(ascii: "^") {
            isComplement = true
            at += 1
        }
        var close = at
        repeat {
            guard close < end else { throw Invalid("a [ without its ]") }
            let isEscape = text[close] == UInt8(ascii: "%")
            close += 1
            if isEscape, close < end { close += 1 }
        } while close >= end || text[close] != UInt8(ascii: "]")
        var set = ByteSet()
        while at < close {
            if text[at] == UInt8(ascii: "%"), at + 1 < end {
                if ByteSet.isClass(text[at + 1]) {
                    set.formUnion(ByteSet(class: text[at + 1]))
                } else {
                    set.insert(text[at + 1])
                }
                at += 2
            } else if at + 2 < close, text[at + 1] == UInt8(ascii: "-") {
                if text[at] <= text[at + 2] {
                    for byte in text[at]...text[at + 2] { set.insert(byte) }
                }
                at += 3
            } else {
                set.insert(text[at])
                at += 1
            }
        }
        at = close + 1
        if isComplement { set.formComplement() }
        return set
    }
}

/// A set of bytes.
struct ByteSet {
    private(set) var bytes = [UInt8](repeating: 0, count: 32)

    init() {}

    /// A class of the manual, by its letter; a capital letter is the complement.
    init(class letter: UInt8) {
        let isIn: (UInt8) -> Bool =
            switch letter | 0x20 {
            case UInt8(ascii: "a"): Self.isLetter
            case UInt8(ascii: "c"): { $0 < 0x20 || $0 == 0x7F }
            case UInt8(ascii: "d"): Self.isDigit
            case UInt8(ascii: "g"): { $0 > 0x20 && $0 < 0x7F }
            case UInt8(ascii: "l"): { $0 >= 0x61 && $0 <= 0x7A }
            case UInt8(ascii: "p"): { $0 > 0x20 && $0 < 0x7F && !Self.isLetter($0) && !Self.isDigit($0) }
            case UInt8(ascii: "s"): { $0 == 0x20 || ($0 >= 0x09 && $0 <= 0x0D) }
            case UInt8(ascii: "u"): { $0 >= 0x41 && $0 <= 0x5A }
            case UInt8(ascii: "w"): { Self.isLetter($0) || Self.isDigit($0) }
            case UInt8(ascii: "x"): { Self.isDigit($0) || ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x66) }
            default: { $0 == 0 }
            }
        for byte in UInt8.min...UInt8.max where isIn(byte) { insert(byte) }
        if letter & 0x20 == 0 { formComplement() }
    }

    /// Whether a letter behind a percent sign names a class. `z`, the zero byte, is old and still understood.
    static func isClass(_ byte: UInt8) -> Bool {
        isLetter(byte) && "acdglpsuwxz".utf8.contains(byte | 0x20)
    }

    private static func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    func contains(_ byte: UInt8) -> Bool { bytes[Int(byte >> 3)] >> (byte & 7) & 1 != 0 }

    mutating func insert(_ byte: UInt8) { bytes[Int(byte >> 3)] |= 1 << (byte & 7) }

    mutating func formUnion(_ other: ByteSet) {
        for index in bytes.indices { bytes[index] |= other.bytes[index] }
    }

    mutating func formComplement() {
        for index in bytes.indices { bytes[index] = ~bytes[index] }
    }
}
