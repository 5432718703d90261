// Owns: the one error type that leaves the host. Any thread. Knows nothing of Lua states or connections.

/// Why the host, or one of its services, could not start or had to end.
///
/// The `description` is one line meant for a terminal: what happened, where, and what to do about it. Tests and programs
/// decide by ``code``, never by the text.
public struct PaniniError: Error, Sendable, CustomStringConvertible {
    /// A stable name for the kind of failure. New ones may be added; compare with the static members.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private let text: String

        /// A code of a feature's own: a stable word.
        init(_ text: String) { self.text = text }

        /// The script's file is missing or cannot be read.
        public static let scriptNotFound = Code("script_not_found")
        /// The script does not compile.
        public static let scriptSyntax = Code("script_syntax")
        /// The script raised an error while its file ran.
        public static let scriptFailed = Code("script_failed")
        /// The script ran, but never called `panini.app{...}`.
        public static let noApp = Code("no_app")
        /// An option from the command line, the environment or a file has a wrong name or value.
        public static let invalidOption = Code("invalid_option")
        /// `config/log_config.json` cannot be read, or has a wrong key or value.
        public static let logConfiguration = Code("log_configuration")
        /// An option asks for something that this version does not have yet.
        public static let notSupported = Code("not_supported")
        /// No broker answered at the given addresses.
        public static let brokerUnreachable = Code("broker_unreachable")
        /// The broker answered and refused the connection.
        public static let brokerRefused = Code("broker_refused")
        /// An `app.on_start_task` function raised or returned an error.
        public static let startTaskFailed = Code("start_task_failed")
        /// What the service needs before it serves was not there, or not in time: a stream of the broker, a connection.
        public static let notReady = Code("not_ready")
        /// The broker denied a load-time subscription.
        public static let subscribeDenied = Code("subscribe_denied")
        /// A task or timer raised while `ignore_task_exceptions` was false.
        public static let taskFailed = Code("task_failed")
        /// Handlers were still running when `shutdown_timeout` had passed.
        public static let shutdownTimeout = Code("shutdown_timeout")
        /// The connection ended for good: `max_reconnect_attempts` was reached, or `reconnect` is off.
        public static let disconnected = Code("disconnected")
        /// The web server's port could not be opened.
        public static let webServer = Code("web_server")

        /// A reload was asked for, and the service does not run.
        public static let notRunning = Code("not_running")
        /// A new version changes what a running service keeps: its name, its connection.
        public static let needsRestart = Code("needs_restart")
        /// A script holds a worker that cannot be freed: nothing can be changed or ended there.
        public static let workerStuck = Code("worker_stuck")
        /// Scripts hold so many threads that no more workers are replaced: see ``PaniniStuckWorkerPolicy``.
        public static let tooManyStuckWorkers = Code("too_many_stuck_workers")
        /// A newer version came while one was being made ready.
        static let superseded = Code("superseded")

        /// The stable text of the code, such as `script_syntax`.
        public var description: String { text }
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
