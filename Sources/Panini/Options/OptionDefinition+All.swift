// Owns: every option of `panini.app{...}`, one row each: its name, the field that it sets, its bounds, its help text, and what an
// untrusted script may make of it. A constant; any thread. The default is the field's value in AppOptions; `{default}` in a help
// text stands for it.

import NATS
import ScriptRuntime

extension OptionDefinition {
    /// Those that set a field of ``AppOptions``, in the order of the documentation; features may bring others.
    static let builtIn: [OptionDefinition] = identity + credentials + connection + web + service + limits

    /// What the service is, and where its broker is.
    private static let identity: [OptionDefinition] = [
        .text("service_name", \.serviceName, "the service's name: letters, digits, _ and -").fixed,
        .text("version", \.version, "the service's version, semver ({default})"),
        .optionalText("description", \.description, "one line on what the service does"),
        .map("metadata", \.metadata, "texts by name, shown by the services protocol"),
        .text("host", \.host, "the broker's host ({default})").fixed,
        .integer("port", \.port, in: 1...65535, "the broker's port ({default})", untrusted: .own).fixed,
        .list("servers", \.servers, "the brokers' addresses (nats, tls, ws, wss), instead of host and port").fixed,
        .optionalText("client_name", \.clientName, "the connection's name at the broker").fixed,
    ]

    /// How it proves who it is, and how the broker does.
    private static let credentials: [OptionDefinition] = [
        .credential("auth.user", .string, "user name at the broker").secret,
        .credential("auth.password", .string, "password of auth.user; better in the environment").secret,
        .credential("auth.token", .string, "token; better in the environment").secret,
        .credential("auth.nkey_seed", .string, "nkey seed, SU...; better in a file").secret,
        .credential("auth.nkey_seed_file", .path, "file with the nkey seed"),
        .credential("auth.credentials_file", .path, "credentials file: a JWT and its seed"),
        .credential("auth.credentials", .string, "text of a credentials file; better the file").secret,
        .path("tls.ca_file", \.tls.caFile, "certificates to trust instead of the system's (PEM)").fixed,
        .path("tls.cert_file", \.tls.certificateFile, "the client's certificate (PEM)").fixed,
        .path("tls.key_file", \.tls.keyFile, "the key of the client's certificate (PEM)").fixed,
        .flag("tls.first", \.tls.isFirst, "TLS before the broker's INFO ({default})").fixed,
        .flag("tls.verify", \.tls.verifiesServer, "verify the broker's certificate ({default})").fixed,
    ]

    /// Its connection, and what waits on it.
    private static let connection: [OptionDefinition] = [
        .optionalText(
            "allocation_queue_group",
            \.allocationQueueGroup,
            "queue group of every listener that names none"
        ),
        .choice(
            "app_strategy",
            \.strategy,
            of: ["asyncio", "sync"],
            "\"asyncio\": handlers interleave; \"sync\": one at a time"
        ).fixed,
        .flag("reconnect", \.reconnect, "reconnect after a lost connection ({default})").fixed,
        .integer(
            "max_reconnect_attempts",
            \.maxReconnectAttempts,
            in: -1...1_000_000_000,
            "give up after so many attempts; -1: never",
            untrusted: .own
        ).fixed,
        .number(
            "reconnecting_time_sleep",
            \.reconnectWait,
            in: 0...3600,
            "seconds between attempts ({default})",
            untrusted: .own
        ).fixed,
        .number(
            "auth_retry",
            \.authRetry,
            in: 0...(365 * 86400),
            "seconds the broker may refuse credentials that it took before ({default})",
            untrusted: .own
        ).fixed,
        .size(
            "max_control_line",
            \.maxControlLine,
            in: 512...(1 << 24),
            "longest line the broker takes: its max_control_line ({default})",
            untrusted: .own
        ).fixed,
        .number(
            "connect_timeout",
            \.connectTimeout,
            in: 0.001...3600,
            "seconds for one connection attempt ({default})",
            untrusted: .own
        ).fixed,
        .flag("retry_on_start", \.retryOnStart, "keep trying when no broker answers at start ({default})").fixed,
        .number(
            "ping_interval",
            \.pingInterval,
            in: 0.1...86400,
            "seconds between pings to the broker ({default})",
            untrusted: .own
        ).fixed,
        .integer(
            "pending_limit",
            \.pendingLimit,
            in: 1...100_000_000,
            "messages waiting per listener ({default})",
            untrusted: .upToDefault
        ),
        .size(
            "pending_bytes_limit",
            \.pendingBytesLimit,
            in: 1...(1 << 40),
            "bytes waiting per listener ({default})",
            untrusted: .upToDefault
        ),
        .size(
            "unsent_bytes_limit",
            \.unsentBytesLimit,
            in: (64 << 10)...(1 << 40),
            "bytes waiting for the broker before sends wait ({default})",
            untrusted: .upToDefault
        ).fixed,
    ]

    /// Its web server, and its requests to others.
    private static let web: [OptionDefinition] = [
        .flag("web_server", \.webServer, "serve HTTP ({default})"),
        .text("web_host", \.webHost, "the web server's address ({default})"),
        .integer("web_port", \.webPort, in: 0...65535, "the web server's port ({default})", untrusted: .own),
        .path("web_tls.cert_file", \.webCertificateFile, "the web server's certificate, with its chain (PEM)"),
        .path("web_tls.key_file", \.webKeyFile, "the web server's key (PEM)"),
        .size(
            "web_max_body",
            \.webMaxBody,
            in: 0...(1 << 40),
            "largest request body ({default})",
            untrusted: .upToDefault
        ),
        .size(
            "web_max_header_bytes",
            \.webMaxHeaderBytes,
            in: 256...(1 << 24),
            "largest request head ({default})",
            untrusted: .upToDefault
        ),
        .number(
            "web_header_timeout",
            \.webHeaderTimeout,
            in: 0.001...86400,
            "seconds for a request's head ({default})",
            untrusted: .own
        ),
        .number(
            "web_body_timeout",
            \.webBodyTimeout,
            in: 0.001...86400,
            "seconds for a request's body ({default})",
            untrusted: .own
        ),
        .number(
            "web_idle_timeout",
            \.webIdleTimeout,
            in: 0.001...86400,
            "seconds an idle connection is kept ({default})",
            untrusted: .own
        ),
        .integer(
            "web_max_connections",
            \.webMaxConnections,
            in: 1...10_000_000,
            "open connections ({default})",
            untrusted: .upToDefault
        ),
        .integer(
            "web_max_requests",
            \.webMaxRequests,
            in: 1...10_000_000,
            "requests being answered at once ({default})",
            untrusted: .upToDefault
        ),
        .optionalSize(
            "web_memory",
            \.webMemory,
            in: (1 << 20)...(1 << 50),
            "memory that all web servers hold for clients (an eighth of the machine's or container's)",
            untrusted: .shared({ MachineMemory.webDefault })
        ),
        .size(
            "web_connection_memory",
            \.webConnectionMemory,
            in: (64 << 10)...(1 << 50),
            "memory held for one connection, beside its largest request or answer ({default})",
            untrusted: .upToDefault
        ),
        .flag("web_access_log", \.webAccessLog, "log every request ({default})"),
        .flag("web_compression", \.webCompression, "compress answers ({default})"),
        .flag("web_http2", \.webHTTP2, "speak HTTP/2 ({default})"),
        .integer(
            "web_max_streams",
            \.webMaxStreams,
            in: 1...100_000,
            "requests at once over one HTTP/2 connection ({default})",
            untrusted: .upToDefault
        ),
        .integer(
            "fetch_max_connections",
            \.fetchMaxConnections,
            in: 1...100_000,
            "connections of app.http.fetch to one server ({default})",
            untrusted: .upToDefault
        ),
    ]

    /// Its logs, its modules and its times.
    private static let service: [OptionDefinition] = [
        .flag("logger_required", \.loggerRequired, "write logs ({default}); false: loggers do nothing"),
        .path("logger_files_path", \.loggerFilesPath, "folder of the log files (\"logs\" beside the script)"),
        .accepted("logger_in_separate_process", .boolean, "accepted: records are always written off the hot path"),
        .list("module_path", \.modulePath, "further folders that require looks in, relative to where they are written"),
        .flag("ignore_task_exceptions", \.ignoreTaskExceptions, "go on after an error in a task or timer ({default})"),
        .number(
            "handler_timeout",
            \.handlerTimeout,
            in: 0.001...86400,
            "seconds a handler may take ({default})",
            untrusted: .own
        ),
        .number(
            "shutdown_timeout",
            \.shutdownTimeout,
            in: 0...86400,
            "seconds running handlers get at the stop ({default})",
            untrusted: .upToDefault
        ),
        .flag("debug", \.debug, "error replies carry the real text ({default})"),
        .flag("services", \.services, "answer the NATS services protocol ({default})"),
        .number(
            "drain_timeout",
            \.drainTimeout,
            in: 0...86400,
            "seconds the old version gets after a reload ({default})",
            untrusted: .upToDefault
        ),
        .size(
            "shared_limit",
            \.sharedLimit,
            in: 0...(1 << 40),
            "memory of app.shared ({default})",
            untrusted: .upToDefault
        ),
    ]

    /// What its Lua may use.
    private static let limits: [OptionDefinition] = [
        .number(
            "limits.cpu",
            \.limits.cpu,
            in: 0.001...86400,
            "seconds of CPU time of one handler run ({default})",
            untrusted: .upToDefault
        ),
        .number(
            "limits.cpu_rate",
            \.limits.rate,
            in: 0.001...1,
            "seconds of CPU time for each second that a task, stream or socket lives ({default})",
            untrusted: .upToDefault
        ),
        .size(
            "limits.memory",
            \.limits.memory,
            in: (1 << 20)...(1 << 40),
            "memory of the Lua state ({default})",
            untrusted: .upToDefault
        ),
        .integer(
            "limits.weak_keys",
            \.limits.weakKeys,
            in: 1...1_000_000_000,
            "values in tables with weak keys and strong values ({default})",
            untrusted: .upToDefault
        ),
        .number(
            "limits.load",
            \.limits.load,
            in: 0.001...86400,
            "seconds of CPU time of the script's file ({default})",
            untrusted: .upToDefault
        ),
        .number(
            "limits.slice",
            \.sliceLimit,
            in: 0.001...10,
            "seconds of CPU time of the service before others have their turn ({default})",
            untrusted: .upToDefault
        ),
    ]
}
