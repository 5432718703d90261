// Owns: Swift objects in scripts: the protocol, the methods that a module declares for a class, and the userdata that holds
// one. Lua's collector lets go of the object; closing the state does, too. Worker's thread.

import CLuaVM
import CScriptObjects
import LuaVM

/// A class whose objects scripts can hold, and call methods of.
///
/// An object goes to a script as the result of a function, and back as an argument. Scripts reach nothing of it but the
/// methods that ``PaniniModule/type(_:_:_:)`` declares. The script's handle keeps the object alive until Lua's collector
/// frees it, at the latest until the script's version is gone; what others hold of it is not affected, so that an object
/// outlives a reload when the Swift program keeps it.
///
/// ```swift
/// final class Account: PaniniObject { ... }
///
/// configuration.module("bank") { module in
///     module.type(Account.self, "account") { type in
///         type.method("deposit") { (account: Account, amount: Int) in account.deposit(amount) }
///     }
///     module.function("open") { (owner: String) in Account(owner: owner) }
/// }
/// ```
public protocol PaniniObject: AnyObject, LuaConvertible {}

extension PaniniObject {
    /// What an error text calls it.
    public static var luaDescription: String { "a \(Self.self)" }

    /// Reads the object of a handle.
    public static func read(_ argument: LuaArgument) throws(LuaMismatch) -> Self {
        let embedding = argument.script.embedding
        guard let metatable = embedding.metatable(of: ObjectIdentifier(Self.self)) else {
            throw LuaMismatch("cannot be a \(Self.self): no module declares that type")
        }
        guard let block = panini_userdata_at(argument.L, argument.index, metatable) else {
            let name = embedding.types[ObjectIdentifier(Self.self)]?.name ?? "\(Self.self)"
            throw LuaMismatch("must be a \(name), not \(argument.typeName)")
        }
        let object = Unmanaged<AnyObject>.fromOpaque(
            block.assumingMemoryBound(to: panini_object.self).pointee.object.unsafelyUnwrapped
        ).takeUnretainedValue()
        // The metatable is this class's own: nothing else has it.
        return unsafeDowncast(object, to: Self.self)
    }

    /// Pushes a handle that keeps the object alive.
    public func push(to results: LuaResults) throws(LuaMismatch) {
        guard let metatable = results.script.embedding.metatable(of: ObjectIdentifier(Self.self)) else {
            throw LuaMismatch("is a \(Self.self), a type that no module declares")
        }
        try results.reserve()
        panini_object_push(results.L, metatable, Unmanaged<AnyObject>.passRetained(self).toOpaque())
    }
}

/// The methods of a class in scripts.
public struct PaniniObjectMethods<Object: PaniniObject> {
    var methods: [ObjectDefinition.Method] = []

    /// Adds a method that answers at once. In Lua, `object.name(...)` and `object:name(...)` are the same call.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - body: Takes the object and the arguments. Results and errors are as for functions.
    @inlinable
    public mutating func method<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ name: String,
        _ body: @escaping @Sendable (Object, repeat each Argument) throws -> Result
    ) {
        add(name, EmbeddedBody(body))
    }

    /// Adds a method that answers at once and has no result; the call returns true.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - body: Takes the object and the arguments.
    @inlinable
    public mutating func method<each Argument: LuaConvertible>(
        _ name: String,
        _ body: @escaping @Sendable (Object, repeat each Argument) throws -> Void
    ) {
        add(
            name,
            EmbeddedBody { (object: Object, argument: repeat each Argument) throws -> Bool in
                try body(object, repeat each argument)
                return true
            }
        )
    }

    /// Adds a method that takes its time: only the coroutine that calls it waits.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - start: Where its task begins: on the worker's thread until it first waits, or off it.
    ///   - body: Takes the object and the arguments.
    public mutating func method<each Argument: LuaConvertible, Result: LuaConvertible>(
        _ name: String,
        start: PaniniTaskStart = .onWorker,
        _ body: @escaping @Sendable (Object, repeat each Argument) async throws -> Result
    ) {
        add(name, EmbeddedBody(start, waiting: body))
    }

    /// Adds a method that takes its time and has no result; the call returns true.
    ///
    /// - Parameters:
    ///   - name: Its name.
    ///   - start: Where its task begins: on the worker's thread until it first waits, or off it.
    ///   - body: Takes the object and the arguments.
    public mutating func method<each Argument: LuaConvertible>(
        _ name: String,
        start: PaniniTaskStart = .onWorker,
        _ body: @escaping @Sendable (Object, repeat each Argument) async throws -> Void
    ) {
        add(
            name,
            EmbeddedBody(
                start,
                waiting: { (object: Object, argument: repeat each Argument) async throws -> Bool in
                    try await body(object, repeat each argument)
                    return true
                }
            )
        )
    }

    @usableFromInline
    mutating func add(_ name: String, _ body: EmbeddedBody) {
        precondition(!methods.contains { $0.name == name }, "\(Object.self) has two methods \"\(name)\"")
        methods.append(ObjectDefinition.Method(name: name, body: body))
    }
}

/// A class as a module declares it.
struct ObjectDefinition: Sendable {
    struct Method: Sendable {
        let name: String
        let body: EmbeddedBody
    }

    let key: ObjectIdentifier
    let name: String
    let methods: [Method]
}

/// A class as one script has it.
struct ObjectType {
    let name: String
    /// The reference of the handles' metatable.
    let metatable: CInt
}
