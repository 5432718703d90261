// Owns: `panini.hash`. Worker's thread.

import CLuaShim
import LuaVM

extension Script {
    func sha256(_ call: HostCall) throws(Misuse) -> CInt {
        pushHex(call, SHA256.hash(try call.bytes(1, "the text")))
    }

    func hmacSHA256(_ call: HostCall) throws(Misuse) -> CInt {
        let key = try call.bytes(1, "the key")
        return pushHex(call, SHA256.hmac(key: key, try call.bytes(2, "the text")))
    }

    private func pushHex(_ call: HostCall, _ digest: SHA256.Digest) -> CInt {
        writer.removeAll(keepingCapacity: true)
        for index in 0..<32 {
            writer.append(hexDigit(digest[index] >> 4))
            writer.append(hexDigit(digest[index] & 15))
        }
        vm.pushString(call.L, writer.bytes)
        return 1
    }

    private func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
