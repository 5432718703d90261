// Owns: the header fields of HTTP as what embedders see of them. Any thread.

import PaniniHTTP

/// Header fields: names, which are compared without regard to case, and values, in order.
public struct PaniniHTTPFields: Sendable, Sequence, ExpressibleByDictionaryLiteral {
    /// One field.
    public typealias Field = (name: String, value: String)

    private var fields = HTTPFields()

    /// No fields.
    public init() {}

    /// Fields in order.
    ///
    /// - Parameter fields: Names and values.
    public init(_ fields: some Sequence<Field>) { self.fields = HTTPFields(fields) }

    /// Fields as a literal, in its order; a name may stand there more than once.
    public init(dictionaryLiteral elements: (String, String)...) {
        fields = HTTPFields(elements.lazy.map { (name: $0, value: $1) })
    }

    /// The first value of a name; setting one replaces all of its values, nil removes them.
    public subscript(name: String) -> String? {
        get { fields[name] }
        set { fields[name] = newValue }
    }

    /// All values of a name, in order.
    ///
    /// - Parameter name: The name.
    public func values(_ name: String) -> [String] { fields.values(name) }

    /// Adds a field, beside others of the same name.
    ///
    /// - Parameters:
    ///   - name: The name.
    ///   - value: One line of text.
    public mutating func add(_ name: String, _ value: String) { fields.add(name, value) }

    /// How many fields there are.
    public var count: Int { fields.count }

    /// The fields in order.
    public func makeIterator() -> IndexingIterator<[Field]> { fields.all.makeIterator() }
}
