// Owns: what a version of a script has of `app.http.fetch`. Loop-bound.

import CScriptObjects
import LuaVM
import PaniniHTTP
import ScriptRuntime

/// `app.http.fetch` of one version of a script.
final class ScriptFetch: ScriptFeature {
    /// What the function calls; freed after the state is closed.
    let host: UnsafeMutablePointer<panini_fetch_host>

    required init(_ script: Script) {
        host = .allocate(capacity: 1)
        host.initialize(
            to: panini_fetch_host(
                context: Unmanaged.passUnretained(script).toOpaque(),
                start: startFetch,
                next: nextOfFetch,
                cancel: cancelFetch
            )
        )
        super.init(script)
    }

    deinit { host.deallocate() }

    /// Of streams whose function waits for something else.
    override func close() { script.service?.fetcher.cancelAll(of: script) }

    override func runWasKilled(_ coroutine: UInt64) {
        script.service?.fetcher.cancelAll(of: script, context: coroutine)
    }
}

extension Script {
    var fetching: ScriptFetch { features[ScriptFetch.self] }
}
