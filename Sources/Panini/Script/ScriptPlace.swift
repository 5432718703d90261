// Owns: which worker and which generation a script is for, and what it has in common with the others of its service. A
// value; made where the script is loaded.

/// Where a script runs.
struct ScriptPlace: Sendable {
    /// Counts up with each version of the service's code.
    var generation = 1
    /// Which of the workers, from 0.
    var worker = 0
    var workers = 1
    /// The connection's name, which stays over reloads; nil: it is made up.
    var clientName: String?
    /// The name of the worker's thread; nil: the thread that loads it.
    var threadName: String?
    /// `app.shared`; each check has an empty one of its own.
    var store = SharedStore()
    /// The files of this generation, read once for all workers.
    var sources = SourceFiles()
    /// What the program around the host offers.
    var modules: [PaniniModule] = []
    /// What it registers beside the script.
    var registrations = PaniniRegistrations()
    /// The backends that it has for metrics and traces.
    var instruments: HostInstruments?
}
