// Owns: what a capability says of itself in one place: what it has in a version and in a service, its options, the functions that
// scripts call, the types of editors. A constant; any thread.

import ScriptRuntime

/// One capability of the host, as the list of features has it.
struct Feature: Sendable {
    /// The type of its part in each version of a script; nil for none.
    var version: ScriptFeature.Type?
    /// The type of its part in each service on a worker; nil for none.
    var service: ServiceFeature.Type?
    /// The type of its part in the whole host; nil for none.
    var host: HostFeature.Type?
    /// What the workers of one service share, made once for each service: the features of its scripts find it by its type in
    /// `script.place`. It outlives versions.
    var shared: [@Sendable () -> any Sendable] = []
    /// What middlewares may be called for at it, in the order in which errors name them.
    var middlewareKinds: [PaniniMiddlewareKind] = []
    /// What untrusted scripts may do with it only by permission.
    var permissions: [PermissionDefinition] = []
    /// The options of `panini.app` that are its own; flags, environment, configuration files, help texts and editor types
    /// have them from here.
    var options: [OptionDefinition] = []

    /// The tables that it makes in `app` or `panini`, or in another one there.
    var tables: [Table] = []
    /// The functions that it adds to tables: to `app`, to `panini`, to its own and to those of features before it.
    var functions: [Function] = []
    /// What else it adds to tables.
    var values: [Value] = []
    /// Classes and aliases that editors know, each with its annotations (LuaCATS).
    var types: [String] = []

    init(
        _ version: ScriptFeature.Type? = nil,
        _ service: ServiceFeature.Type? = nil,
        _ host: HostFeature.Type? = nil,
        shared: [@Sendable () -> any Sendable] = [],
        middlewareKinds: [PaniniMiddlewareKind] = [],
        permissions: [PermissionDefinition] = [],
        options: [OptionDefinition] = [],
        tables: [Table] = [],
        functions: [Function] = [],
        values: [Value] = [],
        types: [String] = []
    ) {
        self.version = version
        self.service = service
        self.host = host
        self.shared = shared
        self.middlewareKinds = middlewareKinds
        self.permissions = permissions
        self.options = options
        self.tables = tables
        self.functions = functions
        self.values = values
        self.types = types
    }
}
