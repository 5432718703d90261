// Owns: reading the method at the beginning of a request, whatever it is: the parser behind it knows a fixed set only. A
// value without I/O; any thread.

import Bytes

/// Reads bytes up to the blank behind a method. Empty lines in front are passed over (RFC 9112, section 2.2).
struct HTTPMethodReader {
    enum Step: Equatable {
        /// All bytes are used up, and the method may go on.
        case more
        /// The method is complete: ``name``. So many bytes were used, the blank among them.
        case complete(count: Int)
        case refused(HTTPRefusalError)
    }

    /// What has been read of the method.
    private(set) var name: [UInt8] = []

    /// No method is longer (RFC 9110, section 16.1.1 lists those that are registered; the longest has 16 bytes).
    static let maximumBytes = 64

    mutating func read(_ bytes: UnsafeRawBufferPointer) -> Step {
        var index = 0
        if name.isEmpty {
            while index < bytes.count, bytes[index] == 0x0D || bytes[index] == 0x0A { index += 1 }
        }
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if byte == 0x20, !name.isEmpty { return .complete(count: index) }
            guard ASCII.isTokenByte(byte) else { return .refused(Self.invalid) }
            guard name.count < Self.maximumBytes else { return .refused(Self.tooLong) }
            name.append(byte)
        }
        return .more
    }

    mutating func clear() { name.removeAll(keepingCapacity: true) }

    /// What is wrong with a method that came as text; nil when it can be one.
    static func refusal(of method: String) -> HTTPRefusalError? {
        guard !method.isEmpty, method.utf8.allSatisfy(ASCII.isTokenByte) else { return invalid }
        return method.utf8.count > maximumBytes ? tooLong : nil
    }

    private static let invalid = HTTPRefusalError(
        .method,
        "this is no request of HTTP: it does not begin with a method"
    )
    private static let tooLong = HTTPRefusalError(
        .method,
        "a method of more than \(maximumBytes) bytes is not known here",
        kind: .unsupported,
        status: 501
    )
}
