// Growable bytes for everything that is encoded: one block of memory, reused from message to message. Lives on one
// thread. Knows nothing of what is written into it.
internal import Bytes

#if canImport(Glibc)
internal import Glibc
#else
internal import Darwin
#endif

/// The storage behind a ``ByteWriter``, as a plain value so that hot loops work on a local copy of it.
package struct ByteStorage {
    package var base: UnsafeMutablePointer<UInt8>
    package var count: Int
    package var capacity: Int

    /// Makes room for `extra` more bytes.
    @inline(__always)
    package mutating func reserve(_ extra: Int) {
        if capacity &- count < extra { grow(extra) }
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        let (needed, overflow) = count.addingReportingOverflow(extra)
        precondition(!overflow, "more bytes than an address space holds")
        let wanted = max(needed, capacity &* 2)
        guard let block = realloc(base, wanted) else { fatalError("out of memory: \(wanted) bytes for a message") }
        base = block.assumingMemoryBound(to: UInt8.self)
        capacity = wanted
    }

    /// Appends without looking at the capacity: `reserve` came before.
    @inline(__always)
    mutating func put(_ byte: UInt8) {
        base[count] = byte
        count &+= 1
    }
}

/// Growable bytes, malloc'ed and reused. Not Sendable: one owner, one thread.
package final class ByteWriter {
    /// A stable address, so that no access to it is checked for exclusivity on the way of a message.
    package let storage: UnsafeMutablePointer<ByteStorage>

    package init(minimumCapacity: Int = 128) {
        let capacity = max(minimumCapacity, 64)
        guard let block = malloc(capacity) else { fatalError("out of memory: \(capacity) bytes for a message") }
        storage = .allocate(capacity: 1)
        storage.initialize(
            to: ByteStorage(base: block.assumingMemoryBound(to: UInt8.self), count: 0, capacity: capacity)
        )
    }

    deinit {
        free(storage.pointee.base)
        storage.deallocate()
    }

    package var count: Int { storage.pointee.count }

    package var capacity: Int { storage.pointee.capacity }

    /// The bytes written so far; valid until the next change.
    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: storage.pointee.base, count: storage.pointee.count)
    }

    package func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(bytes)
    }

    package func append(_ byte: UInt8) {
        storage.pointee.reserve(1)
        storage.pointee.put(byte)
    }

    package func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        storage.pointee.reserve(bytes.count)
        memcpy(storage.pointee.base + storage.pointee.count, source, bytes.count)
        storage.pointee.count &+= bytes.count
    }

    package func append(_ text: StaticString) {
        text.withUTF8Buffer { append(UnsafeRawBufferPointer($0)) }
    }

    package func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends the decimal digits of `number`.
    package func append(decimal number: Int64) {
        storage.pointee.reserve(20)
        storage.pointee.putDecimal(number)
    }

    /// Drops what was written after the first `count` bytes.
    package func truncate(to count: Int) {
        precondition(count >= 0 && count <= storage.pointee.count)
        storage.pointee.count = count
    }

    /// What is kept from one use to the next; a rare large message does not cost its memory for ever.
    package static let keptCapacity = 1 << 20

    package func removeAll(keepingCapacity: Bool = true) {
        storage.pointee.count = 0
        if !keepingCapacity || storage.pointee.capacity > Self.keptCapacity { shrink(to: 64) }
    }

    @inline(never)
    private func shrink(to capacity: Int) {
        guard let block = realloc(storage.pointee.base, capacity) else { return }
        storage.pointee.base = block.assumingMemoryBound(to: UInt8.self)
        storage.pointee.capacity = capacity
    }
}

extension ByteWriter: ByteSink {}

@available(*, unavailable)
extension ByteWriter: Sendable {}

extension ByteStorage {
    /// Appends the decimal digits of `number`; 20 bytes were reserved.
    @inline(__always)
    mutating func putDecimal(_ number: Int64) {
        if number >= 0 && number < 10 {
            put(UInt8(truncatingIfNeeded: number) &+ 0x30)
            return
        }
        putLongDecimal(number)
    }

    private mutating func putLongDecimal(_ number: Int64) {
        var rest = number.magnitude
        if number < 0 { put(0x2D) }
        var digits = 1
        var bound: UInt64 = 10
        while digits < 19, rest >= bound {
            digits &+= 1
            bound = bound &* 10
        }
        if digits == 19, rest >= 10_000_000_000_000_000_000 { digits = 20 }
        var at = base + (count &+ digits)
        count &+= digits
        repeat {
            at -= 1
            let next = rest / 10
            at.pointee = UInt8(truncatingIfNeeded: rest &- next &* 10) &+ 0x30
            rest = next
        } while rest != 0
    }
}
