// What must hold for any bytes that are read as WebSocket frames: the same whole and in pieces, every rule of RFC 6455, and
// no more memory than a message may have. Pure, any thread.

package import NATSFuzzSupport
import NIOCore
import PaniniHTTP

/// Checks of the reader of frames.
package enum WebSocketCheck {
    private static let maximumMessage = 300

    private enum Met: Equatable {
        case message(WebSocketKind, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(UInt16?, String)
        case failed(UInt16)
    }

    /// - Parameter input: Frames as they are; or, behind a byte that is even, what frames are made of.
    package static func check(_ input: [UInt8]) throws(FuzzFailure) {
        let bytes = input.first.map { $0 & 1 == 0 } == true ? frames(input.dropFirst()) : input
        let whole = try read(bytes, ends: [bytes.count])
        for longest in [1, 5, 80] {
            let ends = Cuts.make(bytes.count, longest: longest, seed: bytes.seed)
            let split = try read(bytes, ends: ends)
            try require(whole == split, "cut at \(ends) it means \(split), in one piece \(whole)")
        }
    }

    /// Frames with right masks and lengths: of each, a byte for what it is, one for its length, and its payload.
    private static func frames(_ input: ArraySlice<UInt8>) -> [UInt8] {
        var rest = input
        var bytes: [UInt8] = []
        while let kind = rest.popFirst() {
            let count = Int(rest.popFirst() ?? 0)
            let payload = Array(rest.prefix(count))
            rest = rest.dropFirst(count)
            bytes.append(kind)
            if payload.count < 126 {
                bytes.append(0x80 | UInt8(payload.count))
            } else {
                bytes += [0xFE, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
            }
            let mask: [UInt8] = [kind, 0x5A, UInt8(count), 1]
            bytes += mask
            for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index & 3]) }
        }
        return bytes
    }

    private static func read(_ bytes: [UInt8], ends: [Int]) throws(FuzzFailure) -> [Met] {
        var reader = WebSocketReader(maximumMessage: maximumMessage)
        var pending = ByteBuffer()
        var met: [Met] = []
        var at = 0
        for end in ends {
            pending.writeBytes(bytes[at..<end])
            at = end
            while true {
                let before = pending.readableBytes
                let event = reader.next(&pending)
                try require(pending.readableBytes <= before, "reading made bytes")
                try require(reader.heldBytes <= 4 * maximumMessage, "\(reader.heldBytes) bytes are held")
                guard let one = try take(event, &reader) else { break }
                met.append(one)
                if case .failed = one {
                    // There is no way on.
                    pending.writeBytes([0x81, 0x80, 0, 0, 0, 0])
                    try require(reader.next(&pending) == .needsMore, "something is read behind a failure")
                    return met
                }
            }
            // What is not understood yet is at most the head of a frame and a control frame.
            try require(pending.readableBytes <= 14 + 125, "\(pending.readableBytes) bytes wait")
        }
        return met
    }

    private static func take(
        _ event: WebSocketReader.Event,
        _ reader: inout WebSocketReader
    ) throws(FuzzFailure) -> Met? {
        switch event {
        case .needsMore: return nil
        case .message(let kind):
            let message = reader.takeMessage()
            let bytes = Array(message.readableBytesView)
            try require(bytes.count <= maximumMessage, "a message of \(bytes.count) bytes")
            if kind == .text { try require(String(validating: bytes, as: UTF8.self) != nil, "a text that is none") }
            reader.giveBack(message)
            return .message(kind, bytes)
        case .ping:
            try require(reader.control.readableBytes <= 125, "a ping of \(reader.control.readableBytes) bytes")
            return .ping(Array(reader.control.readableBytesView))
        case .pong: return .pong(Array(reader.control.readableBytesView))
        case .close(let code, let reason):
            if let code { try require(WebSocketCode.mayArrive(code), "a close code \(code)") }
            try require(reason.utf8.count <= WebSocketCode.maximumReason, "a reason of \(reason.utf8.count) bytes")
            return .close(code, reason)
        case .failed(let code, let reason):
            try require([1002, 1007, 1009].contains(code), "a failure of code \(code)")
            try require(!reason.isEmpty, "a failure without a reason")
            return .failed(code)
        }
    }
}
