// Owns: the functions that a version of a script has spawned and that still run. Loop-bound.

import CScriptObjects
package import LuaVM

/// Whoever has runs that leave to functions they spawn what they owe: an answer to a request.
package protocol SpawnKeeper: AnyObject {
    /// The number under which what is spawned now shares what the current run owes; 0: nothing.
    var currentRequest: UInt64 { get }

    /// A function has been spawned that shares it.
    func spawnedBegins(_ request: UInt64)

    /// A function for which nobody waits has returned `count` values, which lie on top of `L`.
    func spawnedReturned(_ record: SpawnRecord, _ L: OpaquePointer, _ count: CInt)

    /// A function for which nobody waits has raised an error.
    func spawnedFailed(_ record: SpawnRecord, _ error: LuaError)

    /// A function is over, one way or the other.
    func spawnedEnded(_ request: UInt64)
}

/// `app.spawn` of one version of a script.
package final class SpawnedFunctions: ScriptFeature {
    /// The registry reference of the metatable of handles.
    package let handleType: CInt
    /// Those with a handle, by its number.
    package var running: [Int64: SpawnRecord] = [:]
    /// The feature that knows what is owed; it lives as long.
    @exclusivity(unchecked) package unowned(unsafe) var keeper: (any SpawnKeeper)?

    package required init(_ script: Script) {
        let L = script.vm.state
        panini_handle_push_metatable(
            L,
            "panini.spawn",
            "wait",
            waitForHandle,
            Unmanaged.passUnretained(script).toOpaque()
        )
        handleType = script.vm.makeReference(L).index
        super.init(script)
    }

    package override func close() { running = [:] }
}

extension Script {
    package var spawning: SpawnedFunctions { features[SpawnedFunctions.self] }
}
