// Owns: how much the store of a service may hold, as the version that serves says. Loop-bound.

import ScriptRuntime

/// `app.shared` of a service on one worker.
final class ServiceSharedStore: ServiceFeature {
    override func attach(_ version: Script) {
        // The first version; the next ones have their say at the switch.
        if version === service.script, service.state == .loaded { setLimit(version) }
    }

    override func commit(_ staging: Staging, from old: Script, to new: Script) { setLimit(new) }

    private func setLimit(_ version: Script) {
        if let options = version.options { version.sharing.store.setLimit(options.sharedLimit) }
    }
}
