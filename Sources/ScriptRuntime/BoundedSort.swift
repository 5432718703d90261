// Owns: putting in order what a script has handed over, which may be much. Worker's thread, during the call.

import Glibc
package import LuaVM

/// Texts in the order of their bytes.
///
/// The order of Swift's `String` looks at characters: a long text of combining marks takes a hundred times as long.
package enum ByteOrder {
    package static func precedes(_ one: UnsafeRawBufferPointer, _ other: UnsafeRawBufferPointer) -> Bool {
        guard let first = one.baseAddress, let second = other.baseAddress else { return one.count < other.count }
        let order = memcmp(first, second, min(one.count, other.count))
        return order == 0 ? one.count < other.count : order < 0
    }

    package static func precedes(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        one.withUnsafeBytes { one in other.withUnsafeBytes { precedes(one, $0) } }
    }

    package static func precedes(_ one: String, _ other: String) -> Bool {
        var (one, other) = (one, other)
        return one.withUTF8 { one in
            other.withUTF8 { precedes(UnsafeRawBufferPointer(one), UnsafeRawBufferPointer($0)) }
        }
    }
}

extension LuaVM {
    private struct RunIsOver: Error {}

    /// The elements in order. It looks between comparisons whether the run is to end.
    ///
    /// - Returns: Nil when the run is to end.
    package func sorted<Element>(
        _ elements: [Element],
        by precedes: (_ one: Element, _ other: Element) -> Bool
    ) -> [Element]? {
        try? elements.sorted { one, other in
            if isRunOver { throw RunIsOver() }
            return precedes(one, other)
        }
    }
}

extension [String] {
    /// Whether it has a text of the same bytes. A long text is not looked at: Swift's `==` looks at its characters.
    func holds(_ text: String) -> Bool { contains { $0.utf8.count == text.utf8.count && $0 == text } }
}

extension HostCall {
    /// The elements in order.
    ///
    /// - Throws: The run is to end.
    package func sorted<Element>(
        _ elements: [Element],
        by precedes: (_ one: Element, _ other: Element) -> Bool
    ) throws(UsageError) -> [Element] {
        guard let sorted = script.vm.sorted(elements, by: precedes) else {
            throw UsageError("\(name): the run is over")
        }
        return sorted
    }
}
