// Owns: what goes back for a request: a handler's value, `panini.response`, errors, streams. Worker's thread.

import CLuaShim
import Logging
import LuaVM
import NIOHTTP1
import PaniniHTTP

extension Script {
    private static let bodies = ["text", "json", "html", "body", "file", "stream", "events"]

    /// `panini.response{...}`: checks what can be checked, and marks the table.
    func response(_ call: HostCall) throws(Misuse) -> CInt {
        let L = call.L
        guard call.type(1) == LUA_TTABLE else {
            throw Misuse("panini.response: takes a table, as in panini.response{ status = 201, json = {} }")
        }
        lua_settop(L, 1)
        let known = ["status", "headers"] + Self.bodies
        var kinds: [String] = []
        lua_pushnil(L)
        while panini_next(L, 1) != 0 {
            guard lua_type(L, 2) == LUA_TSTRING, let name = vm.string(L, 2), known.contains(name) else {
                let name = vm.string(L, 2) ?? "a position"
                throw Misuse("panini.response: unknown member \"\(name)\"" + suggestion(for: name, in: known))
            }
            if Self.bodies.contains(name) { kinds.append(name) }
            switch (name, lua_type(L, 3)) {
            case ("status", LUA_TNUMBER):
                guard lua_isinteger(L, 3) != 0, (200...599).contains(lua_tointegerx(L, 3, nil)) else {
                    throw Misuse("panini.response: status must be a whole number from 200 to 599")
                }
            case ("text", LUA_TSTRING), ("html", LUA_TSTRING), ("body", LUA_TSTRING), ("file", LUA_TSTRING),
                ("json", _):
                break
            case ("stream", LUA_TFUNCTION), ("events", LUA_TFUNCTION): break
            case ("headers", LUA_TTABLE): _ = try headerFields(L, 3, of: "panini.response", writtenBy: "the server")
            default: throw Misuse("panini.response: \(name) cannot be \(call.typeName(3))")
            }
            lua_settop(L, 2)
        }
        guard kinds.count <= 1 else {
            throw Misuse("panini.response: a response has one body, not \(kinds.sorted().joined(separator: " and "))")
        }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(responseType))
        lua_setmetatable(L, 1)
        lua_settop(L, 1)
        return 1
    }

    // MARK: - Answering

    /// Answers a request with what its handler returned.
    func answer(_ L: OpaquePointer, _ count: CInt, _ route: HTTPRoute, _ request: HTTPRequest) {
        guard count > 0 else { return request.answer(HTTPAnswer(status: 204)) }
        let first = lua_gettop(L) - count + 1
        switch lua_type(L, first) {
        case LUA_TNIL:
            guard count >= 2, lua_type(L, first + 1) != LUA_TNIL else {
                return request.answer(HTTPAnswer(status: 204))
            }
            let error = readError(L, first + 1)
            route.failed &+= 1
            refuse(
                request,
                ReplyError(code: error.code, message: error.message, errors: errorList(L, first + 1, of: route.origin))
            )
        case LUA_TSTRING:
            let bytes = vm.stringBytes(L, first) ?? emptyBytes
            request.answer(status: 200, headers: Self.textHeaders, body: bytes)
        case LUA_TTABLE where isResponse(L, first): answer(L, response: first, route, request)
        default: answer(L, json: first, status: 200, headers: [], route, request)
        }
    }

    private static let textHeaders = [(name: "content-type", value: "text/plain; charset=utf-8")]
    private static let jsonHeaders = [(name: "content-type", value: "application/json")]

    private func isResponse(_ L: OpaquePointer, _ index: CInt) -> Bool {
        guard lua_getmetatable(L, index) != 0 else { return false }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(responseType))
        defer { lua_settop(L, -3) }
        return lua_rawequal(L, -1, -2) != 0
    }

    private func answer(
        _ L: OpaquePointer,
        json index: CInt,
        status: Int,
        headers: [(name: String, value: String)],
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        do throws(SendFailure) {
            let bytes = try encode(L, index, dataType: .json)
            let headers = headers.isEmpty ? Self.jsonHeaders : with(headers, Self.jsonHeaders)
            request.answer(status: status, headers: headers, body: bytes)
        } catch {
            guard case .unsendable(let text) = error else { return }
            if !route.takesBytes, hasBytes(L, index), let problem = RequestText.problem(request.raw) {
                // The answer repeats what the client has sent.
                return refuse(request, ReplyError(400, "\(problem.callError.message), and the answer would repeat it"))
            }
            answerFailed(route, request, text)
        }
    }

    /// Whether a value cannot be sent for a text in it that is no UTF-8.
    private func hasBytes(_ L: OpaquePointer, _ index: CInt) -> Bool {
        do throws(LuaJSONError) {
            writer.removeAll(keepingCapacity: true)
            try vm.encodeJSON(L, index, into: writer)
            return false
        } catch {
            return error.kind == .invalidUTF8
        }
    }

    private func answerFailed(_ route: HTTPRoute, _ request: HTTPRequest, _ text: String) {
        route.failed &+= 1
        let reason = "the response cannot be sent: \(text)"
        logger.error("handler of \(route.method) \(route.path) (\(route.origin)): \(reason)")
        refuse(request, service?.debug == true ? ReplyError(500, reason) : .internalError)
    }

    /// The headers, and those of the default that are not among them.
    private func with(
        _ headers: [(name: String, value: String)],
        _ defaults: [(name: String, value: String)]
    ) -> [(name: String, value: String)] {
        headers + defaults.filter { missing in !headers.contains { $0.name == missing.name } }
    }

    private func answer(_ L: OpaquePointer, response index: CInt, _ route: HTTPRoute, _ request: HTTPRequest) {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        guard lua_checkstack(L, 12) != 0 else { return answerFailed(route, request, "the Lua stack is full") }
        var status = 200
        var headers: [(name: String, value: String)] = []
        if panini_field(L, index, "status") == LUA_TNUMBER { status = Int(lua_tointegerx(L, -1, nil)) }
        if panini_field(L, index, "headers") == LUA_TTABLE {
            do throws(Misuse) {
                // Checked when it was made; it may have been changed since.
                let isInTime = try vm.withinBudget { () throws(Misuse) in
                    headers = try headerFields(L, -1, of: "panini.response", writtenBy: "the server")
                }
                guard isInTime else {
                    return answerFailed(route, request, "its headers took too much CPU time to read")
                }
            } catch {
                return answerFailed(route, request, error.message)
            }
        }
        lua_settop(L, top)
        if status == 101, request.handshake != nil {
            // The request's object, for the handler to see what middlewares have put into it.
            lua_pushvalue(L, 1)
            return accept(route, request, headers: headers, object: vm.makeReference(L))
        }
        guard (200...599).contains(status) else { return answerFailed(route, request, "status \(status)") }
        for kind in Self.bodies {
            guard panini_field(L, index, kind) != LUA_TNIL else {
                lua_settop(L, top)
                continue
            }
            switch kind {
            case "json": return answer(L, json: top + 1, status: status, headers: headers, route, request)
            case "file": return answer(L, index, file: top + 1, status, headers, route, request)
            case "stream", "events":
                return stream(L, top + 1, status, headers, isEvents: kind == "events", route, request)
            default:
                let type =
                    kind == "text"
                    ? "text/plain; charset=utf-8"
                    : kind == "html" ? "text/html; charset=utf-8" : "application/octet-stream"
                request.answer(
                    status: status,
                    headers: with(headers, [("content-type", type)]),
                    body: vm.stringBytes(L, top + 1) ?? emptyBytes
                )
                return
            }
        }
        request.answer(status: status, headers: headers, body: emptyBytes)
    }

    /// Answers with a file: of the script's folder, or of the one that `app.http.static` was given.
    private func answer(
        _ L: OpaquePointer,
        _ index: CInt,
        file: CInt,
        _ status: Int,
        _ headers: [(name: String, value: String)],
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        let number = lua_rawgeti(L, index, 1) == LUA_TNUMBER ? Int(lua_tointegerx(L, -1, nil)) : 0
        lua_settop(L, file)
        guard let folder = folders.indices.contains(number) ? folders[number] : nil else {
            return answerFailed(route, request, "the script's folder cannot be read")
        }
        if number == 0, let restrictions {
            let path = "\(directory)/\(vm.string(L, file) ?? "")"
            guard restrictions.mayRead(path) else {
                return answerFailed(route, request, "the script may not read \(path) (--allow-read)")
            }
        }
        switch folder.open(Array(vm.stringBytes(L, file) ?? emptyBytes)) {
        case .notFound: refuse(request, ReplyError(404, "there is nothing here"))
        case .folder:
            let query = request.query.isEmpty ? "" : "?\(request.query)"
            let location = [(name: "location", value: "\(request.path)/\(query)")]
            request.answer(HTTPAnswer(status: 301, headers: location))
        case .found(let found):
            send(found, status, headers, request)
        }
    }

    /// Answers with a file, or with what the request's conditions make of that.
    private func send(
        _ file: HTTPFile,
        _ status: Int,
        _ headers: [(name: String, value: String)],
        _ request: HTTPRequest
    ) {
        // A script that knows better says so: its validators go out, so they are what comes back.
        let given = { (name: String) in headers.first { $0.name == name }?.value }
        let validators = HTTPValidators(
            entityTag: given("etag") ?? file.entityTag,
            modified: given("last-modified").flatMap(HTTPDate.parse) ?? file.modified
        )
        let plan = HTTPFilePlan(method: request.method, status: status, size: file.size, validators: validators) {
            let values = request.head.headers[$0]
            return values.isEmpty ? nil : values.joined(separator: ", ")
        }
        var own: [(name: String, value: String)] = [
            ("etag", file.entityTag), ("last-modified", HTTPDate.text(file.modified)), ("accept-ranges", "bytes"),
        ]
        if plan.status == 412 {
            file.close()
            var failure = HTTPAnswer.failure(412, "the file is not, or not any more, what the request's conditions say")
            failure.headers = with(failure.headers, headers.filter { $0.name != "content-type" } + own)
            return request.answer(failure)
        }
        if plan.status < 300 || plan.status == status { own.append(("content-type", file.mediaType)) }
        if let range = plan.contentRange { own.append(("content-range", range)) }
        request.answer(status: plan.status, headers: with(headers, own), file: file, range: plan.range)
    }

    /// Answers a request with an error.
    func refuse(_ request: HTTPRequest, _ error: ReplyError) {
        guard request.isOpen else { return }
        let writer = ByteWriter()
        ErrorReply.writeBody(error, into: writer)
        service?.errorReplies &+= 1
        request.answer(status: error.code, headers: Self.jsonHeaders, body: writer.bytes)
    }

    // MARK: - Streams

    private func stream(
        _ L: OpaquePointer,
        _ function: CInt,
        _ status: Int,
        _ headers: [(name: String, value: String)],
        isEvents: Bool,
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        guard request.isOpen, lua_type(L, function) == LUA_TFUNCTION else { return }
        let defaults =
            isEvents
            ? [(name: "content-type", value: "text/event-stream"), (name: "cache-control", value: "no-cache")]
            : [(name: "content-type", value: "application/octet-stream")]
        request.beginStream(status: status, headers: with(headers, defaults))
        lua_pushvalue(L, function)
        let reference = vm.makeReference(L)
        let kind = isEvents ? PANINI_REQUEST_SEND_EVENT : PANINI_REQUEST_WRITE
        activeCount += 1
        // From the outermost level: the handler's coroutine goes back first.
        self.defer(.stream(reference, route, request, CInt(kind)))
    }

    /// Starts the function that writes a stream.
    func startStream(_ function: LuaReference, _ route: HTTPRoute, _ request: HTTPRequest, _ kind: CInt) {
        let co = vm.acquireCoroutine()
        vm.push(function, onto: co.thread)
        vm.release(function)
        push(request, number: open(request), onto: co.thread)
        panini_request_push_function(co.thread, lua_gettop(co.thread), requestHost, kind)
        lua_rotate(co.thread, -2, 1)
        lua_settop(co.thread, -2)
        current = RunningActivity(holdsStop: true)
        beginAccount(.outside)
        settle(co, vm.resume(co, argumentCount: 1), .stream(route, request))
    }

    /// `write(bytes)` of a stream: waits while the client is slow.
    func write(_ call: HostCall, _ request: HTTPRequest?) throws(Misuse) -> CInt {
        let bytes = try call.bytes(1, "what is written")
        return try put(call, request, bytes)
    }

    /// `send{ event =, data =, id = }` of server-sent events, or `send(text)`.
    func sendEvent(_ call: HostCall, _ request: HTTPRequest?) throws(Misuse) -> CInt {
        let L = call.L
        var lines = ""
        if call.type(1) == LUA_TTABLE {
            try checkEvent(call)
            for name in ["event", "id", "retry"] {
                switch panini_field(L, 1, name) {
                case LUA_TNIL: break
                case LUA_TSTRING, LUA_TNUMBER:
                    let text = lua_type(L, -1) == LUA_TSTRING ? vm.string(L, -1) ?? "" : scalar(L, -1)
                    guard !text.contains(where: \.isNewline) else { throw Misuse("send: \(name) must be one line") }
                    lines += "\(name): \(text)\n"
                default: throw Misuse("send: \(name) cannot be \(call.typeName(-1))")
                }
                lua_settop(L, 1)
            }
            let type = panini_field(L, 1, "data")
            if type != LUA_TNIL { lines += dataLines(try eventData(call, lua_gettop(L))) }
            lua_settop(L, 1)
        } else {
            lines = dataLines(try call.string(1, "the event"))
        }
        guard !lines.isEmpty else { throw Misuse("send: an event has data, an event name or an id") }
        return try Array("\(lines)\n".utf8).withUnsafeBufferPointer { text throws(Misuse) in
            try put(call, request, UnsafeRawBufferPointer(text))
        }
    }

    /// Refuses a member that an event does not have.
    private func checkEvent(_ call: HostCall) throws(Misuse) {
        let known = ["event", "data", "id", "retry"]
        lua_pushnil(call.L)
        while panini_next(call.L, 1) != 0 {
            let name = lua_type(call.L, -2) == LUA_TSTRING ? vm.string(call.L, -2) ?? "?" : "a position"
            guard known.contains(name) else {
                throw Misuse("send: unknown member \"\(name)\"" + suggestion(for: name, in: known))
            }
            lua_settop(call.L, -2)
        }
    }

    private func scalar(_ L: OpaquePointer, _ index: CInt) -> String {
        lua_isinteger(L, index) != 0 ? String(lua_tointegerx(L, index, nil)) : String(lua_tonumberx(L, index, nil))
    }

    private func eventData(_ call: HostCall, _ index: CInt) throws(Misuse) -> String {
        if call.type(index) == LUA_TSTRING { return vm.string(call.L, index) ?? "" }
        do throws(SendFailure) {
            return String(decoding: try encode(call.L, index, dataType: .json), as: UTF8.self)
        } catch {
            guard case .unsendable(let text) = error else { return "" }
            throw Misuse("send: data: \(text)")
        }
    }

    private func dataLines(_ text: String) -> String {
        text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { "data: \($0)\n" }.joined()
    }

    private func put(_ call: HostCall, _ request: HTTPRequest?, _ bytes: UnsafeRawBufferPointer) throws(Misuse) -> CInt
    {
        guard let request, request.isOpen else {
            return call.failure(CallError("closed", "the client has closed the connection"))
        }
        if service?.state == .stopping, call.name.utf8CodeUnitCount == 4 {
            return call.failure(CallError("closed", "the service is stopping"))
        }
        let limit = service?.options.webConnectionMemory ?? AppOptions().webConnectionMemory
        guard writers.hasRoom(request, for: bytes.count, limit: limit) else {
            return call.failure(CallError("too_slow", "the client has not taken what was written before"))
        }
        if request.write(bytes) { return call.success() }
        let id = vm.canSuspend(call.L) ? vm.running?.id : nil
        writers.add(request, bytes: bytes.count, id: id)
        guard id != nil else { return call.success() }
        nextWait = .write(request)
        return LuaVM.suspend
    }

    /// A stream's connection takes bytes again, or is gone.
    func writable(_ request: HTTPRequest, _ completion: Completion) {
        for id in writers.take(request) { wake(id, completion) }
    }

    /// A stream's function has ended. What it has spawned may still wait to write to it.
    func endWrites(to request: HTTPRequest) {
        let closed = Completion.failure(CallError("closed", "the stream has ended"))
        for id in writers.take(request) { wake(id, closed) }
    }
}
