// Owns: what the runtime knows of a capability: that it keeps something in each version of a script, and wants to hear of some
// events there. Loop-bound.

import LuaVM

/// What a capability has in one version of a script: its types in the Lua state, what the script has registered with it,
/// what is under way.
///
/// The runtime makes one of each kind for each version, and knows none of them by name. Whoever needs one asks for it by its
/// type; what is on the way of a message keeps a reference to it.
open class ScriptFeature {
    /// The version that it belongs to, which lives longer.
    public unowned(unsafe) let script: Script

    /// Made with the Lua state, before any feature that stands behind it in the list, and before the file runs.
    public required init(_ script: Script) { self.script = script }

    /// All features are there.
    open func prepare() {}

    /// The state is complete, and the file is about to run.
    open func load() throws(ScriptError) {}

    /// The script makes its app: its options are known, and there is no app yet.
    ///
    /// - Throws: Why it cannot have one; the call raises this error.
    open func appMade() throws(ScriptError) {}

    /// The file has run, and nothing of it is served yet. Check the registrations as a whole.
    ///
    /// - Throws: When they cannot be served; the text says where and why.
    open func fileEnded() throws(ScriptError) {}

    /// The script has written a line to one of its standard streams.
    open func wrote(_ line: String, isErrors: Bool) {}

    /// The registrations: a unique name each, and a text of their options. A reload compares both to report what changed.
    open var registered: [(name: String, form: String)] { [] }

    /// Each registration as listings show it, beside what they show of listeners, timers, tasks and routes.
    open var listed: [ListedRegistration] { [] }

    /// The Lua state is about to be closed; nothing runs any more.
    open func close() {}

    /// Whether the version still has work beside its runs; it is not retired before that has ended.
    open var isBusy: Bool { false }

    /// A run was ended by its budget. Close what it would have closed itself.
    open func runWasKilled(_ coroutine: UInt64) {}
}

@available(*, unavailable)
extension ScriptFeature: Sendable {}

/// A registration as listings show it.
public struct ListedRegistration: Sendable, Equatable {
    /// What it is: `consumer`.
    public let kind: String
    /// What the script calls it.
    public let name: String
    /// What else is to be known of it, in order.
    public let details: [Detail]

    /// A name and a value.
    public struct Detail: Sendable, Equatable {
        /// What it is: `stream`.
        public let name: String
        /// Its value as people read it.
        public let value: String
    }

    /// A registration.
    ///
    /// - Parameters:
    ///   - kind: What it is.
    ///   - name: What the script calls it.
    ///   - details: Names and values, in order.
    public init(kind: String, name: String, details: KeyValuePairs<String, String> = [:]) {
        self.kind = kind
        self.name = name
        self.details = details.map { Detail(name: $0.key, value: $0.value) }
    }
}

/// The features of one version of a script.
public struct ScriptFeatures {
    @usableFromInline package private(set) var all: [ScriptFeature] = []
    @usableFromInline var keys: [ObjectIdentifier] = []
    /// Those that watch runs.
    package private(set) var watchers: [any RunWatcher] = []

    package mutating func add(_ feature: ScriptFeature) {
        all.append(feature)
        keys.append(ObjectIdentifier(type(of: feature)))
        if let watcher = feature as? any RunWatcher { watchers.append(watcher) }
    }

    /// The feature of a type; there is one of each in the list.
    @inlinable @inline(__always)
    public subscript<Kind: ScriptFeature>(_ kind: Kind.Type) -> Kind {
        // Words are compared: what is looked for on the way of a message must not count references.
        let key = ObjectIdentifier(kind)
        var place = 0
        while place < keys.count, keys[place] != key { place += 1 }
        precondition(place < keys.count, "the list of features has one of each that is asked for")
        return unsafeDowncast(all[place], to: kind)
    }
}
