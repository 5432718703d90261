// Owns: what a running service says about itself, for listings. Pure values; any thread.

/// How a service is doing.
public struct PaniniServiceStatus: Sendable, Equatable {
    /// Its name; its script's path as long as that is not known.
    public var serviceName: String
    /// Its version, as the script says.
    public var version: String
    /// The script's path.
    public var path: String
    /// `starting`, `running`, `stopping` or `stopped`.
    public var state: String
    /// Which version of its files serves; counts up from 1 with each reload.
    public var generation: Int
    /// How many workers run it.
    public var workers: Int
    /// How many of its workers do not come back from a script (see ``WedgedWorkers``), or have not answered in time; what
    /// they do is not in the numbers below.
    public var stuckWorkers = 0
    /// How often a worker that was stuck was replaced, as far as this service is concerned.
    public var replacedWorkers = 0
    /// How many threads of the host are held by scripts and have lost their workers' places.
    public var givenUpThreads = 0
    /// How many subjects it listens to.
    public var listeners: Int
    /// Handlers, ticks and streams that run or wait.
    public var inFlight = 0
    /// Messages that wait for a free place.
    public var waiting = 0
    /// Publishes and requests that wait until the broker takes more.
    public var waitingSends = 0
    /// Versions before that still run something.
    public var draining = 0
    /// Memory of its Lua states in bytes, those of draining versions included.
    public var memoryBytes = 0
    /// Bytes that its web server holds for clients: requests that are not complete or not begun, and answers that nobody has
    /// read yet.
    public var webBytes = 0
    /// Connections of its web server that were closed for what they held, see `web_memory` and `web_connection_memory`.
    public var shedConnections = 0
    /// What features show beside this, by name, of all workers together.
    public var figures: [String: Int] = [:]
    /// What else features show, a row each: who leads, when something runs next. Rows that several workers show alike are there
    /// once.
    public var rows: [PaniniServiceReport.Registration] = []
    /// Whether all of its workers that answer have a connection to a broker.
    public var isConnected = true
    /// How much of a worker's time it has taken over the last five seconds, from 0 to 1, where it has taken the most.
    public var busy = 0.0
    /// Which worker that is.
    public var busiestWorker = 0
    /// Seconds since it was started.
    public var uptime: Double
}
