// Owns: from bytes to messages: frames, masks, fragments, and every rule of RFC 6455 about them. A pure value; any thread.
//
// NIOWebSocket's decoder is not used: it lets unmasked frames, reserved bits and opcodes and overlong lengths pass, and holds
// a frame back until all of it is there, so that neither a bad character nor a message that is too large is found early.

import Bytes
package import NIOCore

/// Reads what a client sends.
package struct WebSocketReader {
    /// What the bytes so far amount to.
    package enum Event: Equatable {
        /// Nothing more until more bytes are there.
        case needsMore
        /// A message is complete: ``takeMessage()`` has it.
        case message(WebSocketKind)
        /// ``control`` is what is to be sent back.
        case ping
        case pong
        /// A code of nil: the frame was empty.
        case close(UInt16?, String)
        /// The peer is wrong; nothing more is read.
        case failed(UInt16, String)
    }

    private enum State {
        case head
        /// Inside the payload of a data frame.
        case data(isLast: Bool, remaining: Int)
        /// A control frame of which all bytes are waited for.
        case control(UInt8, count: Int)
        case failed
    }

    /// The largest message, in bytes, all its fragments together.
    package var maximumMessage: Int
    /// The payload of the last control frame.
    package private(set) var control = ByteBuffer()

    private var state = State.head
    /// The message whose fragments arrive.
    private var kind: WebSocketKind?
    private var message = ByteBuffer()
    private var text = UTF8Pieces()
    private var mask: UInt32 = 0
    /// How far into the mask the next byte of the payload is.
    private var maskOffset = 0

    package init(maximumMessage: Int) { self.maximumMessage = maximumMessage }

    /// Memory of the message that is not complete.
    package var heldBytes: Int { message.readableBytes > 0 ? message.storageCapacity : 0 }

    /// Reads on; the bytes that are understood are taken from the buffer.
    package mutating func next(_ bytes: inout ByteBuffer) -> Event {
        while true {
            switch state {
            case .head:
                guard let event = readHead(&bytes) else { continue }
                if case .failed = event { state = .failed }
                return event
            case .data(let isLast, let remaining):
                let count = min(remaining, bytes.readableBytes)
                if count > 0, !take(count, &bytes) {
                    return fail(WebSocketCode.badText, "the text is not valid UTF-8")
                }
                guard count == remaining else {
                    state = .data(isLast: isLast, remaining: remaining - count)
                    return .needsMore
                }
                state = .head
                guard isLast, let kind else { continue }
                self.kind = nil
                guard text.isComplete else { return fail(WebSocketCode.badText, "the text ends inside a character") }
                return .message(kind)
            case .control(let opcode, let count):
                guard bytes.readableBytes >= count else { return .needsMore }
                control.clear()
                Self.unmask(count, of: &bytes, mask, 0, into: &control)
                state = .head
                switch opcode {
                case WebSocketFrame.ping: return .ping
                case WebSocketFrame.pong: return .pong
                default: return readClose()
                }
            case .failed: return .needsMore
            }
        }
    }

    private mutating func fail(_ code: UInt16, _ reason: String) -> Event {
        state = .failed
        return .failed(code, reason)
    }

    // MARK: - Heads (section 5.2)

    /// Nil: the head is read, and the state says what follows.
    private mutating func readHead(_ bytes: inout ByteBuffer) -> Event? {
        let at = bytes.readerIndex
        guard let first: UInt8 = bytes.getInteger(at: at), bytes.readableBytes >= 2,
            let second: UInt8 = bytes.getInteger(at: at + 1)
        else {
            // The first byte alone can be wrong already.
            guard let first: UInt8 = bytes.getInteger(at: at) else { return .needsMore }
            return problem(first, nil).map { .failed(WebSocketCode.protocolError, $0) } ?? .needsMore
        }
        if let problem = problem(first, second) { return .failed(WebSocketCode.protocolError, problem) }
        let short = Int(second & 0x7F)
        let extra = short == 126 ? 2 : short == 127 ? 8 : 0
        guard bytes.readableBytes >= 2 + extra else { return .needsMore }
        var count = short
        if extra == 2, let length: UInt16 = bytes.getInteger(at: at + 2) {
            guard length >= 126 else { return .failed(WebSocketCode.protocolError, "a length is not written shortly") }
            count = Int(length)
        } else if extra == 8, let length: UInt64 = bytes.getInteger(at: at + 2) {
            guard length > 0xFFFF else {
                return .failed(WebSocketCode.protocolError, "a length is not written shortly")
            }
            guard length < 1 << 63 else {
                return .failed(WebSocketCode.protocolError, "a length has its highest bit set")
            }
            count = Int(length)
        }
        let opcode = first & 0x0F
        if opcode < 8 {
            // Refused before anything of it is kept.
            guard count <= maximumMessage - (kind == nil ? 0 : message.readableBytes) else {
                return .failed(WebSocketCode.tooBig, "the message is larger than \(maximumMessage) bytes")
            }
        }
        guard let key: UInt32 = bytes.getInteger(at: at + 2 + extra) else { return .needsMore }
        bytes.moveReaderIndex(forwardBy: 6 + extra)
        mask = key
        maskOffset = 0
        guard opcode < 8 else {
            state = .control(opcode, count: count)
            return nil
        }
        if let kind = WebSocketKind(rawValue: opcode) {
            self.kind = kind
            message.clear()
            text = UTF8Pieces()
        }
        state = .data(isLast: first & 0x80 != 0, remaining: count)
        return nil
    }

    /// What is wrong with the first two bytes of a frame.
    private func problem(_ first: UInt8, _ second: UInt8?) -> String? {
        guard first & 0x70 == 0 else { return "a reserved bit is set" }
        let opcode = first & 0x0F
        switch opcode {
        case 0: if kind == nil { return "a continuation without a beginning" }
        case 1, 2: if kind != nil { return "a message begins before the one before has ended" }
        case 8, 9, 10:
            if first & 0x80 == 0 { return "a control frame is fragmented" }
            if let second, second & 0x7F > 125 { return "a control frame is longer than 125 bytes" }
        default: return "the opcode \(opcode) is reserved"
        }
        if let second, second & 0x80 == 0 { return "a frame is not masked" }
        return nil
    }

    // MARK: - Payloads

    /// False for a text that cannot become valid.
    private mutating func take(_ count: Int, _ bytes: inout ByteBuffer) -> Bool {
        let begin = message.writerIndex
        Self.unmask(count, of: &bytes, mask, maskOffset, into: &message)
        maskOffset = (maskOffset &+ count) & 3
        guard kind == .text else { return true }
        return message.withUnsafeReadableBytes { all in
            text.take(UnsafeRawBufferPointer(rebasing: all[(begin - message.readerIndex)...]))
        }
    }

    /// Copies and unmasks in one go, eight bytes at a time.
    private static func unmask(
        _ count: Int,
        of bytes: inout ByteBuffer,
        _ mask: UInt32,
        _ offset: Int,
        into target: inout ByteBuffer
    ) {
        guard count > 0 else { return }
        let turned = offset == 0 ? mask : mask << UInt32(8 * offset) | mask >> UInt32(32 - 8 * offset)
        let word = (UInt64(turned) << 32 | UInt64(turned)).bigEndian
        bytes.withUnsafeReadableBytes { source in
            guard let from = source.baseAddress else { return }
            _ = target.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { to in
                guard let to = to.baseAddress else { return 0 }
                var index = 0
                while index &+ 8 <= count {
                    let part = from.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ word
                    to.storeBytes(of: part, toByteOffset: index, as: UInt64.self)
                    index &+= 8
                }
                while index < count {
                    let key = UInt8(truncatingIfNeeded: turned >> UInt32(24 &- 8 &* (index & 3)))
                    let byte = from.load(fromByteOffset: index, as: UInt8.self) ^ key
                    to.storeBytes(of: byte, toByteOffset: index, as: UInt8.self)
                    index &+= 1
                }
                return count
            }
        }
        bytes.moveReaderIndex(forwardBy: count)
    }

    /// Messages beyond this do not leave their memory behind.
    private static let keptCapacity = 16 << 10

    /// Nobody wants the message that is not complete; nothing more is read.
    mutating func drop() {
        message = ByteBuffer()
        state = .failed
    }

    /// The message that is complete. What is not kept is given back with ``giveBack(_:)``.
    package mutating func takeMessage() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &message)
        return taken
    }

    /// Memory for the next message.
    package mutating func giveBack(_ buffer: ByteBuffer) {
        guard buffer.capacity <= Self.keptCapacity, message.capacity == 0 else { return }
        message = buffer
        message.clear()
    }

    // MARK: - Close frames (section 5.5.1)

    private mutating func readClose() -> Event {
        guard control.readableBytes > 0 else { return .close(nil, "") }
        guard let code: UInt16 = control.readInteger() else {
            return fail(WebSocketCode.protocolError, "a close frame has half a code")
        }
        guard WebSocketCode.mayArrive(code) else {
            return fail(WebSocketCode.protocolError, "the close code \(code) is not for the wire")
        }
        guard control.withUnsafeReadableBytes(UTF8Text.isValid) else {
            return fail(WebSocketCode.badText, "the reason of a close frame is not valid UTF-8")
        }
        return .close(code, control.readString(length: control.readableBytes) ?? "")
    }
}
