// Writes a JSON object member by member, in the order it is told. A value, any thread; not for hot paths.

/// Builds one JSON object, member by member.
package struct JSONObjectWriter {
    private var bytes: [UInt8] = [UInt8(ascii: "{")]
    private var isFirst = true

    package init() {}

    private mutating func name(_ name: String) {
        if !isFirst { bytes.append(UInt8(ascii: ",")) }
        isFirst = false
        JSONValue.appendString(name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
    }

    package mutating func member(_ name: String, _ value: String) {
        self.name(name)
        JSONValue.appendString(value, to: &bytes)
    }

    package mutating func member(_ name: String, _ value: UInt64) {
        self.name(name)
        bytes.append(contentsOf: String(value).utf8)
    }

    package mutating func member(_ name: String, _ value: Bool) {
        self.name(name)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// Texts by name, in the order of their names; an empty object when there are none.
    package mutating func member(_ name: String, _ values: [String: String]) {
        var object = JSONObjectWriter()
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            object.member(key, value)
        }
        self.name(name)
        bytes.append(contentsOf: object.finish())
    }

    package mutating func members<Element>(
        _ name: String,
        _ elements: [Element],
        _ write: (inout JSONObjectWriter, Element) -> Void
    ) {
        self.name(name)
        bytes.append(UInt8(ascii: "["))
        for (index, element) in elements.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            var object = JSONObjectWriter()
            write(&object, element)
            bytes.append(contentsOf: object.finish())
        }
        bytes.append(UInt8(ascii: "]"))
    }

    package consuming func finish() -> [UInt8] {
        bytes.append(UInt8(ascii: "}"))
        return bytes
    }
}
