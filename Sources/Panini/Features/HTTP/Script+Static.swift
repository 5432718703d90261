// Owns: `app.http.static`. Worker's thread: registered while the file runs, its handler runs as every other one does, so that
// middlewares stand before files, too.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

extension Script {
    /// `app.http.static(prefix, folder [, options])`.
    func serveFolder(_ call: HostCall) throws(UsageError) -> CInt {
        try requireWebServer(call)
        var prefix = try routePath(call, 1)
        guard !prefix.utf8.contains(UInt8(ascii: "{")) else {
            throw UsageError("app.http.static: a prefix has no parameters")
        }
        while prefix.utf8.last == UInt8(ascii: "/") { prefix = String(Substring(prefix.utf8.dropLast())) }
        let path = try call.string(2, "the folder")
        guard let folder = HTTPFolder(path.begins(with: "/") ? path : "\(directory)/\(path)") else {
            throw UsageError("app.http.static: there is no folder \"\(path)\" beside the script")
        }
        try requireReadable(path.begins(with: "/") ? path : "\(directory)/\(path)", "app.http.static")
        let given = try LuaOptions(call, 3, known: ["max_age", "middlewares"])
        let age = try given.integer("max_age", in: 0...31_536_000, or: "a number of seconds from 0 to a year")
        let layers = call.isNone(3) ? [] : try ownMiddlewares(call, 3, of: [.httpRequest])
        http.folders.append(folder)
        // What the handler needs to know: the folder's number, and how long browsers may keep files.
        lua_createtable(call.L, 0, 2)
        lua_pushinteger(call.L, lua_Integer(http.folders.count - 1))
        lua_rawseti(call.L, -2, 1)
        if let age {
            lua_pushinteger(call.L, lua_Integer(age))
            lua_rawseti(call.L, -2, 2)
        }
        panini_push_bound_function(call.L, sendStaticFile, Unmanaged.passUnretained(self).toOpaque())
        let handler = RegisteredFunction(function: vm.makeReference(call.L), origin: "\(self.path): \(path)")
        for pattern in prefix.isEmpty ? ["/{path...}"] : [prefix, prefix + "/{path...}"] {
            let route = HTTPRoute(
                script: self,
                method: "GET",
                path: pattern,
                parameters: pattern == prefix ? [] : ["path"],
                handler: handler,
                middlewares: layers,
                maximumBody: nil,
                timeoutNanoseconds: nanoseconds(options?.handlerTimeout ?? 30)
            )
            do throws(HTTPRouteError) {
                try http.routes.add(route)
            } catch {
                throw UsageError("app.http.static: \(error.message)")
            }
            compose(route)
        }
        return 0
    }

    /// Pushes the response that stands for a file of a folder.
    fileprivate func pushFile(_ L: OpaquePointer, _ request: RequestBytes) -> CInt {
        let path = String(decoding: request.path, as: UTF8.self)
        var file: [UInt8]?
        if case .found(let index, let captures) = http.routes.table.match(
            method: "GET",
            path: Substring(path).utf8
        ),
            index == request.route
        {
            file = captures.first.map(HTTPRouteTable.decoded)
        }
        lua_createtable(L, 1, 2)
        let response = lua_gettop(L)
        lua_rawgeti(L, CInt(PANINI_REGISTRY_INDEX), lua_Integer(http.responseType))
        lua_setmetatable(L, response)
        guard let file else {
            // The prefix itself, which is a folder.
            vm.pushString(L, "status" as StaticString)
            lua_pushinteger(L, 301)
            lua_rawset(L, response)
            pushHeader(L, response, "location", path + "/")
            return 1
        }
        lua_rawgeti(L, CInt(PANINI_BOUND_VALUE), 1)
        lua_rawseti(L, response, 1)
        vm.pushString(L, "file" as StaticString)
        file.withUnsafeBytes { vm.pushString(L, $0) }
        lua_rawset(L, response)
        if lua_rawgeti(L, CInt(PANINI_BOUND_VALUE), 2) == LUA_TNUMBER {
            pushHeader(L, response, "cache-control", "public, max-age=\(lua_tointegerx(L, -1, nil))")
        }
        lua_settop(L, response)
        return 1
    }

    private func pushHeader(_ L: OpaquePointer, _ response: CInt, _ name: String, _ value: String) {
        vm.pushString(L, "headers" as StaticString)
        lua_createtable(L, 0, 1)
        vm.pushString(L, name)
        vm.pushString(L, value)
        lua_rawset(L, -3)
        lua_rawset(L, response)
    }
}

/// The handler of `app.http.static`.
private let sendStaticFile: panini_host_function = { L, context in
    guard let L, let block = lua_touserdata(L, 1)?.assumingMemoryBound(to: panini_request.self) else { return 0 }
    return Script.from(context).pushFile(L, RequestBytes(block))
}
