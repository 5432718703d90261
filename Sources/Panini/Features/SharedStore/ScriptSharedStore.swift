// Owns: what a version of a script has of `app.shared`: the store that all workers share. Worker's thread.

import ScriptRuntime

/// `app.shared` of one version of a script.
final class ScriptSharedStore: ScriptFeature {
    let store: SharedStore

    required init(_ script: Script) {
        store = script.place[SharedStore.self] ?? SharedStore()
        super.init(script)
    }
}

extension Script {
    var sharing: ScriptSharedStore { features[ScriptSharedStore.self] }
}
