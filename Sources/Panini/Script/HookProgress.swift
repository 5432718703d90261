// Owns: how far a script has come with functions that run one after another: its start tasks, on_reload, on_stop. A value
// of a Script; loop-bound.

/// The hooks of a script that run now.
struct HookProgress {
    var functions: [RegisteredFunction] = []
    var index = 0
    var failure: PaniniError?
    /// Starts the next one, which is in line.
    var run: (() -> Void)?
    /// Called once, after the last one or the first failure.
    var completion: ((PaniniError?) -> Void)?

    var isRunning: Bool { completion != nil }
}
