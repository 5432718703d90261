// Owns: the plain functions of `panini`: environment, clocks, identifiers, JSON, base64. Worker's thread.

import Bytes
import CLuaVM
import Glibc
import LuaVM
import NIOCore
import ScriptRuntime

extension Script {
    func environment(_ call: HostCall) throws(UsageError) -> CInt {
        let name = try call.string(1, "the name")
        if let restrictions, !restrictions.mayReadEnvironment(name) {
            throw UsageError("panini.env: the script may not read \(name) (--allow-env \(name))")
        }
        if let value = getenv(name) {
            vm.pushString(call.L, UnsafeRawBufferPointer(start: value, count: strlen(value)))
            return 1
        }
        lua_settop(call.L, 2)
        return 1
    }

    func array(_ call: HostCall) throws(UsageError) -> CInt {
        if call.argumentCount == 0 { lua_createtable(call.L, 0, 0) }
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError("panini.array: takes a table, not \(call.typeName(1))")
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
                    buffer[position] = Hex.digit(UInt8(truncatingIfNeeded: word >> UInt64(60 - nibble * 4)))
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

    func jsonEncode(_ call: HostCall) throws(UsageError) -> CInt {
        guard call.argumentCount > 0 else { throw UsageError("panini.json.encode: takes a value") }
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
            throw UsageError("panini.json.encode: \(error.description)")
        }
        try call.requireRoom(for: writer.count)
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    func jsonDecode(_ call: HostCall) throws(UsageError) -> CInt {
        let bytes = try call.bytes(1, "the text")
        do throws(LuaJSONError) {
            try vm.pushJSON(bytes, onto: call.L)
            return 1
        } catch {
            guard error.kind != .memory else { throw UsageError("panini.json.decode: \(LuaVM.memoryText)") }
            return call.failure(CallError("decode", "not valid JSON: \(error.description)"))
        }
    }

    // MARK: - base64 (RFC 4648, section 4)

    func base64Encode(_ call: HostCall) throws(UsageError) -> CInt {
        let bytes = try call.bytes(1, "the bytes")
        try call.requireRoom(for: bytes.count / 3 * 4 + 4)
        writer.removeAll()
        defer { writer.removeAll() }
        var sink = writer
        forEachPart(of: bytes) { part, _ in Base64.append(part, to: &sink) }
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    /// Whole groups of bytes and of digits.
    private static let partLength = 3 << 14

    /// Looks between the parts of a long text whether the run is to end.
    private func forEachPart<Failure: Error>(
        of bytes: UnsafeRawBufferPointer,
        _ body: (_ part: UnsafeRawBufferPointer, _ start: Int) throws(Failure) -> Void
    ) throws(Failure) {
        var start = 0
        while start < bytes.count, start == 0 || !vm.isRunOver {
            let end = min(start + Self.partLength, bytes.count)
            try body(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), start)
            start = end
        }
    }

    func base64Decode(_ call: HostCall) throws(UsageError) -> CInt {
        let text = try call.bytes(1, "the text")
        guard text.count % 4 == 0 else {
            return call.failure(CallError("decode", "not base64: its length is no multiple of four"))
        }
        try call.requireRoom(for: text.count / 4 * 3)
        writer.removeAll()
        defer { writer.removeAll() }
        var sink = writer
        do throws(CallError) {
            try forEachPart(of: text) { part, start throws(CallError) in
                do throws(Base64.Fault) {
                    try Base64.appendDecoded(part, isLast: start + part.count == text.count, to: &sink)
                } catch {
                    switch error {
                    case .digit(let place):
                        throw CallError("decode", "not base64: a wrong character at \(start + place + 1)")
                    case .strayBits: throw CallError("decode", "not base64: the last group has stray bits")
                    }
                }
            }
        } catch {
            return call.failure(error)
        }
        vm.pushString(call.L, writer.bytes)
        return 1
    }
}
