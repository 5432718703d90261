// Owns: what a middleware in Swift sees of a message: a view of what lies on the Lua stack or in the message's block.
// Worker's thread; valid during one call. Nothing is copied before it is asked for.

import Bytes
import CLuaVM
import CScriptObjects
import LuaVM
import NATSProtocol
import NIOCore
import NIOHTTP1
import PaniniHTTP
import ScriptRuntime

/// Something that has come in, as middlewares in Swift see it.
protocol MiddlewareSource {
    /// Where it came to.
    var subject: String { get }
    /// What was listened to: of bounded number, unlike subjects.
    var pattern: String { get }
    /// Its bytes.
    var payload: [UInt8]? { get }
    /// Its headers, in their order.
    var headerFields: [(name: String, value: String)] { get }

    /// What others keep with its pattern: where messages of it are counted.
    var kept: AnyObject? { get nonmutating set }
}

extension MiddlewareSource {
    func header(_ name: String) -> String? { headerFields.first { $0.name.isExactly(name) }?.value }
}

/// A message on its way through the middlewares.
public struct PaniniMiddlewareMessage: ~Copyable {
    enum Source {
        case received(UnsafeMutablePointer<panini_message>)
        /// Subject, value and options are at 1, 2 and 3.
        case sent(OpaquePointer)
        /// A request of the web server.
        case requested(HTTPRequest)
        /// What comes in through a feature that is none of these two.
        case other(any MiddlewareSource)
        /// A send that was given up.
        case past(subject: [UInt8])
    }

    /// What the message is.
    public let kind: PaniniMiddlewareKind
    let source: Source
    let script: Script

    init(_ kind: PaniniMiddlewareKind, _ source: Source, script: Script) {
        self.kind = kind
        self.source = source
        self.script = script
    }

    /// The service's name.
    public var serviceName: String { script.options?.serviceName ?? "" }

    /// The concrete subject; of a request to the web server its path.
    public var subject: String {
        switch source {
        case .received(let message): script.text(script.subjectOf(message))
        case .sent(let L): script.vm.string(L, 1) ?? ""
        case .requested(let request): request.path
        case .other(let source): source.subject
        case .past(let subject): String(decoding: subject, as: UTF8.self)
        }
    }

    /// The payload's bytes: as they arrived, or as they would be sent. Nil for a value that cannot be sent, and for a send
    /// that was given up.
    public var payload: [UInt8]? {
        switch source {
        case .received(let message):
            return Array(
                UnsafeRawBufferPointer(
                    start: panini_message_payload(message),
                    count: Int(message.pointee.payload_length)
                )
            )
        case .sent(let L):
            let name = option("data_type", L)
            return script.encoded(L, 2, dataType: name.flatMap { DataType(name: $0) })
        case .requested(let request): return request.body.map { Array($0.readableBytesView) } ?? []
        case .other(let source): return source.payload
        case .past: return nil
        }
    }

    /// The first value of a header; its name is compared as it is written, for HTTP without regard to case.
    ///
    /// - Parameter name: The header's name.
    public func header(_ name: String) -> String? {
        switch source {
        case .received(let message):
            let block = UnsafeRawBufferPointer(
                start: panini_message_headers(message),
                count: Int(message.pointee.headers_length)
            )
            var lines = NATSHeaderLines(block)
            while let field = lines.next() {
                if field.name.elementsEqual(name.utf8) { return String(decoding: field.value, as: UTF8.self) }
            }
            return nil
        case .sent(let L):
            let top = lua_gettop(L)
            defer { lua_settop(L, top) }
            guard lua_type(L, 3) == LUA_TTABLE, panini_field(L, 3, "headers") == LUA_TTABLE else { return nil }
            if panini_field(L, -1, name) == LUA_TTABLE { lua_rawgeti(L, -1, 1) }
            return script.vm.string(L, -1)
        case .requested(let request): return request.head.headers.first(name: name)
        case .other(let source): return source.header(name)
        case .past: return nil
        }
    }

    /// The method of a request to the web server; nil for messages.
    public var method: String? {
        if case .requested(let request) = source { request.method } else { nil }
    }

    /// Gives a send a header, in place of one of the same name; of a request to the web server, gives the answer one more.
    ///
    /// - Parameters:
    ///   - name: The header's name.
    ///   - value: One line of text.
    /// - Returns: False for messages that were received: they are as they are.
    @discardableResult
    public mutating func setHeader(_ name: String, _ value: String) -> Bool {
        if case .requested(let request) = source {
            guard NATSHeaders.isValidName(name), !value.utf8.contains(where: { $0 < 0x20 && $0 != 9 || $0 == 0x7F })
            else {
                return false
            }
            request.responseHeaders.add(name, value)
            return true
        }
        guard case .sent(let L) = source, lua_checkstack(L, 12) != 0 else { return false }
        ownOptions(L)
        let top = lua_gettop(L)
        if panini_field(L, 3, "headers") == LUA_TTABLE { copyTable(L, lua_gettop(L)) } else { lua_createtable(L, 0, 1) }
        let headers = lua_gettop(L)
        script.vm.pushString(L, name)
        script.vm.pushString(L, value)
        lua_rawset(L, headers)
        script.vm.pushString(L, "headers" as StaticString)
        lua_pushvalue(L, headers)
        lua_rawset(L, 3)
        lua_settop(L, top)
        return true
    }

    /// Publishes a message of its own, past all middlewares. A middleware cannot wait: what finds no room is not sent.
    ///
    /// - Parameters:
    ///   - payload: The bytes.
    ///   - subject: Where they go: a valid subject without wildcards.
    /// - Returns: False when the connection does not take it, also while the broker takes less than the service sends.
    @discardableResult
    public func publish(_ payload: [UInt8], to subject: String) -> Bool {
        guard let service = script.service else { return false }
        let failure = Array(subject.utf8).withUnsafeBytes { subject in
            payload.withUnsafeBytes {
                service.publish(subject: subject, reply: emptyBytes, headers: emptyBytes, payload: $0)
            }
        }
        return failure == nil
    }
}

extension PaniniMiddlewareMessage {
    /// Sets the time limit of a request that has none of its own.
    mutating func setDefaultTimeout(_ seconds: Double) {
        guard kind.isAwaited, case .sent(let L) = source, lua_checkstack(L, 12) != 0 else { return }
        if lua_type(L, 3) == LUA_TTABLE {
            let type = panini_field(L, 3, "timeout")
            lua_settop(L, -2)
            guard type == LUA_TNIL else { return }
        }
        ownOptions(L)
        script.vm.pushString(L, "timeout" as StaticString)
        lua_pushnumber(L, seconds)
        lua_rawset(L, 3)
    }

    private func option(_ name: String, _ L: OpaquePointer) -> String? {
        guard lua_type(L, 3) == LUA_TTABLE else { return nil }
        let top = lua_gettop(L)
        defer { lua_settop(L, top) }
        return panini_field(L, 3, name) == LUA_TSTRING ? script.vm.string(L, -1) : nil
    }

    /// Puts a table of this send's own at 3: the caller's stays as it is.
    private func ownOptions(_ L: OpaquePointer) {
        if lua_type(L, 3) == LUA_TTABLE { copyTable(L, 3) } else { lua_createtable(L, 0, 1) }
        lua_copy(L, -1, 3)
        lua_settop(L, -2)
    }

    /// Pushes a copy of the table at an index.
    private func copyTable(_ L: OpaquePointer, _ index: CInt) {
        lua_createtable(L, 0, 2)
        lua_pushnil(L)
        while panini_next(L, index) != 0 {
            lua_pushvalue(L, -2)
            lua_rotate(L, -2, 1)
            lua_rawset(L, -4)
        }
    }
}
