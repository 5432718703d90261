// Owns: what goes back for a request: a handler's value, `panini.response`, errors, streams. Worker's thread.

import Bytes
import CLuaVM
import CScriptObjects
import Logging
import LuaVM
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime

extension Script {
    private static let bodies = ["text", "json", "html", "body", "file", "stream", "events"]

    /// `panini.response{...}`: checks what can be checked, and marks the table.
    func response(_ call: HostCall) throws(UsageError) -> CInt {
        let L = call.L
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError("panini.response: takes a table, as in panini.response{ status = 201, json = {} }")
        }
        lua_settop(L, 1)
        let known = ["status", "headers"] + Self.bodies
        var kinds: [String] = []
        lua_pushnil(L)
        while panini_next(L, 1) != 0 {
            let text = vm.string(L, 2, upTo: UsageError.longest)
            guard lua_type(L, 2) == LUA_TSTRING, let name = text, known.contains(name) else {
                let name = text ?? "a position"
                throw UsageError("panini.response: unknown member \"\(name)\"" + suggestion(for: name, in: known))
            }
            if Self.bodies.contains(name) { kinds.append(name) }
            switch (name, lua_type(L, 3)) {
            case ("status", LUA_TNUMBER):
                guard lua_isinteger(L, 3) != 0, (200...599).contains(lua_tointegerx(L, 3, nil)) else {
                    throw UsageError("panini.response: status must be a whole number from 200 to 599")
                }
            case ("text", LUA_TSTRING), ("html", LUA_TSTRING), ("body", LUA_TSTRING), ("file", LUA_TSTRING),
                ("json", _):
                break
            case ("stream", LUA_TFUNCTION), ("events", LUA_TFUNCTION): break
            case ("headers", LUA_TTABLE): _ = try headerFields(L, 3, of: "panini.response", writtenBy: "the server")
            default: throw UsageError("panini.response: \(name) cannot be \(call.typeName(3))")
            }
            lua_settop(L, 2)
        }
        guard kinds.count <= 1 else {
            throw UsageError(
                "panini.response: a response has one body, not \(kinds.sorted().joined(separator: " and "))"
            )
        }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(http.responseType))
        lua_setmetatable(L, 1)
        lua_settop(L, 1)
        return 1
    }

    // MARK: - Responding

    /// Responds to a request with what its handler returned.
    func respond(_ L: OpaquePointer, _ count: CInt, _ route: HTTPRoute, _ request: HTTPRequest) {
        guard count > 0 else { return request.respond(HTTPResponse(status: 204)) }
        let first = lua_gettop(L) - count + 1
        switch lua_type(L, first) {
        case LUA_TNIL:
            guard count >= 2, lua_type(L, first + 1) != LUA_TNIL else {
                return request.respond(HTTPResponse(status: 204))
            }
            let error = readError(L, first + 1)
            route.failed &+= 1
            refuse(
                request,
                ReplyError(code: error.code, message: error.message, errors: errorList(L, first + 1, of: route.origin))
            )
        case LUA_TSTRING:
            let bytes = vm.stringBytes(L, first) ?? emptyBytes
            request.respond(status: 200, headers: Self.textHeaders, body: bytes)
        case LUA_TTABLE where isResponse(L, first): respond(L, response: first, route, request)
        default: respond(L, json: first, status: 200, headers: [], route, request)
        }
    }

    private static let textHeaders: HTTPFields = [("content-type", "text/plain; charset=utf-8")]
    private static let jsonHeaders: HTTPFields = [("content-type", "application/json")]

    private func isResponse(_ L: OpaquePointer, _ index: CInt) -> Bool {
        guard lua_getmetatable(L, index) != 0 else { return false }
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(http.responseType))
        defer { lua_settop(L, -3) }
        return lua_rawequal(L, -1, -2) != 0
    }

    private func respond(
        _ L: OpaquePointer,
        json index: CInt,
        status: Int,
        headers: HTTPFields,
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        do throws(SendFailure) {
            let bytes = try encode(L, index, dataType: .json)
            request.respond(status: status, headers: headers.completed(by: Self.jsonHeaders), body: bytes)
        } catch {
            guard case .unsendable(let text) = error else { return }
            if !route.takesBytes, hasBytes(L, index), let problem = RequestText.problem(request.raw) {
                // The response repeats what the client has sent.
                return refuse(request, ReplyError(400, "\(problem.callError.message), and the answer would repeat it"))
            }
            responseFailed(route, request, text)
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

    private func responseFailed(_ route: HTTPRoute, _ request: HTTPRequest, _ text: String) {
        route.failed &+= 1
        let reason = "the response cannot be sent: \(text)"
        logger.error("handler of \(route.method) \(route.path) (\(route.origin)): \(reason)")
        refuse(request, service?.debug == true ? ReplyError(500, reason) : .internalError)
    }

    private func respond(_ L: OpaquePointer, response index: CInt, _ route: HTTPRoute, _ request: HTTPRequest) {
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        guard lua_checkstack(L, 12) != 0 else { return responseFailed(route, request, "the Lua stack is full") }
        var status = 200
        var headers: HTTPFields = []
        if panini_field(L, index, "status") == LUA_TNUMBER { status = Int(lua_tointegerx(L, -1, nil)) }
        if panini_field(L, index, "headers") == LUA_TTABLE {
            do throws(UsageError) {
                // Checked when it was made; it may have been changed since.
                let isInTime = try vm.withinBudget { () throws(UsageError) in
                    headers = try headerFields(L, -1, of: "panini.response", writtenBy: "the server")
                }
                guard isInTime else {
                    return responseFailed(route, request, "its headers took too much CPU time to read")
                }
            } catch {
                return responseFailed(route, request, error.message)
            }
        }
        lua_settop(L, top)
        if status == 101, request.handshake != nil {
            // The request's object, for the handler to see what middlewares have put into it.
            lua_pushvalue(L, 1)
            return accept(route, request, headers: headers, object: vm.makeReference(L))
        }
        guard (200...599).contains(status) else { return responseFailed(route, request, "status \(status)") }
        for kind in Self.bodies {
            guard panini_field(L, index, kind) != LUA_TNIL else {
                lua_settop(L, top)
                continue
            }
            switch kind {
            case "json": return respond(L, json: top + 1, status: status, headers: headers, route, request)
            case "file": return respond(L, index, file: top + 1, status, headers, route, request)
            case "stream", "events":
                return stream(L, top + 1, status, headers, isEvents: kind == "events", route, request)
            default:
                let type =
                    kind == "text"
                    ? "text/plain; charset=utf-8"
                    : kind == "html" ? "text/html; charset=utf-8" : "application/octet-stream"
                request.respond(
                    status: status,
                    headers: headers.completed(by: [("content-type", type)]),
                    body: vm.stringBytes(L, top + 1) ?? emptyBytes
                )
                return
            }
        }
        request.respond(status: status, headers: headers, body: emptyBytes)
    }

    /// Responds with a file: of the script's folder, or of the one that `app.http.static` was given.
    private func respond(
        _ L: OpaquePointer,
        _ index: CInt,
        file: CInt,
        _ status: Int,
        _ headers: HTTPFields,
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        let number = lua_rawgeti(L, index, 1) == LUA_TNUMBER ? Int(lua_tointegerx(L, -1, nil)) : 0
        lua_settop(L, file)
        guard let folder = http.folders.indices.contains(number) ? http.folders[number] : nil else {
            return responseFailed(route, request, "the script's folder cannot be read")
        }
        // No file has a longer path.
        guard lua_rawlen(L, file) < Int(PATH_MAX) else {
            return refuse(request, ReplyError(404, "there is nothing here"))
        }
        if number == 0, let restrictions {
            let path = "\(directory)/\(vm.string(L, file) ?? "")"
            guard restrictions.mayRead(path) else {
                return responseFailed(route, request, "the script may not read \(path) (--allow-read)")
            }
        }
        switch folder.open(Array(vm.stringBytes(L, file) ?? emptyBytes)) {
        case .notFound: refuse(request, ReplyError(404, "there is nothing here"))
        case .full:
            service?.ranShortOfFiles()
            refuse(request, ReplyError(503, "the server has too many files open"))
        case .folder:
            let query = request.query.isEmpty ? "" : "?\(request.query)"
            let location: HTTPFields = [("location", "\(request.path)/\(query)")]
            request.respond(HTTPResponse(status: 301, headers: location))
        case .found(let found):
            send(found, status, headers, request)
        }
    }

    /// Responds with a file, or with what the request's conditions make of that.
    private func send(
        _ file: HTTPFile,
        _ status: Int,
        _ headers: HTTPFields,
        _ request: HTTPRequest
    ) {
        // A script that knows better says so: its validators go out, so they are what comes back.
        let validators = HTTPValidators(
            entityTag: headers["etag"] ?? file.entityTag,
            modified: headers["last-modified"].flatMap(HTTPDate.parse) ?? file.modified
        )
        let plan = HTTPFilePlan(method: request.method, status: status, size: file.size, validators: validators) {
            let values = request.head.headers[$0]
            return values.isEmpty ? nil : values.joined(separator: ", ")
        }
        var own: HTTPFields = [
            ("etag", file.entityTag), ("last-modified", HTTPDate.text(file.modified)), ("accept-ranges", "bytes"),
        ]
        if plan.status == 412 {
            file.close()
            var failure = HTTPResponse.failure(
                412,
                "the file is not, or not any more, what the request's conditions say"
            )
            var others = headers
            others["content-type"] = nil
            failure.headers = failure.headers.completed(by: others.adding(own))
            return request.respond(failure)
        }
        if plan.status < 300 || plan.status == status { own.add("content-type", file.mediaType) }
        if let range = plan.contentRange { own.add("content-range", range) }
        request.respond(status: plan.status, headers: headers.completed(by: own), file: file, range: plan.range)
    }

    /// Responds to a request with an error.
    func refuse(_ request: HTTPRequest, _ error: ReplyError) {
        guard request.isOpen else { return }
        let writer = ByteWriter()
        ErrorReply.writeBody(error, into: writer)
        service?.counters.errorReplied()
        request.respond(status: error.code, headers: Self.jsonHeaders, body: writer.bytes)
    }

    // MARK: - Streams

    private func stream(
        _ L: OpaquePointer,
        _ function: CInt,
        _ status: Int,
        _ headers: HTTPFields,
        isEvents: Bool,
        _ route: HTTPRoute,
        _ request: HTTPRequest
    ) {
        guard request.isOpen, lua_type(L, function) == LUA_TFUNCTION else { return }
        let defaults: HTTPFields =
            isEvents
            ? [("content-type", "text/event-stream"), ("cache-control", "no-cache")]
            : [("content-type", "application/octet-stream")]
        request.beginStream(status: status, headers: headers.completed(by: defaults))
        lua_pushvalue(L, function)
        let reference = vm.makeReference(L)
        let kind = isEvents ? PANINI_REQUEST_SEND_EVENT : PANINI_REQUEST_WRITE
        route.streams.defer(reference, kind: kind, request)
    }

    /// Starts the function that writes a stream.
    func startStream(_ function: LuaReference, _ activity: Activity, kind: CInt) {
        let request = HTTPRoute.request(of: activity)
        let co = vm.acquireCoroutine()
        vm.push(function, onto: co.thread)
        vm.release(function)
        push(request, number: http.open(request), onto: co.thread)
        panini_request_push_function(co.thread, lua_gettop(co.thread), http.requestHost, kind)
        lua_rotate(co.thread, -2, 1)
        lua_settop(co.thread, -2)
        current = RunningActivity(holdsStop: true)
        beginAccount(.outside)
        settle(co, vm.resume(co, argumentCount: 1), activity)
    }

    /// `write(bytes)` of a stream: waits while the client is slow.
    func write(_ call: HostCall, _ request: HTTPRequest?) throws(UsageError) -> CInt {
        let bytes = try call.bytes(1, "what is written")
        return try put(call, request, bytes, endsWithService: false)
    }

    /// `send{ event =, data =, id = }` of server-sent events, or `send(text)`.
    func sendEvent(_ call: HostCall, _ request: HTTPRequest?) throws(UsageError) -> CInt {
        let L = call.L
        var lines = EventText(vm)
        if call.type(1) == LUA_TTABLE {
            try checkEvent(call)
            for name in ["event", "id", "retry"] {
                switch panini_field(L, 1, name) {
                case LUA_TNIL: break
                case LUA_TSTRING, LUA_TNUMBER:
                    let isText = lua_type(L, -1) == LUA_TSTRING
                    let isLine =
                        if isText, let bytes = vm.stringBytes(L, -1) {
                            try lines.add(name, line: bytes)
                        } else {
                            try lines.add(name, line: scalar(L, -1))
                        }
                    guard isLine else { throw UsageError("send: \(name) must be one line") }
                default: throw UsageError("send: \(name) cannot be \(call.typeName(-1))")
                }
                lua_settop(L, 1)
            }
            let type = panini_field(L, 1, "data")
            if type != LUA_TNIL { try addData(call, lua_gettop(L), to: &lines) }
            lua_settop(L, 1)
        } else {
            try lines.add(data: try call.bytes(1, "the event"))
        }
        guard !lines.isEmpty else { throw UsageError("send: an event has data, an event name or an id") }
        return try lines.end().withUnsafeBufferPointer { text throws(UsageError) in
            try put(call, request, UnsafeRawBufferPointer(text), endsWithService: true)
        }
    }

    /// Refuses a member that an event does not have.
    private func checkEvent(_ call: HostCall) throws(UsageError) {
        let known = ["event", "data", "id", "retry"]
        lua_pushnil(call.L)
        while panini_next(call.L, 1) != 0 {
            let name = lua_type(call.L, -2) == LUA_TSTRING ? vm.string(call.L, -2, upTo: 8192) ?? "?" : "a position"
            guard known.contains(name) else {
                throw UsageError("send: unknown member \"\(name)\"" + suggestion(for: name, in: known))
            }
            lua_settop(call.L, -2)
        }
    }

    private func scalar(_ L: OpaquePointer, _ index: CInt) -> String {
        lua_isinteger(L, index) != 0 ? String(lua_tointegerx(L, index, nil)) : String(lua_tonumberx(L, index, nil))
    }

    private func addData(_ call: HostCall, _ index: CInt, to lines: inout EventText) throws(UsageError) {
        if let text = vm.stringBytes(call.L, index) { return try lines.add(data: text) }
        do throws(SendFailure) {
            let json = try encode(call.L, index, dataType: .json)
            do throws(UsageError) {
                try lines.add(data: json)
            } catch {
                throw SendFailure.unsendable(error.message)
            }
        } catch {
            guard case .unsendable(let text) = error else { return try lines.add(data: emptyBytes) }
            throw UsageError("send: data: \(text)")
        }
    }

    /// Writes to a stream.
    ///
    /// - Parameter endsWithService: A stream of events has no end of its own: nothing is added once the service stops.
    private func put(
        _ call: HostCall,
        _ request: HTTPRequest?,
        _ bytes: UnsafeRawBufferPointer,
        endsWithService: Bool
    ) throws(UsageError) -> CInt {
        guard let request, request.isOpen else {
            return call.failure(CallError("closed", "the client has closed the connection"))
        }
        if endsWithService, service?.state == .stopping {
            return call.failure(CallError("closed", "the service is stopping"))
        }
        let limit = service?.options.webConnectionMemory ?? AppOptions().webConnectionMemory
        guard http.writers.hasRoom(request, for: bytes.count, limit: limit) else {
            return call.failure(CallError("too_slow", "the client has not taken what was written before"))
        }
        if request.write(bytes) { return call.success() }
        // The write itself may have met the end of the connection. That was told before there was anybody to wait: whoever waited
        // now would wait for good, and a stop for him.
        guard request.isOpen else {
            return call.failure(CallError("closed", "the client has closed the connection"))
        }
        let id = vm.canSuspend(call.L) ? vm.running?.id : nil
        http.writers.add(request, bytes: bytes.count, id: id)
        guard id != nil else { return call.success() }
        nextWait = Wait(http.writers, token: StreamWriters.token(of: request))
        return LuaVM.suspend
    }

    /// A stream's connection takes bytes again, or is gone.
    func writable(_ request: HTTPRequest, _ completion: Completion) {
        for id in http.writers.take(request) { wake(id, completion) }
    }

    /// A stream's function has ended. What it has spawned may still wait to write to it.
    func endWrites(to request: HTTPRequest) {
        let closed = Completion.failure(CallError("closed", "the stream has ended"))
        for id in http.writers.take(request) { wake(id, closed) }
    }
}
