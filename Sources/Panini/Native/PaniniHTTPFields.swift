// Owns: the header fields of HTTP as plain values. Any thread.

/// Header fields: names, which are compared without regard to case, and values, in order.
public struct PaniniHTTPFields: Sendable, Sequence, ExpressibleByDictionaryLiteral {
    /// One field.
    public typealias Field = (name: String, value: String)

    private var fields: [Field] = []

    /// No fields.
    public init() {}

    /// Fields in order.
    ///
    /// - Parameter fields: Names and values.
    public init(_ fields: some Sequence<Field>) { self.fields = Array(fields) }

    /// Fields as a literal, in its order; a name may stand there more than once.
    public init(dictionaryLiteral elements: (String, String)...) {
        fields = elements.map { ($0, $1) }
    }

    /// The first value of a name; setting one replaces all of its values, nil removes them.
    public subscript(name: String) -> String? {
        get { fields.first { Self.isSame($0.name, name) }?.value }
        set {
            fields.removeAll { Self.isSame($0.name, name) }
            if let newValue { fields.append((name, newValue)) }
        }
    }

    /// All values of a name, in order.
    ///
    /// - Parameter name: The name.
    public func values(_ name: String) -> [String] {
        fields.compactMap { Self.isSame($0.name, name) ? $0.value : nil }
    }

    /// Adds a field, beside others of the same name.
    ///
    /// - Parameters:
    ///   - name: The name.
    ///   - value: One line of text.
    public mutating func add(_ name: String, _ value: String) { fields.append((name, value)) }

    /// How many fields there are.
    public var count: Int { fields.count }

    /// The fields in order.
    public func makeIterator() -> IndexingIterator<[Field]> { fields.makeIterator() }

    private static func isSame(_ one: String, _ other: String) -> Bool {
        one.utf8.count == other.utf8.count && zip(one.utf8, other.utf8).allSatisfy { lower($0) == lower($1) }
    }

    private static func lower(_ byte: UInt8) -> UInt8 { (65...90).contains(byte) ? byte | 0x20 : byte }
}
