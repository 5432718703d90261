// One Lua state: its life, its memory and its bookkeeping. Lives on one thread, which is whoever made it; does no I/O
// and reads no clock. The other files of this folder extend it by one ability each.
internal import CLuaVM

/// One Lua 5.4 state, made safe to use from Swift.
///
/// A state belongs to one thread: everything on it happens there, and it is not `Sendable`. Scripts see an
/// allow-list of Lua's libraries: no files, no processes, no bytecode, no finalizers.
///
/// ```swift
/// let vm = try LuaVM()
/// try vm.run("function add(a, b) return a + b end", name: "sums.lua")
/// let sum = try vm.callGlobal("add", [1, 2])   // [3]
/// ```
public final class LuaVM {
    /// The settings of a state.
    public struct Configuration: Sendable {
        /// How many finished coroutines are kept for the next call. 0 keeps none.
        public var maximumPooledCoroutines: Int
        /// How deeply JSON texts may nest, both ways; at most ``largestJSONDepth``.
        public var jsonMaximumDepth: Int
        /// How many bytes Lua may use while it runs scripts, 0 for no limit. Values that Swift pushes are counted but not
        /// refused: a script meets the limit at its own next allocation.
        public var memoryLimit: Int
        /// How many seconds of CPU time one run may take, from the host's call into Lua until it returns; 0 for no limit.
        /// All segments of a coroutine that waits count together. A run that takes longer is ended, whatever the script
        /// does about it.
        public var cpuLimit: Double
        /// How many values tables with weak keys may have all together; 0 for any number. Holds while there is a
        /// ``cpuLimit``: Lua's collector goes over them in one step, which takes a time that grows with their square.
        public var weakKeyLimit: Int
        /// Opens `io`, all of `os` and modules in C as well, and leaves the libraries writable. Only for scripts that are
        /// as trustworthy as the program itself.
        public var isTrusted: Bool

        /// The most that ``jsonMaximumDepth`` can be: what the C stack of any thread bears.
        public static var largestJSONDepth: Int { 512 }

        /// The default settings: 1000 pooled coroutines, a JSON depth of 128, no other limits.
        public init() {
            maximumPooledCoroutines = 1000
            jsonMaximumDepth = 128
            memoryLimit = 0
            cpuLimit = 0
            weakKeyLimit = 0
            isTrusted = false
        }
    }

    /// The settings the state was made with.
    public let configuration: Configuration

    /// The main `lua_State`.
    package let state: OpaquePointer

    let vm: UnsafeMutablePointer<panini_vm>
    /// Bookkeeping behind a stable address: no exclusivity checks on the path of a message.
    let core: UnsafeMutablePointer<Core>
    /// Scratch bytes of the JSON codec.
    let scratch = ByteWriter(minimumCapacity: 64)

    private(set) var isOpen = true
    /// Swift closures that Lua functions point to; they live as long as the state.
    var closures: [AnyObject] = []
    var moduleResolver: ModuleResolver?
    /// Parts of the value that is being copied to Swift.
    var copiedValues = 0
    /// How much CPU time a run without an end may take in a second, for the error of one that took more.
    package var cpuRate = 0.5
    package internal(set) var loadedModules: [LuaModuleRecord] = []

    struct Core {
        var coroutines: CoroutineTable
        var references: ReferenceTable
        var json: JSONWorkspace
    }

    /// Makes a state with the libraries of the allow-list.
    ///
    /// - Parameter configuration: Limits and pool sizes.
    /// - Throws: ``LuaError`` of kind `memory` when the system has none left.
    public init(configuration: Configuration = .init()) throws(LuaError) {
        guard let vm = panini_vm_create(configuration.isTrusted ? 1 : 0) else {
            throw LuaError(kind: .memory, message: "not enough memory for a Lua state")
        }
        var configuration = configuration
        configuration.jsonMaximumDepth = min(max(configuration.jsonMaximumDepth, 1), Configuration.largestJSONDepth)
        configuration.maximumPooledCoroutines = max(configuration.maximumPooledCoroutines, 0)
        self.configuration = configuration
        self.vm = vm
        state = vm.pointee.main
        core = .allocate(capacity: 1)
        panini_push_array_metatable(state)
        let arrayMetatable = lua_topointer(state, -1)
        lua_settop(state, -2)
        core.initialize(
            to: Core(
                coroutines: CoroutineTable(),
                references: ReferenceTable(),
                json: JSONWorkspace(depth: configuration.jsonMaximumDepth, arrayMetatable: arrayMetatable)
            )
        )
        vm.pointee.memory.limit = max(configuration.memoryLimit, 0)
        weakKeyLimit = configuration.weakKeyLimit
        if configuration.cpuLimit > 0 { cpuLimit = configuration.cpuLimit }
    }

    /// Ends the state and frees its memory. Safe to call again; nothing else may be called afterwards, and it may not be
    /// called from inside a host function.
    public func close() {
        guard isOpen else { return }
        precondition(vm.pointee.calls.activation == nil, "a Lua state cannot be closed while it runs")
        isOpen = false
        panini_vm_destroy(vm)
        core.pointee.coroutines.deallocate()
        core.pointee.references.deallocate()
        core.pointee.json.deallocate()
        core.deinitialize(count: 1)
        core.deallocate()
        closures.removeAll()
        moduleResolver = nil
    }

    deinit {
        close()
    }

    /// How many bytes the state uses now, as its own allocator counts them.
    public var memoryInUse: Int { isOpen ? Int(vm.pointee.memory.in_use) : 0 }

    /// The most bytes the state has used so far.
    package var memoryPeak: Int { isOpen ? Int(vm.pointee.memory.peak) : 0 }

    /// How many bytes Lua may use while it runs scripts; 0 for no limit.
    package var memoryLimit: Int {
        get { Int(vm.pointee.memory.limit) }
        set { vm.pointee.memory.limit = max(newValue, 0) }
    }

    /// How often an allocation was refused.
    package var refusedAllocations: UInt64 { vm.pointee.memory.refused }

    /// Runs a full garbage collection. Takes time in proportion to what is alive.
    public func collectGarbage() {
        panini_collect(state)
    }

    /// Lua's version and release, as "Lua 5.4.4".
    public static var luaVersion: String { String(cString: panini_lua_release()) }
}

@available(*, unavailable)
extension LuaVM: Sendable {}
