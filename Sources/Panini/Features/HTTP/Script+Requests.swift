// Owns: what `req` gives a handler: its fields, made on first use, and its functions. Worker's thread.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import NIOCore
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime

extension Script {
    /// Pushes the object that stands for a request: a copy of its bytes.
    ///
    /// - Parameters:
    ///   - number: Of ``ScriptHTTP/open(_:)``; 0: nobody looks for the request behind the object.
    ///   - type: The registry reference of its metatable, where that is at hand.
    func push(_ request: HTTPRequest, number: UInt64 = 0, as type: CInt? = nil, onto L: OpaquePointer) {
        let head = request.raw
        let method = head.method.rawValue
        let bodySize = request.body?.readableBytes ?? 0
        let block = panini_request_push(
            L,
            type ?? http.requestType,
            number,
            method.utf8.count + request.remoteAddress.utf8.count + head.bytes.count + bodySize
        ).unsafelyUnwrapped
        block.pointee.route = Int32(clamping: request.route)
        var to = UnsafeMutableRawPointer(panini_request_bytes(block).unsafelyUnwrapped)
        block.pointee.method_length = UInt32(Self.put(method, &to))
        // The query goes with its question mark, so that nothing is moved.
        block.pointee.path_length = UInt32(head.pathLength)
        block.pointee.query_length = UInt32(head.targetLength - head.pathLength)
        block.pointee.headers_length = UInt32(head.bytes.count - head.targetLength)
        head.bytes.withUnsafeBytes { bytes in
            Self.put(UnsafeRawBufferPointer(rebasing: bytes[..<head.targetLength]), &to)
            block.pointee.address_length = UInt32(Self.put(request.remoteAddress, &to))
            Self.put(UnsafeRawBufferPointer(rebasing: bytes[head.targetLength...]), &to)
        }
        request.body?.withUnsafeReadableBytes { Self.put($0, &to) }
        block.pointee.body_length = UInt32(bodySize)
    }

    @inline(__always)
    private static func put(_ bytes: UnsafeRawBufferPointer, _ to: inout UnsafeMutableRawPointer) {
        if let from = bytes.baseAddress { to.copyMemory(from: from, byteCount: bytes.count) }
        to += bytes.count
    }

    @inline(__always)
    private static func put(_ text: String, _ to: inout UnsafeMutableRawPointer) -> Int {
        var text = text
        let count = text.withUTF8 { text in
            if let from = text.baseAddress { to.copyMemory(from: from, byteCount: text.count) }
            return text.count
        }
        to += count
        return count
    }

    /// Pushes the value of a field, or the error that the request's bytes are no text there.
    fileprivate func pushField(_ L: OpaquePointer, _ request: RequestBytes, _ field: CInt) -> CInt {
        let isText = isText(request)
        do throws(RequestTextError) {
            switch Int(field) {
            case PANINI_REQUEST_METHOD: vm.pushString(L, request.method)
            case PANINI_REQUEST_PATH:
                if isText { try RequestText.check(request.path, "the path") }
                vm.pushString(L, request.path)
            case PANINI_REQUEST_PARAMS: try pushParameters(L, request, isText: isText)
            case PANINI_REQUEST_QUERY, PANINI_REQUEST_QUERY_ALL:
                let pairs = formPairs(request.query)
                if isText { try RequestText.check(pairs, "the query") }
                pushPairs(L, pairs, lists: Int(field) == PANINI_REQUEST_QUERY_ALL)
            case PANINI_REQUEST_HEADERS: pushHeaders(L, request)
            case PANINI_REQUEST_BODY: vm.pushString(L, request.body)
            case PANINI_REQUEST_COOKIES: pushCookies(L, request)
            case PANINI_REQUEST_REMOTE_ADDRESS: vm.pushString(L, request.address)
            default: lua_createtable(L, 0, 2)
            }
            return 1
        } catch {
            push(error.callError, onto: L)
            return LuaVM.raise
        }
    }

    /// Whether a request's handler has to be given text; `bytes = true` of its route says that it takes what comes.
    private func isText(_ request: RequestBytes) -> Bool {
        let routes = http.routes.all
        return !routes.indices.contains(request.route) || !routes[request.route].takesBytes
    }

    private func pushParameters(
        _ L: OpaquePointer,
        _ request: RequestBytes,
        isText: Bool
    ) throws(RequestTextError) {
        let routes = http.routes
        guard routes.all.indices.contains(request.route) else { return lua_createtable(L, 0, 0) }
        let route = routes.all[request.route]
        lua_createtable(L, 0, CInt(route.parameters.count))
        guard !route.parameters.isEmpty else { return }
        let method = String(decoding: request.method, as: UTF8.self)
        for (name, capture) in zip(route.parameters, routes.table.captures(method: method, path: request.path)) {
            let value = HTTPRouteTable.decoded(capture)
            if isText { try RequestText.check(value, "the path's {\(name)}") }
            vm.pushString(L, name)
            value.withUnsafeBytes { vm.pushString(L, $0) }
            lua_rawset(L, -3)
        }
    }

    /// Pushes name → value, of several values the first; or name → list.
    func pushPairs(_ L: OpaquePointer, _ pairs: [(name: [UInt8], value: [UInt8])], lists: Bool) {
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

    /// Headers are bytes (RFC 9110, section 5.5): one that is no text must not keep a handler from the others.
    private func pushHeaders(_ L: OpaquePointer, _ request: RequestBytes) {
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        request.forEachHeader { name, value in
            pairs.append((name.map(ASCII.lowercased), Array(value)))
        }
        pushPairs(L, pairs, lists: true)
        pushPairs(L, pairs, lists: false)
        panini_request_finish_headers(L)
    }

    private func pushCookies(_ L: OpaquePointer, _ request: RequestBytes) {
        var pairs: [(name: [UInt8], value: [UInt8])] = []
        request.forEachHeader { name, value in
            guard ASCII.equals(name, ignoringCase: "cookie") else { return }
            for part in value.split(separator: UInt8(ascii: ";")) {
                guard let sign = part.firstIndex(of: UInt8(ascii: "=")) else { continue }
                let name = part[..<sign].withoutBlanks
                var value = part[part.index(after: sign)...].withoutBlanks
                let quote = UInt8(ascii: "\"")
                if value.count >= 2, value.first == quote, value.last == quote { value = value.dropFirst().dropLast() }
                if !name.isEmpty { pairs.append((Array(name), Array(value))) }
            }
        }
        pushPairs(L, pairs, lists: false)
    }

    // MARK: - Functions

    fileprivate func callFunction(
        _ call: HostCall,
        _ request: RequestBytes,
        _ function: CInt
    ) throws(UsageError) -> CInt {
        switch Int(function) {
        case PANINI_REQUEST_JSON:
            guard !request.body.isEmpty else {
                lua_pushnil(call.L)
                return 1
            }
            do throws(CallError) {
                try pushPayload(call.L, request.body, .json)
                return 1
            } catch {
                service?.counters.decodingFailed()
                push(
                    CallError(.number(400), error.message.replacingPrefix("the payload", with: "the body")),
                    onto: call.L
                )
                return LuaVM.raise
            }
        case PANINI_REQUEST_FORM:
            var type = ""
            request.forEachHeader { name, value in
                if ASCII.equals(name, ignoringCase: "content-type") { type = String(decoding: value, as: UTF8.self) }
            }
            return try form(call, request, type)
        case PANINI_REQUEST_WRITE: return try write(call, http.openRequests[request.number])
        default: return try sendEvent(call, http.openRequests[request.number])
        }
    }
}

extension Script {
    /// Pushes the fields of a form, and all of them by name as lists.
    private func form(_ call: HostCall, _ request: RequestBytes, _ type: String) throws(UsageError) -> CInt {
        // The fields and their lists share their texts.
        try call.requireRoom(for: request.body.count)
        if type.lowercased().hasPrefix("application/x-www-form-urlencoded") {
            let pairs = formPairs(request.body)
            if isText(request), let problem = RequestText.problem(pairs, "the form") {
                push(problem.callError, onto: call.L)
                return LuaVM.raise
            }
            pushPairs(call.L, pairs, lists: false)
            pushPairs(call.L, pairs, lists: true)
            return 2
        }
        guard let boundary = HTTPMultipart.boundary(type) else {
            push(CallError(.number(415), "the body is no form: content-type is \"\(type)\""), onto: call.L)
            return LuaVM.raise
        }
        do throws(HTTPMultipartError) {
            let parts = try HTTPMultipart.parts(of: request.body, boundary: boundary) { vm.isRunOver }
            for part in parts where part.fileName == nil && isText(request) && !vm.isRunOver {
                let bytes = UnsafeRawBufferPointer(rebasing: request.body[part.range])
                if !RequestText.isText(bytes) {
                    throw HTTPMultipartError(message: "the form's \(part.name) is no text (UTF-8)")
                }
            }
            pushParts(call.L, parts, request.body)
            return 2
        } catch {
            push(CallError(.number(400), error.message), onto: call.L)
            return LuaVM.raise
        }
    }

    /// Pushes name → value, of several the first, and name → list; an upload is a table.
    private func pushParts(_ L: OpaquePointer, _ parts: [HTTPMultipartPart], _ body: UnsafeRawBufferPointer) {
        lua_createtable(L, 0, CInt(clamping: parts.count))
        let first = lua_gettop(L)
        lua_createtable(L, 0, CInt(clamping: parts.count))
        for part in parts {
            let bytes = UnsafeRawBufferPointer(rebasing: body[part.range])
            vm.pushString(L, part.name)
            if let fileName = part.fileName {
                lua_createtable(L, 0, 3)
                for (key, text) in [
                    ("filename", fileName), ("content_type", part.contentType ?? "application/octet-stream"),
                ] {
                    vm.pushString(L, key)
                    vm.pushString(L, text)
                    lua_rawset(L, first + 3)
                }
                vm.pushString(L, "data" as StaticString)
                vm.pushString(L, bytes)
                lua_rawset(L, first + 3)
            } else {
                vm.pushString(L, bytes)
            }
            // The list of the name, made at its first part.
            lua_pushvalue(L, first + 2)
            if lua_rawget(L, first + 1) == LUA_TNIL {
                lua_settop(L, first + 3)
                lua_pushvalue(L, first + 2)
                lua_pushvalue(L, first + 3)
                lua_rawset(L, first)
                lua_createtable(L, 1, 0)
                lua_pushvalue(L, first + 2)
                lua_pushvalue(L, first + 4)
                lua_rawset(L, first + 1)
            }
            lua_pushvalue(L, first + 3)
            lua_rawseti(L, first + 4, lua_Integer(lua_rawlen(L, first + 4)) + 1)
            lua_settop(L, first + 1)
        }
    }
}

/// The bytes of a request's object; valid while Lua keeps it, which is during a call.
struct RequestBytes {
    private let block: UnsafeMutablePointer<panini_request>

    init(_ block: UnsafeMutablePointer<panini_request>) { self.block = block }

    private func part(_ offset: Int, _ length: UInt32) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: panini_request_bytes(block) + offset, count: Int(length))
    }

    private var pathOffset: Int { Int(block.pointee.method_length) }
    private var queryOffset: Int { pathOffset + Int(block.pointee.path_length) }
    private var addressOffset: Int { queryOffset + Int(block.pointee.query_length) }
    private var headersOffset: Int { addressOffset + Int(block.pointee.address_length) }
    private var bodyOffset: Int { headersOffset + Int(block.pointee.headers_length) }

    var method: UnsafeRawBufferPointer { part(0, block.pointee.method_length) }
    var path: UnsafeRawBufferPointer { part(pathOffset, block.pointee.path_length) }
    /// Without the question mark.
    var query: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: part(queryOffset, block.pointee.query_length).dropFirst())
    }
    var address: UnsafeRawBufferPointer { part(addressOffset, block.pointee.address_length) }
    var body: UnsafeRawBufferPointer { part(bodyOffset, block.pointee.body_length) }
    var route: Int { Int(block.pointee.route) }
    var number: UInt64 { block.pointee.number }

    func forEachHeader(_ body: (_ name: Slice<UnsafeRawBufferPointer>, _ value: Slice<UnsafeRawBufferPointer>) -> Void)
    {
        var rest = part(headersOffset, block.pointee.headers_length)[...]
        while let end = rest.firstIndex(of: 0x0A), let colon = rest[..<end].firstIndex(of: 0x3A) {
            body(rest[..<colon], rest[rest.index(after: colon)..<end])
            rest = rest[rest.index(after: end)...]
        }
    }
}

extension String {
    func replacingPrefix(_ prefix: String, with other: String) -> String {
        hasPrefix(prefix) ? other + dropFirst(prefix.count) : self
    }
}

/// The pairs of a query or a form (WHATWG URL, application/x-www-form-urlencoded): `+` is a space, what is no escape stays.
/// At most a thousand.
func formPairs(_ text: UnsafeRawBufferPointer) -> [(name: [UInt8], value: [UInt8])] {
    var pairs: [(name: [UInt8], value: [UInt8])] = []
    var rest = text[...]
    // One by one: a long text has many more than are wanted.
    while pairs.count < 1000, !rest.isEmpty {
        let part = rest.prefix { $0 != UInt8(ascii: "&") }
        rest = rest[part.endIndex...].dropFirst()
        guard !part.isEmpty else { continue }
        let sign = part.firstIndex(of: UInt8(ascii: "="))
        let name = PercentCoding.decodedForm(part[..<(sign ?? part.endIndex)])
        pairs.append((name, sign.map { PercentCoding.decodedForm(part[part.index(after: $0)...]) } ?? []))
    }
    return pairs
}

/// Called by C on the first use of a field.
let makeRequestField:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<panini_request>?, CInt) -> CInt = {
        L,
        context,
        request,
        field in
        guard let L, let request else { return 0 }
        return Script.from(context).pushField(L, RequestBytes(request), field)
    }

/// Called by C for a function of a request.
let callRequestFunction:
    @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<panini_request>?, CInt) -> CInt = {
        L,
        context,
        request,
        function in
        guard let L, let request else { return 0 }
        let name: StaticString =
            switch Int(function) {
            case PANINI_REQUEST_JSON: "req.json"
            case PANINI_REQUEST_FORM: "req.form"
            case PANINI_REQUEST_WRITE: "write"
            default: "send"
            }
        let call = HostCall(L: L, script: Script.from(context), name: name)
        do throws(UsageError) {
            return try call.script.callFunction(call, RequestBytes(request), function)
        } catch {
            return call.raise(error)
        }
    }

/// Called by C when the body of the request at index 1 has failed its validation.
let requestFailedValidation: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { L, context in
    guard let block = lua_touserdata(L, 1)?.assumingMemoryBound(to: panini_request.self) else { return }
    let script = Script.from(context)
    script.service?.counters.validationFailed()
    let routes = script.http.routes.all
    let route = Int(block.pointee.route)
    if routes.indices.contains(route) { routes[route].invalid &+= 1 }
}
