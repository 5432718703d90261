// Owns: what a service knows of one version of its script, beside what runs in it: how far it has come, what it said by
// panini.app{...}, and what it may do. Loop-bound.

import Logging
import LoopTools
import LuaVM
import ScriptRuntime

/// A version as its service, and what scripts may do, see it. The first of its features: the others need it.
final class VersionState: ScriptFeature {
    /// Values from outside the script that win over its own.
    let overrides: PaniniOverrides
    /// What an untrusted script may do; nil for all others.
    let restrictions: ScriptRestrictions?
    /// How far it has come in its service.
    @exclusivity(unchecked) var lifecycle = VersionMachine<PaniniError>()
    /// Nil until the script has made its app.
    @exclusivity(unchecked) var options: AppOptions?
    /// A wrong option from outside, kept to be reported as such and not as the script's error.
    var outsideFailure: PaniniError?
    /// When it is ended if it has not by itself.
    var drainAlarm: DeadlineHandle?

    required init(_ script: Script) {
        overrides = script.place[PaniniOverrides.self] ?? PaniniOverrides()
        restrictions = script.place[ScriptRestrictions.self]
        super.init(script)
        if script.vm.configuration.isTrusted { script.warnOfTrust() }
    }

    override func prepare() { script.makeTables() }

    override func close() { lifecycle.closed() }
}

extension Script {
    var version: VersionState {
        @inline(__always) get { features[VersionState.self] }
    }

    var overrides: PaniniOverrides { version.overrides }

    var restrictions: ScriptRestrictions? {
        @inline(__always) get { version.restrictions }
    }

    var lifecycle: VersionMachine<PaniniError> {
        @inline(__always) _read { yield version.lifecycle }
        @inline(__always) _modify { yield &version.lifecycle }
    }

    /// What it said by panini.app{...}; nil before.
    var options: AppOptions? {
        get { version.options }
        set { version.options = newValue }
    }

    /// A script as its service loads it.
    ///
    /// - Parameter overrides: Values from outside the script that win over its own.
    convenience init(
        path: String,
        overrides: PaniniOverrides,
        logger: Logger,
        place: ScriptPlace
    ) throws(PaniniError) {
        let level = overrides.permissions.level(of: path)
        let restrictions = level == .untrusted ? ScriptRestrictions(overrides.permissions) : nil
        var place = place
        place[PaniniOverrides.self] = overrides
        place[ScriptRestrictions.self] = restrictions
        var modules = ModuleSettings(
            files: place.sources,
            isTrusted: level == .trusted,
            folders: AppOptions.givenModulePath(in: overrides)
        )
        if let restrictions { modules.mayRead = { restrictions.mayRead($0) } }
        do throws(ScriptError) {
            try self.init(
                path: path,
                settings: ScriptSettings(limits: AppOptions.givenLimits(in: overrides), modules: modules),
                logger: logger,
                place: place
            )
        } catch {
            let code: PaniniError.Code =
                switch error.reason {
                case .noState: .scriptFailed
                case .refusedByFeature: .invalidOption
                }
            throw PaniniError(code: code, message: error.message)
        }
    }
}
