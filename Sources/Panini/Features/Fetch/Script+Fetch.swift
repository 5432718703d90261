// Owns: `app.http.fetch` as scripts call it: its arguments, its wait, and the response as a Lua value. Worker's thread.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import NIOCore
import PaniniHTTP
import ScriptRuntime

extension Script {
    private static let fetchOptions = [
        "method", "headers", "body", "json", "form", "timeout", "max_body", "redirects", "stream", "ca_file", "verify",
    ]

    /// What servers expect of every client: some refuse those that say neither.
    private static let usualHeaders: HTTPFields = [
        ("user-agent", "panini/\(PaniniVersion.current)"), ("accept", "*/*"),
    ]

    /// What servers take is far less.
    private static let longestURL = 65_536

    fileprivate func startFetch(
        _ call: HostCall,
        _ guardNumber: UnsafeMutablePointer<Int64>?
    ) throws(UsageError) -> CInt {
        guard phase == .live, let service else {
            throw UsageError("app.http.fetch cannot be used while the file runs; use app.on_start_task")
        }
        guard try call.bytes(1, "the URL").count <= Self.longestURL else {
            throw UsageError("app.http.fetch: the URL is longer than \(Self.longestURL) bytes")
        }
        let text = try call.string(1, "the URL")
        let url: HTTPURL
        do throws(HTTPURLError) {
            url = try HTTPURL(text)
        } catch {
            throw UsageError("app.http.fetch: the URL \(error.message)")
        }
        var fetch = HTTPFetch(url: url)
        fetch.isStreamed = guardNumber != nil
        try readFetchOptions(call, &fetch)
        for (name, value) in Self.usualHeaders where !fetch.omits.contains(name) && !fetch.headers.contains(name) {
            fetch.headers.add(name, value)
        }
        try requireSuspendable(call)
        guard let id = vm.running?.id else { return 0 }
        let charged = try chargeBody(of: fetch, call)
        var ended = telemetry.isTraced ? beginSpan(&fetch) : nil
        if charged > 0 {
            ended = { [unowned self, ended] end in
                if phase != .closed { vm.discharge(charged) }
                ended?(end)
            }
        }
        // A reload may have changed it.
        service.fetcher.maximumConnections = service.options.fetchMaxConnections
        let number = service.fetcher.start(fetch, context: id, sink: self, ended: ended)
        guardNumber?.pointee = Int64(number)
        nextWait = Wait(service.fetcher, token: number)
        return LuaVM.suspend
    }

    /// A large body counts as the script's for as long as the fetch goes on.
    private func chargeBody(of fetch: HTTPFetch, _ call: HostCall) throws(UsageError) -> Int {
        guard let size = fetch.body?.readableBytes, size >= Self.chargedBody else { return 0 }
        try call.charge(size)
        return size
    }

    private static let chargedBody = 64 << 10

    /// The head, or a piece of a stream, has been looked at.
    fileprivate func nextOfFetch(_ number: HTTPFetchID) -> CInt {
        guard let service, phase == .live else { return 0 }
        nextWait = Wait(service.fetcher, token: number)
        service.fetcher.next(number)
        return LuaVM.suspend
    }

    // MARK: - Options

    private func readFetchOptions(_ call: HostCall, _ fetch: inout HTTPFetch) throws(UsageError) {
        if call.isNone(2) { return }
        let L = call.L
        guard call.type(2) == LUA_TTABLE else {
            throw UsageError("app.http.fetch: options must be a table, not \(call.typeName(2))")
        }
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        guard lua_checkstack(L, 8) != 0 else { throw UsageError("app.http.fetch: the Lua stack is full") }
        var bodies: [String] = []
        var contentType: String?
        var limit: Int?
        lua_pushnil(L)
        while panini_next(L, 2) != 0 {
            let text = lua_type(L, top + 1) == LUA_TSTRING ? vm.string(L, top + 1, upTo: UsageError.longest) : nil
            guard let name = text, Self.fetchOptions.contains(name) else {
                let name = text ?? "1"
                throw UsageError(
                    "app.http.fetch: unknown option \"\(name)\"" + suggestion(for: name, in: Self.fetchOptions)
                )
            }
            let value = top + 2
            switch (name, lua_type(L, value)) {
            case ("method", LUA_TSTRING): fetch.method = try fetchMethod(call, value)
            case ("headers", LUA_TTABLE):
                fetch.headers.add(
                    try headerFields(
                        L,
                        value,
                        of: "app.http.fetch",
                        writtenBy: "the client",
                        omitting: &fetch.omits
                    )
                )
            case ("body", LUA_TSTRING):
                bodies.append(name)
                try call.requireRoom(for: Int(lua_rawlen(L, value)))
                fetch.body = ByteBuffer(bytes: vm.stringBytes(L, value) ?? emptyBytes)
            case ("json", _):
                bodies.append(name)
                contentType = "application/json"
                do throws(SendFailure) {
                    fetch.body = ByteBuffer(bytes: try encode(L, value, dataType: .json))
                } catch {
                    guard case .unsendable(let text) = error else { return }
                    throw UsageError("app.http.fetch: json: \(text)")
                }
            case ("form", LUA_TTABLE):
                bodies.append(name)
                contentType = "application/x-www-form-urlencoded"
                var allowance = CopyAllowance(vm)
                fetch.body = ByteBuffer(bytes: try formBytes(L, value, &allowance))
            case ("timeout", LUA_TNUMBER):
                fetch.seconds = lua_tonumberx(L, value, nil)
                guard fetch.seconds >= 0.001, fetch.seconds <= 86400 else {
                    throw UsageError("app.http.fetch: timeout must be a number of seconds from 0.001 to 86400")
                }
            case ("max_body", LUA_TNUMBER), ("max_body", LUA_TSTRING): limit = try fetchLimit(L, value)
            case ("redirects", LUA_TNUMBER):
                guard lua_isinteger(L, value) != 0, (0...100).contains(lua_tointegerx(L, value, nil)) else {
                    throw UsageError("app.http.fetch: redirects must be a whole number from 0 to 100")
                }
                fetch.maximumRedirects = Int(lua_tointegerx(L, value, nil))
            case ("stream", LUA_TFUNCTION): break
            case ("ca_file", LUA_TSTRING):
                let path = try call.string(value, "ca_file")
                let file = path.begins(with: "/") ? path : "\(directory)/\(path)"
                try requireReadable(file, "app.http.fetch: ca_file")
                fetch.tls.authorityFile = file
            case ("verify", LUA_TBOOLEAN): fetch.tls.verifies = lua_toboolean(L, value) != 0
            default: throw UsageError("app.http.fetch: option \"\(name)\" cannot be \(call.typeName(value))")
            }
            lua_settop(L, top + 1)
        }
        guard bodies.count <= 1 else {
            throw UsageError(
                "app.http.fetch: a request has one body, not \(bodies.sorted().joined(separator: " and "))"
            )
        }
        if let contentType, !fetch.headers.contains("content-type") {
            fetch.headers.add("content-type", contentType)
        }
        // A download may be as large as it is: nothing of it is kept.
        let usual = fetch.isStreamed ? .max : fetch.maximumBody
        fetch.maximumBody = limit.map { call.bounded($0, by: usual, "max_body") } ?? usual
    }

    /// Like all methods, in capitals; `get` is a slip that helps nobody.
    private func fetchMethod(_ call: HostCall, _ index: CInt) throws(UsageError) -> String {
        guard lua_rawlen(call.L, index) <= UsageError.longest else {
            throw UsageError("app.http.fetch: the method is longer than \(UsageError.longest) bytes")
        }
        let text = vm.string(call.L, index) ?? ""
        let method = text.uppercased()
        guard !method.isEmpty, method.utf8.allSatisfy(ASCII.isTokenByte), method != "CONNECT", method != "TRACE" else {
            throw UsageError("app.http.fetch: \"\(text)\" is no method that can be fetched with")
        }
        return method
    }

    private func fetchLimit(_ L: OpaquePointer, _ index: CInt) throws(UsageError) -> Int {
        do throws(OptionError) {
            let value: PlainValue =
                lua_type(L, index) == LUA_TSTRING
                ? .string(vm.string(L, index) ?? "")
                : lua_isinteger(L, index) != 0
                    ? .integer(lua_tointegerx(L, index, nil)) : .number(lua_tonumberx(L, index, nil))
            guard case .integer(let count) = try OptionCheck(name: "max_body", kind: .size(0...(1 << 40))).check(value)
            else { return 0 }
            return Int(count)
        } catch {
            throw UsageError("app.http.fetch: \(error.message)")
        }
    }

    /// `{ name = value | { values } }` as application/x-www-form-urlencoded, in the order of the names.
    private func formBytes(
        _ L: OpaquePointer,
        _ index: CInt,
        _ allowance: inout CopyAllowance
    ) throws(UsageError) -> [UInt8] {
        var fields: [(name: [UInt8], value: [UInt8])] = []
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            guard lua_type(L, top + 1) == LUA_TSTRING, let name = vm.stringBytes(L, top + 1) else {
                throw UsageError("app.http.fetch: form: fields must have names")
            }
            if lua_type(L, top + 2) == LUA_TTABLE {
                for position in stride(from: 1, through: lua_rawlen(L, top + 2), by: 1) {
                    if vm.isRunOver { break }
                    lua_rawgeti(L, top + 2, lua_Integer(position))
                    fields.append((try formPart(name, &allowance), try formValue(L, top + 3, &allowance)))
                    lua_settop(L, top + 2)
                }
            } else {
                fields.append((try formPart(name, &allowance), try formValue(L, top + 2, &allowance)))
            }
            lua_settop(L, top + 1)
        }
        var form: [UInt8] = []
        form.reserveCapacity(fields.reduce(0) { $0 + $1.name.count + $1.value.count + 2 })
        guard let sorted = vm.sorted(fields, by: { ByteOrder.precedes($0.name, $1.name) }) else {
            throw UsageError("app.http.fetch: the run is over")
        }
        for (name, value) in sorted where !vm.isRunOver {
            if !form.isEmpty { form.append(UInt8(ascii: "&")) }
            form += name
            form.append(UInt8(ascii: "="))
            form += value
        }
        return form
    }

    /// The bytes of a name or a value as they stand in a form. Each may become three.
    private func formPart(
        _ bytes: UnsafeRawBufferPointer,
        _ allowance: inout CopyAllowance
    ) throws(UsageError) -> [UInt8] {
        try allowance.take(64, for: "app.http.fetch")
        var count = 0
        for start in stride(from: 0, to: bytes.count, by: Self.formStep) {
            let part = bytes[start..<min(start + Self.formStep, bytes.count)]
            let length = part.reduce(part.count) { PercentCoding.formByte($1) == nil ? $0 + 2 : $0 }
            try allowance.take(length, for: "app.http.fetch")
            count += length
        }
        var text: [UInt8] = []
        text.reserveCapacity(count)
        for start in stride(from: 0, to: bytes.count, by: Self.formStep) where !vm.isRunOver {
            let part = bytes[start..<min(start + Self.formStep, bytes.count)]
            PercentCoding.appendForm(UnsafeRawBufferPointer(rebasing: part), to: &text)
        }
        return text
    }

    /// How many bytes of a form are written between two looks at the run's end.
    private static let formStep = 64 << 10

    private func formValue(
        _ L: OpaquePointer,
        _ index: CInt,
        _ allowance: inout CopyAllowance
    ) throws(UsageError) -> [UInt8] {
        let text: String
        switch lua_type(L, index) {
        case LUA_TSTRING: return try formPart(vm.stringBytes(L, index) ?? emptyBytes, &allowance)
        case LUA_TNUMBER where lua_isinteger(L, index) != 0: text = String(lua_tointegerx(L, index, nil))
        case LUA_TNUMBER: text = String(lua_tonumberx(L, index, nil))
        case LUA_TBOOLEAN: text = lua_toboolean(L, index) != 0 ? "true" : "false"
        case let type:
            throw UsageError("app.http.fetch: form: a field cannot be \(String(cString: lua_typename(L, type)))")
        }
        try allowance.take(64, for: "app.http.fetch")
        var form: [UInt8] = []
        Array(text.utf8).withUnsafeBytes { PercentCoding.appendForm($0, to: &form) }
        return form
    }

    // MARK: - Results

    /// Pushes the response's table; of a streamed one without a body.
    func push(_ fetched: HTTPFetchResponse, _ body: ByteBuffer?, onto L: OpaquePointer) {
        lua_createtable(L, 0, 5)
        let response = lua_gettop(L)
        vm.pushString(L, "status" as StaticString)
        lua_pushinteger(L, lua_Integer(fetched.status))
        lua_rawset(L, response)
        vm.pushString(L, "url" as StaticString)
        vm.pushString(L, fetched.url.text)
        lua_rawset(L, response)
        vm.pushString(L, "headers" as StaticString)
        let pairs = fetched.headers.map { (name: Array($0.name.utf8), value: Array($0.value.utf8)) }
        pushPairs(L, pairs, lists: true)
        pushPairs(L, pairs, lists: false)
        panini_request_finish_headers(L)
        lua_rawset(L, response)
        guard let body else { return }
        vm.pushString(L, "body" as StaticString)
        body.withUnsafeReadableBytes { vm.pushString(L, $0) }
        lua_rawset(L, response)
        vm.pushString(L, "json" as StaticString)
        lua_pushvalue(L, response)
        panini_push_bound_function(L, decodeFetched, Unmanaged.passUnretained(self).toOpaque())
        lua_rawset(L, response)
    }

    /// `res.json()`.
    fileprivate func fetchedJSON(_ call: HostCall) -> CInt {
        guard panini_field(call.L, CInt(PANINI_BOUND_VALUE), "body") == LUA_TSTRING,
            let body = vm.stringBytes(call.L, -1)
        else { return call.failure(CallError("decode", "the response has no body")) }
        do throws(CallError) {
            try pushPayload(call.L, body, .json)
            return 1
        } catch {
            return call.failure(CallError("decode", error.message.replacingPrefix("the payload", with: "the body")))
        }
    }
}

extension Script: HTTPFetchSink {
    func fetch(_ context: UInt64, mayConnectTo host: String, port: Int) -> Bool { mayConnect(host: host, port: port) }

    func fetch(_ context: UInt64, began response: HTTPFetchResponse) {
        wake(context, .value(FetchedResponse(response: response, body: nil)))
    }

    func fetch(_ context: UInt64, received piece: ByteBuffer) { wake(context, .value(FetchedPiece(bytes: piece))) }

    func fetch(_ context: UInt64, completed response: HTTPFetchResponse, body: ByteBuffer?) {
        // Who streamed has the head, and hears that it was all.
        wake(context, body.map { .value(FetchedResponse(response: response, body: $0)) } ?? .success)
    }

    func fetch(_ context: UInt64, failed failure: HTTPFetchError) {
        wake(context, .failure(CallError(failure.code.rawValue, failure.message)))
    }
}

/// A response of another server; without a body the head of a streamed one.
private struct FetchedResponse: CompletionValue {
    let response: HTTPFetchResponse
    let body: ByteBuffer?

    func push(onto L: OpaquePointer, in script: Script) -> CInt {
        script.push(response, body, onto: L)
        return 1
    }
}

/// A piece of a streamed response.
private struct FetchedPiece: CompletionValue {
    let bytes: ByteBuffer

    func push(onto L: OpaquePointer, in script: Script) -> CInt {
        bytes.withUnsafeReadableBytes { script.vm.pushString(L, $0) }
        return 1
    }
}

extension HTTPFetcher: WaitOwner {
    func cancel(_ wait: Wait, of coroutine: UInt64) { cancel(wait.token) }
}

/// Called by C for `app.http.fetch(url [, options])`.
let startFetch: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int64>?) -> CInt = {
    L,
    context,
    number in
    guard let L else { return 0 }
    let call = HostCall(L: L, script: Script.from(context), name: "app.http.fetch")
    do throws(UsageError) {
        return try call.script.startFetch(call, number)
    } catch {
        return call.raise(error)
    }
}

/// Called by C when a stream's function has returned.
let nextOfFetch: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?, Int64) -> CInt = { _, context, number in
    Script.from(context).nextOfFetch(HTTPFetchID(number))
}

/// Called by C when a streamed fetch is over for the script, whatever became of it.
let cancelFetch: @convention(c) (UnsafeMutableRawPointer?, Int64) -> Void = { context, number in
    Script.from(context).service?.fetcher.cancel(HTTPFetchID(number))
}

/// The function of a response.
private let decodeFetched: panini_host_function = { L, context in
    guard let L else { return 0 }
    let call = HostCall(L: L, script: Script.from(context), name: "res.json")
    return call.script.fetchedJSON(call)
}
