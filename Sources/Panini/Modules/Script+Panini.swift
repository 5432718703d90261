// Owns: the plain functions of `panini`: environment, clocks, identifiers, JSON, base64. Worker's thread.

import CLuaShim
import Glibc
import LuaVM
import NIOCore

extension Script {
    func environment(_ call: HostCall) throws(Misuse) -> CInt {
        let name = try call.string(1, "the name")
        if let restrictions, !restrictions.mayReadEnvironment(name) {
            throw Misuse("panini.env: the script may not read \(name) (--allow-env \(name))")
        }
        if let value = getenv(name) {
            vm.pushString(call.L, UnsafeRawBufferPointer(start: value, count: strlen(value)))
            return 1
        }
        lua_settop(call.L, 2)
        return 1
    }

    func array(_ call: HostCall) throws(Misuse) -> CInt {
        if call.argumentCount == 0 { lua_createtable(call.L, 0, 0) }
        guard call.type(1) == LUA_TTABLE else {
            throw Misuse("panini.array: takes a table, not \(call.typeName(1))")
        }
        lua_settop(call.L, 1)
        vm.markArray(call.L, 1)
        return 1
    }

    func uuid(_ call: HostCall) -> CInt {
        var generator = SystemRandomNumberGenerator()
        // RFC 9562, section 5.4: version 4 in the top bits of byte 6, variant 10 in byte 8.
        let high = (generator.next() as UInt64) & ~0xF000 | 0x4000
        let low = (generator.next() as UInt64) & ~(3 << 62) | (2 << 62)
        let text = withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 36) { buffer in
            var position = 0
            for word in [high, low] {
                for nibble in 0..<16 {
                    if position == 8 || position == 13 || position == 18 || position == 23 {
                        buffer[position] = UInt8(ascii: "-")
                        position += 1
                    }
                    let value = UInt8(truncatingIfNeeded: word >> UInt64(60 - nibble * 4)) & 15
                    buffer[position] = value < 10 ? 48 + value : 87 + value
                    position += 1
                }
            }
            return String(decoding: buffer, as: UTF8.self)
        }
        vm.pushString(call.L, text)
        return 1
    }

    func now(_ call: HostCall) -> CInt {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        lua_pushnumber(call.L, Double(time.tv_sec) + Double(time.tv_nsec) / 1e9)
        return 1
    }

    func monotonic(_ call: HostCall) -> CInt {
        lua_pushnumber(call.L, Double(NIODeadline.now().uptimeNanoseconds) / 1e9)
        return 1
    }

    // MARK: - JSON

    func jsonEncode(_ call: HostCall) throws(Misuse) -> CInt {
        guard call.argumentCount > 0 else { throw Misuse("panini.json.encode: takes a value") }
        writer.removeAll()
        defer { writer.removeAll() }
        if lua_type(call.L, 1) == LUA_TNIL {
            vm.pushString(call.L, "null" as StaticString)
            return 1
        }
        do throws(LuaJSONError) {
            // The text is there twice for a moment: here, and as Lua's string.
            try vm.encodeJSON(call.L, 1, into: writer, limit: vm.bytesLeft / 2)
        } catch {
            throw Misuse("panini.json.encode: \(error.description)")
        }
        try call.requireRoom(for: writer.count)
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    func jsonDecode(_ call: HostCall) throws(Misuse) -> CInt {
        let bytes = try call.bytes(1, "the text")
        do throws(LuaJSONError) {
            try vm.pushJSON(bytes, onto: call.L)
            return 1
        } catch {
            guard error.kind != .memory else { throw Misuse("panini.json.decode: \(LuaVM.memoryText)") }
            return call.failure(CallError("decode", "not valid JSON: \(error.description)"))
        }
    }

    // MARK: - base64 (RFC 4648, section 4)

    func base64Encode(_ call: HostCall) throws(Misuse) -> CInt {
        let bytes = try call.bytes(1, "the bytes")
        try call.requireRoom(for: bytes.count / 3 * 4 + 4)
        writer.removeAll()
        defer { writer.removeAll() }
        var index = 0
        while index < bytes.count, index & 0xFFFF < 0xFFFD || !vm.isRunOver {
            let remaining = bytes.count - index
            let first = UInt32(bytes[index]) << 16
            let second = remaining > 1 ? UInt32(bytes[index + 1]) << 8 : 0
            let group = first | second | (remaining > 2 ? UInt32(bytes[index + 2]) : 0)
            for place in 0..<4 {
                writer.append(place <= remaining ? base64Digit(group >> UInt32(18 - place * 6)) : UInt8(ascii: "="))
            }
            index += 3
        }
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    private func base64Digit(_ value: UInt32) -> UInt8 {
        switch UInt8(value & 63) {
        case let six where six < 26: 65 + six
        case let six where six < 52: 97 + six - 26
        case let six where six < 62: 48 + six - 52
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }

    func base64Decode(_ call: HostCall) throws(Misuse) -> CInt {
        let text = try call.bytes(1, "the text")
        guard text.count % 4 == 0 else {
            return call.failure(CallError("decode", "not base64: its length is no multiple of four"))
        }
        try call.requireRoom(for: text.count / 4 * 3)
        writer.removeAll()
        defer { writer.removeAll() }
        var index = 0
        while index < text.count, index & 0xFFFF < 0xFFFC || !vm.isRunOver {
            let isLast = index + 4 == text.count
            let padding =
                !isLast || text[index + 3] != UInt8(ascii: "=") ? 0 : text[index + 2] == UInt8(ascii: "=") ? 2 : 1
            var group: UInt32 = 0
            for place in 0..<4 {
                group <<= 6
                guard place < 4 - padding else { continue }
                guard let six = base64Value(text[index + place]) else {
                    return call.failure(CallError("decode", "not base64: a wrong character at \(index + place + 1)"))
                }
                group |= six
            }
            // Bits that no byte takes must be zero: one text for one value.
            let unused: UInt32 = padding == 2 ? 0xFFFF : padding == 1 ? 0xFF : 0
            guard group & unused == 0 else {
                return call.failure(CallError("decode", "not base64: the last group has stray bits"))
            }
            for byte in 0..<(3 - padding) { writer.append(UInt8(truncatingIfNeeded: group >> UInt32(16 - byte * 8))) }
            index += 4
        }
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    private func base64Value(_ byte: UInt8) -> UInt32? {
        switch byte {
        case 65...90: UInt32(byte) - 65
        case 97...122: UInt32(byte) - 97 + 26
        case 48...57: UInt32(byte) - 48 + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
