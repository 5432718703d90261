// Owns: the one error type that leaves the host. Any thread. Knows nothing of Lua states or connections.

/// Why the host, or one of its services, could not start or had to end.
///
/// The `description` is one line meant for a terminal: what happened, where, and what to do about it. Tests and programs
/// decide by ``code``, never by the text.
public struct PaniniError: Error, Sendable, CustomStringConvertible {
    /// A stable name for the kind of failure. New ones may be added; compare with the static members.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Kind: String {
            case scriptNotFound = "script_not_found"
            case scriptSyntax = "script_syntax"
            case scriptFailed = "script_failed"
            case noApp = "no_app"
            case invalidOption = "invalid_option"
            case logConfiguration = "log_configuration"
            case notSupported = "not_supported"
            case brokerUnreachable = "broker_unreachable"
            case brokerRefused = "broker_refused"
            case startTaskFailed = "start_task_failed"
            case notReady = "not_ready"
            case subscribeDenied = "subscribe_denied"
            case taskFailed = "task_failed"
            case shutdownTimeout = "shutdown_timeout"
            case disconnected = "disconnected"
            case webServer = "web_server"
            case notRunning = "not_running"
            case needsRestart = "needs_restart"
            case superseded = "superseded"
            case workerStuck = "worker_stuck"
            case tooManyStuckWorkers = "too_many_stuck_workers"
        }

        private let kind: Kind

        /// The script's file is missing or cannot be read.
        public static let scriptNotFound = Code(kind: .scriptNotFound)
        /// The script does not compile.
        public static let scriptSyntax = Code(kind: .scriptSyntax)
        /// The script raised an error while its file ran.
        public static let scriptFailed = Code(kind: .scriptFailed)
        /// The script ran, but never called `panini.app{...}`.
        public static let noApp = Code(kind: .noApp)
        /// An option from the command line, the environment or a file has a wrong name or value.
        public static let invalidOption = Code(kind: .invalidOption)
        /// `config/log_config.json` cannot be read, or has a wrong key or value.
        public static let logConfiguration = Code(kind: .logConfiguration)
        /// An option asks for something that this version does not have yet.
        public static let notSupported = Code(kind: .notSupported)
        /// No broker answered at the given addresses.
        public static let brokerUnreachable = Code(kind: .brokerUnreachable)
        /// The broker answered and refused the connection.
        public static let brokerRefused = Code(kind: .brokerRefused)
        /// An `app.on_start_task` function raised or returned an error.
        public static let startTaskFailed = Code(kind: .startTaskFailed)
        /// What the service needs before it serves was not there, or not in time: a stream of the broker, a connection.
        public static let notReady = Code(kind: .notReady)
        /// The broker denied a load-time subscription.
        public static let subscribeDenied = Code(kind: .subscribeDenied)
        /// A task or timer raised while `ignore_task_exceptions` was false.
        public static let taskFailed = Code(kind: .taskFailed)
        /// Handlers were still running when `shutdown_timeout` had passed.
        public static let shutdownTimeout = Code(kind: .shutdownTimeout)
        /// The connection ended for good: `max_reconnect_attempts` was reached, or `reconnect` is off.
        public static let disconnected = Code(kind: .disconnected)
        /// The web server's port could not be opened.
        public static let webServer = Code(kind: .webServer)

        /// A reload was asked for, and the service does not run.
        public static let notRunning = Code(kind: .notRunning)
        /// A new version changes what a running service keeps: its name, its connection.
        public static let needsRestart = Code(kind: .needsRestart)
        /// A script holds a worker that cannot be freed: nothing can be changed or ended there.
        public static let workerStuck = Code(kind: .workerStuck)
        /// Scripts hold so many threads that no more workers are replaced: see ``PaniniStuckWorkerPolicy``.
        public static let tooManyStuckWorkers = Code(kind: .tooManyStuckWorkers)
        /// A newer version came while one was being made ready.
        static let superseded = Code(kind: .superseded)

        /// The stable text of the code, such as `script_syntax`.
        public var description: String { kind.rawValue }
    }

    /// The kind of failure.
    public let code: Code
    /// One line: what, where, what to do.
    public let message: String
    /// A Lua traceback, where there is one: for `--debug` and logs, never for the first line.
    public let traceback: String?

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - code: The kind of failure.
    ///   - message: One line for people.
    ///   - traceback: A Lua traceback, if there is one.
    public init(code: Code, message: String, traceback: String? = nil) {
        self.code = code
        self.message = message
        self.traceback = traceback
    }

    /// The message alone, safe to print.
    public var description: String { message }
}
