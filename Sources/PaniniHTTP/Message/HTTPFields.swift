// Owns: the header fields of a request or a response. A value; any thread.

import Bytes

/// Header fields: names, which are compared without regard to case, and values, in order.
package struct HTTPFields: Sendable, Sequence, ExpressibleByArrayLiteral {
    /// One field.
    package typealias Element = (name: String, value: String)

    /// The fields in order.
    package private(set) var all: [Element]

    /// No fields.
    package init() { all = [] }

    /// Fields in order.
    package init(_ fields: some Sequence<Element>) { all = Array(fields) }

    /// Fields as a literal, in its order; a name may stand there more than once.
    package init(arrayLiteral elements: Element...) { all = elements }

    package var isEmpty: Bool { all.isEmpty }

    package var count: Int { all.count }

    package func makeIterator() -> IndexingIterator<[Element]> { all.makeIterator() }

    /// How many bytes the fields are in a head, with their line ends.
    var headBytes: Int {
        var bytes = 0
        for (name, value) in all { bytes += name.utf8.count + value.utf8.count + 4 }
        return bytes
    }

    // MARK: - Names

    /// The first value of a name; setting one replaces all of its values, nil removes them.
    package subscript(name: String) -> String? {
        get { all.first { Self.isSame($0.name, name) }?.value }
        set {
            all.removeAll { Self.isSame($0.name, name) }
            if let newValue { all.append((name, newValue)) }
        }
    }

    /// All values of a name, in order.
    package func values(_ name: String) -> [String] {
        all.compactMap { Self.isSame($0.name, name) ? $0.value : nil }
    }

    package func contains(_ name: String) -> Bool { all.contains { Self.isSame($0.name, name) } }

    private static func isSame(_ one: String, _ other: String) -> Bool {
        ASCII.equals(one.utf8, ignoringCase: other.utf8)
    }

    // MARK: - Changes

    /// Adds a field, beside others of the same name.
    package mutating func add(_ name: String, _ value: String) { all.append((name, value)) }

    /// Adds fields behind those that are there.
    package mutating func add(_ others: HTTPFields) { all += others.all }

    /// Removes the fields whose names are meant.
    package mutating func removeAll(where isMeant: (_ name: String) -> Bool) { all.removeAll { isMeant($0.name) } }

    /// The fields with others behind them.
    package func adding(_ others: HTTPFields) -> HTTPFields {
        if others.isEmpty { return self }
        if isEmpty { return others }
        return HTTPFields(all + others.all)
    }

    /// The fields, and of the others those whose names are not among them.
    package func completed(by others: HTTPFields) -> HTTPFields {
        isEmpty ? others : HTTPFields(all + others.all.filter { !contains($0.name) })
    }
}

extension HTTPFields: Equatable {
    package static func == (left: HTTPFields, right: HTTPFields) -> Bool {
        left.all.elementsEqual(right.all) { $0 == $1 }
    }
}
