// Owns: which limits hold at which time, and what an error of one means to those who wait. Worker's thread. The budget itself
// is counted in LuaVM.

import LuaVM

extension Script {
    /// What the script wants is known; its file goes on.
    package func apply(_ limits: ScriptLimits) {
        self.limits = limits
        vm.memoryLimit = limits.memory
        vm.weakKeyLimit = limits.weakKeys
        vm.cpuLimit = limits.load
        vm.cpuRate = limits.rate
    }

    /// The file has run: from here on every run has the budget of a handler.
    package func fileEnded() throws(ScriptError) {
        vm.cpuLimit = limits.cpu
        for feature in features.all { try feature.fileEnded() }
    }
}

extension LuaError {
    /// What a requester hears of an error that is no answer of the script's.
    package func reply(debug: Bool) -> ReplyError {
        // No secret of the script's, and more use to the one who waits than "internal error".
        if kind == .cpu { return debug ? ReplyError(504, message) : .overBudget }
        return debug ? ReplyError(500, message) : .internalError
    }
}
