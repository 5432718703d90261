// Owns: the functions that a version of a script has spawned and that still run. Loop-bound.

import CScriptObjects
package import LuaVM

/// A feature whose runs may leave their response to functions that they spawn.
package protocol SpawnParent: AnyObject {
    /// The number under which what is spawned now shares the response of the current run; 0: the run is none of the feature's,
    /// or owes no response.
    var currentRequest: UInt64 { get }

    /// A function has been spawned that shares it.
    func spawnedBegins(_ request: UInt64)

    /// A function for which nobody waits has returned `count` values, which lie on top of `L`.
    func spawnedReturned(_ record: SpawnRecord, _ L: OpaquePointer, _ count: CInt)

    /// A function for which nobody waits has raised an error.
    func spawnedFailed(_ record: SpawnRecord, _ error: LuaError)

    /// A function has returned or failed.
    func spawnedEnded(_ request: UInt64)

    /// The spawned functions run no more: requesters that still wait get an error.
    func giveUpSpawned(_ reason: ReplyError)
}

/// `app.spawn` of one version of a script.
package final class SpawnedFunctions: ScriptFeature {
    /// The registry reference of the metatable of handles.
    package let handleType: CInt
    /// Those with a handle, by its number.
    package var running: [Int64: SpawnRecord] = [:]
    /// The features that have such runs; they live as long.
    package private(set) var parents: [any SpawnParent] = []

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

    package func add(_ parent: any SpawnParent) { parents.append(parent) }

    /// The response that a function spawned now shares: the feature that owns it, and its number.
    func takeRequest() -> (parent: (any SpawnParent)?, request: UInt64) {
        // A function shares the response that its spawner shares.
        if let spawner = script.current.spawned, spawner.request != 0 { return (spawner.parent, spawner.request) }
        for parent in parents {
            let request = parent.currentRequest
            if request != 0 { return (parent, request) }
        }
        return (nil, 0)
    }

    package override func close() {
        running = [:]
        parents = []
    }
}

extension Script {
    package var spawning: SpawnedFunctions { features[SpawnedFunctions.self] }
}
