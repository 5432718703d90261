// Owns: what a call of a script needs of its service. Worker's thread.

import ScriptRuntime

extension HostCall {
    /// Refuses a call that needs the broker while the file runs.
    func requireLive() throws(UsageError) -> Service {
        guard script.phase == .live, let service = script.service else {
            throw UsageError(
                "\(name) cannot be used while the file runs, as there is no connection yet; use app.on_start_task"
            )
        }
        return service
    }
}
