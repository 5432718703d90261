// Owns: what `req` gives a handler: its fields, made on first use, and its functions. Worker's thread.

import CLuaShim
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP

extension Script {
    /// Registers the type of requests and of responses.
    func registerRequests() {
        let L = vm.state
        panini_request_push_metatable(L, requestHost)
        requestType = vm.makeReference(L).index
        lua_createtable(L, 0, 2)
        for key in ["__name", "__metatable"] {
            vm.pushString(L, key)
            vm.pushString(L, "panini.response" as StaticString)
            lua_rawset(L, -3)
        }
        responseType = vm.makeReference(L).index
    }

    /// Pushes the object that stands for a request; it keeps the request as long as the script does.
    func push(_ request: HTTPRequest, onto L: OpaquePointer) {
        panini_request_push(L, requestType, Unmanaged.passRetained(request).toOpaque())
    }

    fileprivate func pushField(_ L: OpaquePointer, _ request: HTTPRequest, _ field: CInt) throws(CallError) {
        switch Int(field) {
        case PANINI_REQUEST_METHOD: vm.pushString(L, request.head.method.rawValue)
        case PANINI_REQUEST_PATH: vm.pushString(L, String(Substring(request.path)))
        case PANINI_REQUEST_PARAMS: try pushParameters(L, request)
        case PANINI_REQUEST_QUERY: pushPairs(L, formPairs(request.query), lists: false)
        case PANINI_REQUEST_QUERY_ALL: pushPairs(L, formPairs(request.query), lists: true)
        case PANINI_REQUEST_HEADERS: pushHeaders(L, request)
        case PANINI_REQUEST_BODY: pushBody(L, request)
        case PANINI_REQUEST_COOKIES: pushCookies(L, request)
        case PANINI_REQUEST_REMOTE_ADDRESS: vm.pushString(L, request.remoteAddress)
        default: lua_createtable(L, 0, 2)
        }
    }

    private func pushBody(_ L: OpaquePointer, _ request: HTTPRequest) {
        guard let body = request.body else { return vm.pushString(L, emptyBytes) }
        body.withUnsafeReadableBytes { vm.pushString(L, $0) }
    }

    private func pushParameters(_ L: OpaquePointer, _ request: HTTPRequest) throws(CallError) {
        guard let routes = service?.script.registrations.routes.all, routes.indices.contains(request.route) else {
            return lua_createtable(L, 0, 0)
        }
        let names = routes[request.route].parameters
        lua_createtable(L, 0, CInt(names.count))
        for (name, capture) in zip(names, request.captures) {
            vm.pushString(L, name)
            HTTPRouteTable.decoded(capture).withUnsafeBytes { vm.pushString(L, $0) }
            lua_rawset(L, -3)
        }
    }

    /// Pushes name → value, of several values the first; or name → list.
    private func pushPairs(_ L: OpaquePointer, _ pairs: [(name: [UInt8], value: [UInt8])], lists: Bool) {
        lua_createtable(L, 0, CInt(clamping: pairs.count))
        let table = lua_gettop(L)
        for (name, value) in pairs {
            name.withUnsafeBytes { vm.pushString(L, $0) }
            lua_pushvalue(L, -1)
            if lua_rawget(L, table) == LUA_TNIL {
                lua_settop(L, -2)
                if lists {
                    lua_createtable(L, 1, 0)
                    value.withUnsafeBytes { vm.pushString(L, $0) }
                    lua_rawseti(L, -2, 1)
                } else {
                    value.withUnsafeBytes { vm.pushString(L, $0) }
                }
                lua_rawset(L, table)
            } else if lists {
                value.withUnsafeBytes { vm.pushString(L, $0) }
                lua_rawseti(L, -2, lua_Integer(lua_rawlen(L, -2)) + 1)
                lua_settop(L, table)
            } else {
                lua_settop(L, table)
            }
        }
    }

    private func pushHeaders(_ L: OpaquePointer, _ request: HTTPRequest) {
        let pairs = request.head.headers.map { (name: Array($0.name.lowercased().utf8), value: Array($0.value.utf8)) }
        pushPairs(L, pairs, lists: true)
        pushPairs(L, pairs, lists: false)
        panini_request_finish_headers(L)
    }

    private func pushCookies(_ L: OpaquePointer, _ request: HTTPRequest) {
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        for line in request.head.headers[canonicalForm: "cookie"] {
            for part in line.split(separator: ";") {
                guard let sign = part.firstIndex(of: "=") else { continue }
                let name = part[..<sign].trimmingSpaces()
                var value = part[part.index(after: sign)...].trimmingSpaces()
                if value.count >= 2, value.first == "\"", value.last == "\"" { value = value.dropFirst().dropLast() }
                if !name.isEmpty { pairs.append((Array(name.utf8), Array(value.utf8))) }
            }
        }
        pushPairs(L, pairs, lists: false)
    }

    // MARK: - Functions

    fileprivate func callFunction(_ call: HostCall, _ request: HTTPRequest, _ function: CInt) throws(Misuse) -> CInt {
        switch Int(function) {
        case PANINI_REQUEST_JSON:
            guard let body = request.body, body.readableBytes > 0 else {
                lua_pushnil(call.L)
                return 1
            }
            do {
                try body.withUnsafeReadableBytes { bytes in try pushPayload(call.L, bytes, .json) }
                return 1
            } catch {
                service?.undecodable &+= 1
                let text = (error as? CallError)?.message ?? "the body is not valid JSON"
                push(CallError(.number(400), text.replacingPrefix("the payload", with: "the body")), onto: call.L)
                return LuaVM.raise
            }
        case PANINI_REQUEST_FORM:
            let type = request.head.headers.first(name: "content-type") ?? ""
            guard type.lowercased().hasPrefix("application/x-www-form-urlencoded") else {
                push(CallError(.number(415), "the body is no form: content-type is \"\(type)\""), onto: call.L)
                return LuaVM.raise
            }
            let text = request.body.map { String(buffer: $0) } ?? ""
            pushPairs(call.L, formPairs(Substring(text).utf8), lists: false)
            return 1
        case PANINI_REQUEST_WRITE: return try write(call, request)
        default: return try sendEvent(call, request)
        }
    }
}

extension String {
    fileprivate func replacingPrefix(_ prefix: String, with other: String) -> String {
        hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
    }
}

/// The pairs of a query or a form (WHATWG URL, application/x-www-form-urlencoded): `+` is a space, what is no escape stays.
/// At most a thousand.
func formPairs(_ text: Substring.UTF8View) -> [(name: [UInt8], value: [UInt8])] {
    var pairs: [(name: [UInt8], value: [UInt8])] = []
    for part in text.split(separator: UInt8(ascii: "&"), omittingEmptySubsequences: true).prefix(1000) {
        let sign = part.firstIndex(of: UInt8(ascii: "="))
        let name = formText(part[..<(sign ?? part.endIndex)])
        pairs.append((name, sign.map { formText(part[part.index(after: $0)...]) } ?? []))
    }
    return pairs
}

private func formText(_ text: Substring.UTF8View) -> [UInt8] {
    func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
    let bytes = Array(text)
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
        switch bytes[index] {
        case UInt8(ascii: "+"): result.append(0x20)
        case UInt8(ascii: "%"):
            if index + 2 < bytes.count, let high = hex(bytes[index + 1]), let low = hex(bytes[index + 2]) {
                result.append(high << 4 | low)
                index += 2
            } else {
                result.append(bytes[index])
            }
        default: result.append(bytes[index])
        }
        index += 1
    }
    return result
}

/// Called by C on the first use of a field.
let makeRequestField:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, CInt) -> CInt = {
        L,
        context,
        record,
        field in
        guard let L, let record else { return 0 }
        let script = Script.from(context)
        let request = Unmanaged<HTTPRequest>.fromOpaque(record).takeUnretainedValue()
        do throws(CallError) {
            try script.pushField(L, request, field)
            return 1
        } catch {
            script.push(error, onto: L)
            return LuaVM.raise
        }
    }

/// Called by C for a function of a request.
let callRequestFunction:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutableRawPointer?, CInt) -> CInt = {
        L,
        context,
        record,
        function in
        guard let L, let record else { return 0 }
        let name: StaticString =
            switch Int(function) {
            case PANINI_REQUEST_JSON: "req.json"
            case PANINI_REQUEST_FORM: "req.form"
            case PANINI_REQUEST_WRITE: "write"
            default: "send"
            }
        let call = HostCall(L: L, script: Script.from(context), name: name)
        let request = Unmanaged<HTTPRequest>.fromOpaque(record).takeUnretainedValue()
        do throws(Misuse) {
            return try call.script.callFunction(call, request, function)
        } catch {
            return call.raise(error)
        }
    }

/// Called by C when a request's object is collected.
let releaseRequest: @convention(c) (UnsafeMutableRawPointer?) -> Void = { record in
    if let record { Unmanaged<HTTPRequest>.fromOpaque(record).release() }
}

/// Called by C when the body of the request at index 1 has failed its validation.
let requestFailedValidation: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { L, context in
    guard let record = lua_touserdata(L, 1)?.assumingMemoryBound(to: panini_request.self).pointee.record else { return }
    let script = Script.from(context)
    let request = Unmanaged<HTTPRequest>.fromOpaque(record).takeUnretainedValue()
    script.service?.invalidMessages &+= 1
    let routes = script.registrations.routes.all
    if routes.indices.contains(request.route) { routes[request.route].invalid &+= 1 }
}
