// A dictionary key made of bytes. It exists so that the broker can look up a subject, a token or a subscription id
// straight from the read buffer: a borrowed key points at bytes that someone else keeps, costs no allocation and must
// not outlive them; an owned key carries its own copy and is what dictionaries store. Plain value, any thread.

/// Bytes as a dictionary key, with a number in front of them that tells key spaces apart (the parent node in a trie).
package struct ByteKey: Hashable {
    private let space: UInt32
    private let bytes: UnsafeRawBufferPointer
    /// Keeps `bytes` alive; nil for a borrowed key.
    private let storage: Storage?

    /// A key for a lookup only: valid while `bytes` is.
    package init(borrowing bytes: UnsafeRawBufferPointer, space: UInt32 = 0) {
        self.space = space
        self.bytes = bytes
        self.storage = nil
    }

    /// A key that may be stored: it has a copy of `bytes`.
    package init(copying bytes: UnsafeRawBufferPointer, space: UInt32 = 0) {
        let storage = Storage(bytes)
        self.space = space
        self.bytes = UnsafeRawBufferPointer(storage.bytes)
        self.storage = storage
    }

    package static func == (left: ByteKey, right: ByteKey) -> Bool {
        left.space == right.space && left.bytes.elementsEqual(right.bytes)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(space)
        hasher.combine(bytes: bytes)
    }

    /// The copy behind an owned key, freed with the last key that uses it.
    private final class Storage {
        let bytes: UnsafeMutableRawBufferPointer

        init(_ source: UnsafeRawBufferPointer) {
            bytes = .allocate(byteCount: source.count, alignment: 1)
            bytes.copyMemory(from: source)
        }

        deinit {
            bytes.deallocate()
        }
    }
}

@available(*, unavailable)
extension ByteKey: Sendable {}
