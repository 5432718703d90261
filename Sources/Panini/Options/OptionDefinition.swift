// Owns: the table of every option of `panini.app{...}`: name, type, default, bounds. Pure values; any thread.
// One table serves the script's own options, the command line's flags, the environment, configuration files and the
// documentation, so that a name cannot exist in one and not in the other.

/// A value of an option, once its type has been checked.
public enum OptionValue: Equatable, Sendable {
    /// A text.
    case string(String)
    /// A whole number.
    case integer(Int64)
    /// A number; durations are seconds.
    case number(Double)
    /// A yes or no.
    case boolean(Bool)
    /// A list of texts.
    case list([String])
    /// Texts by name.
    case map([String: String])
}

/// One option of `panini.app{...}`.
public struct OptionDefinition: Sendable {
    /// The type of an option's value and its bounds.
    public enum Kind: Sendable {
        /// A text.
        case string
        /// The path of a file, relative to where it is written: the script's folder, the configuration file's folder, or
        /// the current directory for the command line and the environment.
        case path
        /// One of a few texts.
        case choice([String])
        /// A whole number within bounds.
        case integer(ClosedRange<Int64>)
        /// A number within bounds; durations are in seconds.
        case number(ClosedRange<Double>)
        /// A yes or no.
        case boolean
        /// A number of bytes, also as a text such as "64MB" (powers of 1024).
        case size(ClosedRange<Int64>)
        /// A list of texts; one text is a list of one.
        case list
        /// Texts by name.
        case map
    }

    /// The option's name; a nested one has a dot, as in `auth.user`.
    public let name: String
    /// Type and bounds.
    public let kind: Kind
    /// One line for help texts.
    public let summary: String
    /// True for values that must never be shown.
    public let isSecret: Bool

    init(_ name: String, _ kind: Kind, _ summary: String, isSecret: Bool = false) {
        self.name = name
        self.kind = kind
        self.summary = summary
        self.isSecret = isSecret
    }

    /// The command line's flag: `--web-port`.
    public var flag: String { "--" + name.map { $0 == "_" || $0 == "." ? "-" : String($0) }.joined() }

    /// The environment's variable: `PANINI_WEB_PORT`.
    public var environmentName: String { "PANINI_" + name.map { $0 == "." ? "_" : String($0) }.joined().uppercased() }

    /// Every option, in the order of the documentation.
    public static let all: [OptionDefinition] = [
        .init("service_name", .string, "the service's name: letters, digits, _ and -"),
        .init("version", .string, "the service's version, semver (\"0.0.0\")"),
        .init("description", .string, "one line on what the service does"),
        .init("metadata", .map, "texts by name, shown by the services protocol"),
        .init("host", .string, "the broker's host (\"127.0.0.1\")"),
        .init("port", .integer(1...65535), "the broker's port (4222)"),
        .init("servers", .list, "the brokers' addresses (nats, tls, ws, wss), instead of host and port"),
        .init("client_name", .string, "the connection's name at the broker"),
        .init("auth.user", .string, "user name at the broker", isSecret: true),
        .init("auth.password", .string, "password of auth.user; better in the environment", isSecret: true),
        .init("auth.token", .string, "token; better in the environment", isSecret: true),
        .init("auth.nkey_seed", .string, "nkey seed, SU...; better in a file", isSecret: true),
        .init("auth.nkey_seed_file", .path, "file with the nkey seed"),
        .init("auth.credentials_file", .path, "credentials file: a JWT and its seed"),
        .init("auth.credentials", .string, "text of a credentials file; better the file", isSecret: true),
        .init("tls.ca_file", .path, "certificates to trust instead of the system's (PEM)"),
        .init("tls.cert_file", .path, "the client's certificate (PEM)"),
        .init("tls.key_file", .path, "the key of the client's certificate (PEM)"),
        .init("tls.first", .boolean, "TLS before the broker's INFO (false)"),
        .init("tls.verify", .boolean, "verify the broker's certificate (true)"),
        .init("allocation_queue_group", .string, "queue group of every listener that names none"),
        .init(
            "app_strategy",
            .choice(["asyncio", "sync"]),
            "\"asyncio\": handlers interleave; \"sync\": one at a time"
        ),
        .init("reconnect", .boolean, "reconnect after a lost connection (true)"),
        .init("max_reconnect_attempts", .integer(-1...1_000_000_000), "give up after so many attempts; -1: never"),
        .init("reconnecting_time_sleep", .number(0...3600), "seconds between attempts (2)"),
        .init(
            "auth_retry",
            .number(0...(365 * 86400)),
            "seconds the broker may refuse credentials that it took before (600)"
        ),
        .init("max_control_line", .size(512...(1 << 24)), "longest line the broker takes: its max_control_line (4096)"),
        .init("connect_timeout", .number(0.001...3600), "seconds for one connection attempt (5)"),
        .init("retry_on_start", .boolean, "keep trying when no broker answers at start (true)"),
        .init("ping_interval", .number(0.1...86400), "seconds between pings to the broker (120)"),
        .init("pending_limit", .integer(1...100_000_000), "messages waiting per listener (65536)"),
        .init("pending_bytes_limit", .size(1...(1 << 40)), "bytes waiting per listener (64MB)"),
        .init(
            "unsent_bytes_limit",
            .size((64 << 10)...(1 << 40)),
            "bytes waiting for the broker before sends wait (64MB)"
        ),
        .init("web_server", .boolean, "serve HTTP (false)"),
        .init("web_host", .string, "the web server's address (\"127.0.0.1\")"),
        .init("web_port", .integer(0...65535), "the web server's port (8080)"),
        .init("web_tls.cert_file", .path, "the web server's certificate, with its chain (PEM)"),
        .init("web_tls.key_file", .path, "the web server's key (PEM)"),
        .init("web_max_body", .size(0...(1 << 40)), "largest request body (1MB)"),
        .init("web_max_header_bytes", .size(256...(1 << 24)), "largest request head (16384)"),
        .init("web_header_timeout", .number(0.001...86400), "seconds for a request's head (10)"),
        .init("web_body_timeout", .number(0.001...86400), "seconds for a request's body (30)"),
        .init("web_idle_timeout", .number(0.001...86400), "seconds an idle connection is kept (60)"),
        .init("web_max_connections", .integer(1...10_000_000), "open connections (10000)"),
        .init("web_max_requests", .integer(1...10_000_000), "requests being answered at once (10000)"),
        .init(
            "web_memory",
            .size((1 << 20)...(1 << 50)),
            "memory that all web servers hold for clients (an eighth of the machine's or container's)"
        ),
        .init(
            "web_connection_memory",
            .size((64 << 10)...(1 << 50)),
            "memory held for one connection, beside its largest request or answer (64MB)"
        ),
        .init("web_access_log", .boolean, "log every request (false)"),
        .init("web_compression", .boolean, "compress answers (true)"),
        .init("web_http2", .boolean, "speak HTTP/2 (true)"),
        .init("web_max_streams", .integer(1...100_000), "requests at once over one HTTP/2 connection (128)"),
        .init("fetch_max_connections", .integer(1...100_000), "connections of app.http.fetch to one server (64)"),
        .init("logger_required", .boolean, "write logs (true); false: loggers do nothing"),
        .init("logger_files_path", .path, "folder of the log files (\"logs\" beside the script)"),
        .init("logger_in_separate_process", .boolean, "accepted: records are always written off the hot path"),
        .init("module_path", .list, "further folders that require looks in, relative to where they are written"),
        .init("ignore_task_exceptions", .boolean, "go on after an error in a task or timer (true)"),
        .init("handler_timeout", .number(0.001...86400), "seconds a handler may take (30)"),
        .init("shutdown_timeout", .number(0...86400), "seconds running handlers get at the stop (30)"),
        .init("debug", .boolean, "error replies carry the real text (false)"),
        .init("services", .boolean, "answer the NATS services protocol (true)"),
        .init("drain_timeout", .number(0...86400), "seconds the old version gets after a reload (30)"),
        .init("shared_limit", .size(0...(1 << 40)), "memory of app.shared (64MB)"),
        .init("limits.cpu", .number(0.001...86400), "seconds of CPU time of one handler run (1)"),
        .init(
            "limits.cpu_rate",
            .number(0.001...1),
            "seconds of CPU time for each second that a task, stream or socket lives (0.5)"
        ),
        .init("limits.memory", .size((1 << 20)...(1 << 40)), "memory of the Lua state (256MB)"),
        .init(
            "limits.weak_keys",
            .integer(1...1_000_000_000),
            "values in tables with weak keys and strong values (4000)"
        ),
        .init("limits.load", .number(0.001...86400), "seconds of CPU time of the script's file (5)"),
        .init(
            "limits.slice",
            .number(0.001...10),
            "seconds of CPU time of the service before others have their turn (0.01)"
        ),
    ]

    package static let byName: [String: OptionDefinition] = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// The names a script may write at the top of its table: `auth` for all of `auth.*`.
    static let topLevelNames: [String] = {
        var seen: Set<String> = []
        return all.map { String($0.name.prefix(while: { $0 != "." })) }.filter { seen.insert($0).inserted }
    }()

    /// The names inside a nested table, or an empty list when the option is not a nested one.
    static func nestedNames(of group: String) -> [String] {
        all.filter { $0.name.hasPrefix(group + ".") }.map { String($0.name.dropFirst(group.count + 1)) }
    }
}
