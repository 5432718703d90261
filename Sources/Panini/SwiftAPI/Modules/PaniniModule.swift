// Owns: what a Swift program says it offers to scripts, as a value: modules with functions, constants and types. Any thread;
// each script makes its own Lua tables from it (Script+Embedding.swift).

import LuaVM

/// A module of Swift functions that scripts `require`.
///
/// ```swift
/// configuration.module("geo") { module in
///     module.function("distance") { (a: Point, b: Point) in a.distance(to: b) }
///     module.function("lookup") { (name: String) async throws -> Point? in try await atlas.find(name) }
///     module.constant("earth_radius", 6_371_000)
/// }
/// ```
///
/// ```lua
/// local geo = require "geo"
/// local metres = geo.distance({ x = 0, y = 0 }, { x = 3, y = 4 })
/// ```
///
/// A module is declared before the host runs. Every Lua state gets it: of each service, each worker and each version that
/// a reload brings. A function that is not async runs on the worker's thread and holds up all of its messages, so it must
/// not block; an async one runs in a task of its own, and only the coroutine that called it waits.
public struct PaniniModule: Sendable {
    /// What scripts `require`.
    public let name: String
    var members: [Member] = []
    var objects: [ObjectDefinition] = []

    struct Member: Sendable {
        enum Content: Sendable {
            case function(EmbeddedBody)
            case constant(@Sendable (LuaResults) throws(LuaMismatch) -> Void)
        }

        let name: String
        let content: Content
    }

    /// An empty module.
    ///
    /// - Parameter name: What scripts `require`: words of letters, digits and `_`, with dots between. Not `panini` and
    ///   not the name of a library of Lua.
    public init(_ name: String) {
        precondition(Self.isValid(name), "\"\(name)\" cannot be the name of a module")
        self.name = name
    }

    private static let taken: Set<String> = [
        "_G", "coroutine", "debug", "io", "math", "os", "package", "panini", "string", "table", "utf8",
    ]

    private static func isValid(_ name: String) -> Bool {
        let words = name.split(separator: ".", omittingEmptySubsequences: false)
        return !taken.contains(name) && words.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(isWordByte) }
    }

    private static func isWordByte(_ byte: UInt8) -> Bool { byte != UInt8(ascii: "-") && isNameByte(byte) }

    /// Offers a function that answers at once, on the worker's thread.
    ///
    /// - Parameters:
    ///   - name: Its name in the module.
    ///   - body: Takes the arguments. What it returns is the call's result; ``PaniniScriptError`` becomes `nil, err`, and
    ///     every other error is raised at the script's line.
    @inlinable
    public mutating func function<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ name: String,
        _ body: @escaping @Sendable (repeat each Argument) throws -> Result
    ) {
        offer(name, EmbeddedBody(body))
    }

    /// Offers a function that answers at once and has no result.
    ///
    /// - Parameters:
    ///   - name: Its name in the module.
    ///   - body: Takes the arguments. The call returns true; ``PaniniScriptError`` becomes `nil, err`, and every other error
    ///     is raised at the script's line.
    @inlinable
    public mutating func function<each Argument: LuaConvertible>(
        _ name: String,
        _ body: @escaping @Sendable (repeat each Argument) throws -> Void
    ) {
        offer(
            name,
            EmbeddedBody { (argument: repeat each Argument) throws -> Bool in
                try body(repeat each argument)
                return true
            }
        )
    }

    /// Offers a function that takes its time: it runs in a task, and only the coroutine that calls it waits. The task is
    /// cancelled when that coroutine is given up: its time is over, or the service stops.
    ///
    /// - Parameters:
    ///   - name: Its name in the module.
    ///   - start: Where the task begins: on the worker's thread until it first waits, or off it.
    ///   - body: Takes the arguments. What it returns is the call's result; ``PaniniScriptError`` becomes `nil, err`, and
    ///     every other error is raised at the script's line.
    public mutating func function<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ name: String,
        start: PaniniTaskStart = .onWorker,
        _ body: @escaping @Sendable (repeat each Argument) async throws -> Result
    ) {
        add(name, .function(EmbeddedBody(start, waiting: body)))
    }

    /// Offers a function that takes its time and has no result.
    ///
    /// - Parameters:
    ///   - name: Its name in the module.
    ///   - start: Where the task begins: on the worker's thread until it first waits, or off it.
    ///   - body: Takes the arguments. The call returns true; ``PaniniScriptError`` becomes `nil, err`, and every other error
    ///     is raised at the script's line.
    public mutating func function<each Argument: LuaConvertible>(
        _ name: String,
        start: PaniniTaskStart = .onWorker,
        _ body: @escaping @Sendable (repeat each Argument) async throws -> Void
    ) {
        add(
            name,
            .function(
                EmbeddedBody(
                    start,
                    waiting: { (argument: repeat each Argument) async throws -> Bool in
                        try await body(repeat each argument)
                        return true
                    }
                )
            )
        )
    }

    /// Offers a value.
    ///
    /// - Parameters:
    ///   - name: Its name in the module.
    ///   - value: The value; each Lua state gets a copy.
    public mutating func constant(_ name: String, _ value: some LuaConvertible) {
        add(name, .constant { results throws(LuaMismatch) in try value.push(to: results) })
    }

    /// Says which methods the objects of a class have in scripts.
    ///
    /// - Parameters:
    ///   - type: The class.
    ///   - name: What error texts and `tostring` call an object.
    ///   - build: Adds the methods.
    public mutating func type<Object: PaniniObject>(
        _ type: Object.Type,
        _ name: String,
        _ build: (inout PaniniObjectMethods<Object>) -> Void
    ) {
        var methods = PaniniObjectMethods<Object>()
        build(&methods)
        objects.append(ObjectDefinition(key: ObjectIdentifier(type), name: name, methods: methods.methods))
    }

    @usableFromInline
    mutating func offer(_ name: String, _ body: EmbeddedBody) { add(name, .function(body)) }

    private mutating func add(_ name: String, _ content: Member.Content) {
        precondition(!members.contains { $0.name == name }, "module \(self.name) has two members \"\(name)\"")
        members.append(Member(name: name, content: content))
    }
}
