// Owns: which limits hold at which time, and what an error of one means to those who wait. Worker's thread. The budget itself
// is counted in LuaVM.

import CLuaShim
import Logging
import LuaVM

extension Script {
    /// Before the script has said what it wants, values from outside or the defaults hold: `panini.app` comes late, and
    /// may not come at all.
    static func limits(of path: String, before overrides: PaniniOverrides) -> LuaVM.Configuration {
        var configuration = LuaVM.Configuration()
        configuration.isTrusted = overrides.permissions.level(of: path) == .trusted
        let options = AppOptions.limits(in: overrides)
        configuration.cpuLimit = options.loadLimit
        configuration.memoryLimit = options.memoryLimit
        configuration.weakKeyLimit = options.weakKeyLimit
        return configuration
    }

    /// The options are known; the file goes on.
    func applyLimits(_ options: AppOptions) {
        vm.setLabel(options.serviceName)
        vm.memoryLimit = options.memoryLimit
        vm.weakKeyLimit = options.weakKeyLimit
        vm.cpuLimit = options.loadLimit
        vm.cpuRate = options.cpuRate
    }

    /// The file has run: from here on every run has the budget of a handler.
    func fileEnded() {
        vm.cpuLimit = options?.cpuLimit ?? AppOptions().cpuLimit
        vm.reportGlobals(context: Unmanaged.passUnretained(self).toOpaque()) { L, context in
            Script.from(context).globalMade(L.unsafelyUnwrapped)
        }
    }

    /// A forgotten `local`: handlers that run at the same time then share what each thinks its own.
    private func globalMade(_ L: OpaquePointer) {
        guard phase != .closed, reportedGlobals.count < Self.mostReportedGlobals else { return }
        let name = vm.string(L, 2, upTo: ValueShower.longestKey) ?? ""
        guard reportedGlobals.insert(name).inserted else { return }
        let place = vm.position(L)
        logger.warning(
            "\(place.isEmpty ? path : place): the global '\(name)' is made in a handler; write local, or declare it at file level"
        )
    }

    /// A script that makes names up is told of so many.
    private static let mostReportedGlobals = 100
}

extension AppOptions {
    /// The limits that were given outside the script; wrong ones are reported when the script makes its app.
    static func limits(in overrides: PaniniOverrides) -> AppOptions {
        var merged = MergedOptions()
        do throws(AppOptions.Failure) {
            try merged.add(overrides.only(["limits.cpu", "limits.memory", "limits.weak_keys", "limits.load"]))
        } catch {
            return AppOptions()
        }
        return AppOptions(limits: merged.values.mapValues(\.value))
    }
}

extension Activity {
    /// It may live as long as the service does: its budget is one of each stretch between two waits. All others end by
    /// their time limit, and have one for all their stretches.
    var hasOpenEnd: Bool {
        switch self {
        case .task, .stream: true
        case .webSocket(_, let turn): turn == .handler
        case .spawned(let record): !record.holdsStop
        default: false
        }
    }
}

extension LuaError {
    /// What a requester hears of an error that is no answer of the script's.
    func reply(debug: Bool) -> ReplyError {
        // No secret of the script's, and more use to the one who waits than "internal error".
        if kind == .cpu { return debug ? ReplyError(504, message) : .overBudget }
        return debug ? ReplyError(500, message) : .internalError
    }
}
