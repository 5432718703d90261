// Owns: the checked options of one app, with their defaults. A pure value; any thread.

import NATS

/// Options of `panini.app{...}` after all sources were merged and checked.
struct AppOptions: Sendable {
    var serviceName = ""
    var version = "0.0.0"
    var description: String?
    var metadata: [String: String] = [:]
    var host = "127.0.0.1"
    var port = 4222
    /// As written; may carry credentials, so texts show ``shownServers``.
    var servers: [String] = []
    var authentication = NATSAuthentication.none
    var tls = NATSTLSOptions()
    /// Groups of options that were given and are not used in this run.
    var unusedGroups: [String] = []
    /// What the script has asked for and does not get.
    private(set) var lowered: [HostBounds.Lowered] = []
    var clientName: String?
    var queueGroup: String?
    var isSync = false
    var reconnect = true
    var maxReconnectAttempts = -1
    var reconnectWait = 2.0
    var connectTimeout = 5.0
    /// Seconds for which the broker may refuse the credentials that it took before.
    var authRetry = 600.0
    var maxControlLine = 4096
    var retryOnStart = true
    var pingInterval = 120.0
    var pendingLimit = 65536
    var pendingBytesLimit = 64 << 20
    var unsentBytesLimit = 64 << 20
    var loggerRequired = true
    /// The folder of the log files; nil: `logs` in the script's folder.
    var loggerFilesPath: String?
    /// Further folders of modules, or templates with a `?`.
    var modulePath: [String] = []
    var ignoreTaskExceptions = true
    var handlerTimeout = 30.0
    var shutdownTimeout = 30.0
    var debug = false
    /// Whether the NATS services protocol is answered.
    var services = true
    /// Seconds of CPU time of one run; the bytes of the Lua state; seconds of CPU time of the script's file.
    var cpuLimit = 1.0
    var memoryLimit = 256 << 20
    /// Seconds of CPU time for each second of a run without an end.
    var cpuRate = 0.5
    var weakKeyLimit = 4000
    var loadLimit = 5.0
    /// Seconds of CPU time of the service in one turn of its worker.
    var sliceLimit = 0.01
    var webServer = false
    var webHost = "127.0.0.1"
    var webPort = 8080
    var webMaxBody = 1 << 20
    var webMaxHeaderBytes = 16384
    var webHeaderTimeout = 10.0
    var webBodyTimeout = 30.0
    var webIdleTimeout = 60.0
    var webMaxConnections = 10000
    var webMaxRequests = 10000
    /// Nil: an eighth of the machine's memory.
    var webMemory: Int?
    var webConnectionMemory = 64 << 20
    var webAccessLog = false
    var webCompression = true
    var webHTTP2 = true
    var webMaxStreams = 128
    var fetchMaxConnections = 64
    var webCertificateFile: String?
    var webKeyFile: String?
    var drainTimeout = 30.0
    var sharedLimit = 64 << 20
    /// What was given for the options that a running service cannot change.
    private(set) var fixed: [String: OptionValue] = [:]

    /// Merges and checks the script's table and the values from outside.
    ///
    /// - Parameters:
    ///   - script: The members of the table given to `panini.app`.
    ///   - directory: The script's folder, which the paths in its table are relative to.
    ///   - overrides: Values from outside; the first of a name wins, all win over the script.
    ///   - bounds: What the script itself may ask for at most; nil: anything.
    /// - Throws: ``Failure/script(_:)`` for the script's own values, ``Failure/outside(_:)`` for the others.
    init(
        script: [(String, PlainValue)],
        directory: String = ".",
        overrides: PaniniOverrides,
        bounds: HostBounds? = nil
    ) throws(Failure) {
        var merged = MergedOptions()
        try merged.add(overrides)
        try merged.add(script: script, directory: directory)
        if let bounds { lowered = merged.lower(to: bounds) }
        unusedGroups = merged.remove(groups: overrides.ignoredGroups)
        fixed = merged.values.filter { Self.isFixed($0.key) }.mapValues(\.value)
        authentication = try merged.authentication()
        tls = try merged.tls()
        merged.settleServers()
        do throws(OptionProblem) {
            try assign(merged.values.mapValues(\.value))
        } catch {
            throw .script(error.message)
        }
    }

    /// Whether a running service keeps an option for as long as it lives: what its connection was made of, and what it is.
    private static func isFixed(_ name: String) -> Bool {
        [
            "service_name", "host", "port", "servers", "client_name", "app_strategy", "reconnect",
            "max_reconnect_attempts", "reconnecting_time_sleep", "auth_retry", "max_control_line", "connect_timeout",
            "ping_interval", "retry_on_start", "unsent_bytes_limit",
        ].contains(name) || name.hasPrefix("auth.") || name.hasPrefix("tls.")
    }

    /// The names of options that differ and take effect at a restart only.
    func fixedOptions(differingFrom other: AppOptions) -> [String] {
        Set(fixed.keys).union(other.fixed.keys).filter { fixed[$0] != other.fixed[$0] }.sorted()
    }

    /// Options with the given limits and the defaults of everything else.
    init(limits values: [String: OptionValue] = [:]) {
        if case .number(let seconds) = values["limits.cpu"] { cpuLimit = seconds }
        if case .integer(let bytes) = values["limits.memory"] { memoryLimit = Int(bytes) }
        if case .integer(let number) = values["limits.weak_keys"] { weakKeyLimit = Int(number) }
        if case .number(let seconds) = values["limits.load"] { loadLimit = seconds }
    }

    /// Whose fault a wrong option is.
    enum Failure: Error {
        /// The script's table: raised at the script's own line.
        case script(String)
        /// A value from outside, with its origin in the text.
        case outside(String)
    }

    /// The brokers' addresses for people: without credentials.
    var shownServers: String {
        servers.isEmpty ? "nats://\(address)" : servers.map(withoutCredentials).joined(separator: ", ")
    }

    /// Host and port of the broker, when no servers are named.
    var address: String {
        host.contains(":") && !host.hasPrefix("[") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private mutating func assign(_ values: [String: OptionValue]) throws(OptionProblem) {
        for (name, value) in values {
            switch (name, value) {
            case ("service_name", .string(let text)): serviceName = text
            case ("version", .string(let text)): version = text
            case ("description", .string(let text)): description = text
            case ("metadata", .map(let map)): metadata = map
            case ("host", .string(let text)): host = text
            case ("port", .integer(let number)): port = Int(number)
            case ("servers", .list(let list)): servers = list
            case ("client_name", .string(let text)): clientName = text
            case ("allocation_queue_group", .string(let text)): queueGroup = text.isEmpty ? nil : text
            case ("app_strategy", .string(let text)): isSync = text == "sync"
            case ("reconnect", .boolean(let flag)): reconnect = flag
            case ("max_reconnect_attempts", .integer(let number)): maxReconnectAttempts = Int(number)
            case ("reconnecting_time_sleep", .number(let seconds)): reconnectWait = seconds
            case ("connect_timeout", .number(let seconds)): connectTimeout = seconds
            case ("auth_retry", .number(let seconds)): authRetry = seconds
            case ("max_control_line", .integer(let bytes)): maxControlLine = Int(bytes)
            case ("retry_on_start", .boolean(let flag)): retryOnStart = flag
            case ("ping_interval", .number(let seconds)): pingInterval = seconds
            case ("pending_limit", .integer(let number)): pendingLimit = Int(number)
            case ("pending_bytes_limit", .integer(let number)): pendingBytesLimit = Int(number)
            case ("unsent_bytes_limit", .integer(let number)): unsentBytesLimit = Int(number)
            case ("logger_required", .boolean(let flag)): loggerRequired = flag
            case ("logger_files_path", .string(let path)): loggerFilesPath = path
            case ("module_path", .list(let list)): modulePath = list
            case ("ignore_task_exceptions", .boolean(let flag)): ignoreTaskExceptions = flag
            case ("handler_timeout", .number(let seconds)): handlerTimeout = seconds
            case ("shutdown_timeout", .number(let seconds)): shutdownTimeout = seconds
            case ("debug", .boolean(let flag)): debug = flag
            case ("services", .boolean(let flag)): services = flag
            case ("limits.cpu", .number(let seconds)): cpuLimit = seconds
            case ("limits.cpu_rate", .number(let rate)): cpuRate = rate
            case ("limits.memory", .integer(let bytes)): memoryLimit = Int(bytes)
            case ("limits.weak_keys", .integer(let number)): weakKeyLimit = Int(number)
            case ("limits.load", .number(let seconds)): loadLimit = seconds
            case ("limits.slice", .number(let seconds)): sliceLimit = seconds
            case ("web_server", .boolean(let flag)): webServer = flag
            case ("web_host", .string(let text)): webHost = text
            case ("web_port", .integer(let number)): webPort = Int(number)
            case ("web_max_body", .integer(let number)): webMaxBody = Int(number)
            case ("web_max_header_bytes", .integer(let number)): webMaxHeaderBytes = Int(number)
            case ("web_header_timeout", .number(let seconds)): webHeaderTimeout = seconds
            case ("web_body_timeout", .number(let seconds)): webBodyTimeout = seconds
            case ("web_idle_timeout", .number(let seconds)): webIdleTimeout = seconds
            case ("web_max_connections", .integer(let number)): webMaxConnections = Int(number)
            case ("web_max_requests", .integer(let number)): webMaxRequests = Int(number)
            case ("web_memory", .integer(let bytes)): webMemory = Int(bytes)
            case ("web_connection_memory", .integer(let bytes)): webConnectionMemory = Int(bytes)
            case ("web_access_log", .boolean(let flag)): webAccessLog = flag
            case ("drain_timeout", .number(let seconds)): drainTimeout = seconds
            case ("shared_limit", .integer(let bytes)): sharedLimit = Int(bytes)
            case ("web_compression", .boolean(let flag)): webCompression = flag
            case ("web_http2", .boolean(let flag)): webHTTP2 = flag
            case ("web_max_streams", .integer(let number)): webMaxStreams = Int(number)
            case ("fetch_max_connections", .integer(let number)): fetchMaxConnections = Int(number)
            case ("web_tls.cert_file", .string(let path)): webCertificateFile = path
            case ("web_tls.key_file", .string(let path)): webKeyFile = path
            default: break  // Options of features that come later: checked above, not used yet.
            }
        }
        try checkIdentity()
    }

    private func checkIdentity() throws(OptionProblem) {
        guard !serviceName.isEmpty else {
            throw OptionProblem(message: "option \"service_name\" is required: panini.app{ service_name = \"orders\" }")
        }
        guard serviceName.utf8.count <= 128, serviceName.utf8.allSatisfy(isNameByte) else {
            throw OptionProblem(
                message: "option \"service_name\" may have letters, digits, _ and - only, not \"\(serviceName)\""
            )
        }
        guard (webCertificateFile == nil) == (webKeyFile == nil) else {
            throw OptionProblem(message: "option \"web_tls\" needs both cert_file and key_file")
        }
        guard isSemanticVersion(version) else {
            throw OptionProblem(
                message: "option \"version\" must be a semantic version such as \"1.4.0\", not \"\(version)\""
            )
        }
        if let queueGroup {
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkQueue(queueGroup)
            } catch {
                throw OptionProblem(message: "option \"allocation_queue_group\": \(error.message)")
            }
        }
        if let clientName, clientName.isEmpty || clientName.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
            // The name is a token of the started event's subject.
            throw OptionProblem(
                message: "option \"client_name\" must be a text without white space, not \"\(clientName)\""
            )
        }
        if clientName?.contains(where: { $0 == "." || $0 == "*" || $0 == ">" }) == true {
            throw OptionProblem(message: "option \"client_name\" may not contain \".\", \"*\" or \">\"")
        }
    }
}

/// What names of services and listeners are made of: letters, digits, `_` and `-` (ADR-32).
func isNameByte(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 95 || byte == 45
}

/// semver.org's grammar: three numbers without leading zeros, `-` and pre-release identifiers, `+` and build identifiers.
func isSemanticVersion(_ text: String) -> Bool {
    let plus = text.split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
    if plus.count == 2, !identifiers(plus[1], leadingZerosAllowed: true) { return false }
    let dash = plus[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    if dash.count == 2, !identifiers(dash[1], leadingZerosAllowed: false) { return false }
    let numbers = dash[0].split(separator: ".", omittingEmptySubsequences: false)
    return numbers.count == 3
        && numbers.allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) } && (part.count == 1 || part.first != "0")
        }
}

private func identifiers(_ text: Substring, leadingZerosAllowed: Bool) -> Bool {
    text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
        guard !part.isEmpty, part.utf8.allSatisfy({ isNameByte($0) && $0 != 95 }) else { return false }
        let isNumber = part.utf8.allSatisfy { (48...57).contains($0) }
        return leadingZerosAllowed || !isNumber || part.count == 1 || part.first != "0"
    }
}
