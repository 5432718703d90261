// Owns: the checked options of one app, with their defaults. A pure value; any thread. Which option sets which field is said in
// OptionDefinition+All.swift.

import Bytes
import NATS
import ScriptRuntime

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
    /// What the script's runs, and its state, may take.
    var limits = ScriptLimits()
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
    /// What was given for options of features, by their names.
    private(set) var kept: [String: OptionValue] = [:]
    /// What was given for the options that a running service cannot change.
    private(set) var fixed: [String: OptionValue] = [:]

    /// Merges and checks the script's table and the values from outside.
    ///
    /// - Parameters:
    ///   - script: The members of the table given to `panini.app`.
    ///   - directory: The script's folder, which the paths in its table are relative to.
    ///   - overrides: Values from outside; the first of a name wins, all win over the script.
    ///   - bounds: What the script itself may ask for at most; nil: anything.
    ///   - rows: Options of features that are not in the list of all.
    /// - Throws: ``Failure/script(_:)`` for the script's own values, ``Failure/outside(_:)`` for the others.
    init(
        script: [(String, PlainValue)],
        directory: String = ".",
        overrides: PaniniOverrides,
        bounds: HostBounds? = nil,
        rows: [OptionDefinition] = []
    ) throws(Failure) {
        var merged = MergedOptions(rows: rows)
        try merged.add(overrides)
        try merged.add(script: script, directory: directory)
        if let bounds { lowered = merged.lower(to: bounds) }
        unusedGroups = merged.remove(groups: overrides.ignoredGroups)
        fixed = merged.values.filter { merged.row($0.key)?.isFixed == true }.mapValues(\.value)
        authentication = try merged.authentication()
        tls = try merged.tls()
        merged.settleServers()
        for (name, given) in merged.values { merged.row(name)?.apply(given.value, to: &self) }
        do throws(OptionError) {
            try checkIdentity()
        } catch {
            throw .script(error.message)
        }
    }

    /// What an option is that a feature has brought.
    func value(of option: OptionDefinition) -> OptionValue? { option.value(in: self) }

    mutating func keep(_ value: OptionValue, of option: OptionDefinition) { kept[option.name] = value }

    /// The names of options that differ and take effect at a restart only.
    func fixedOptions(differingFrom other: AppOptions) -> [String] {
        Set(fixed.keys).union(other.fixed.keys).filter { fixed[$0] != other.fixed[$0] }.sorted()
    }

    /// Options with the given values, which were checked, and the defaults of everything else.
    init(_ values: [String: OptionValue] = [:]) {
        for (name, value) in values { OptionDefinition.byName[name]?.apply(value, to: &self) }
    }

    /// The limits that were given outside the script; wrong ones are reported when the script makes its app.
    static func givenLimits(in overrides: PaniniOverrides) -> ScriptLimits {
        var merged = MergedOptions()
        do throws(Failure) {
            try merged.add(overrides.only(["limits.cpu", "limits.memory", "limits.weak_keys", "limits.load"]))
        } catch {
            return ScriptLimits()
        }
        return AppOptions(merged.values.mapValues(\.value)).limits
    }

    /// The option `module_path` as it was given outside the script; a wrong one is reported when the script makes its app.
    static func givenModulePath(in overrides: PaniniOverrides) -> [String] {
        var merged = MergedOptions()
        do throws(Failure) {
            try merged.add(overrides.only(["module_path"]))
        } catch {
            return []
        }
        guard case .list(let folders) = merged.values["module_path"]?.value else { return [] }
        return folders
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

    /// `app_strategy` as it is written.
    var strategy: String {
        get { isSync ? "sync" : "asyncio" }
        set { isSync = newValue == "sync" }
    }

    /// `allocation_queue_group` as it is written: an empty one is none.
    var allocationQueueGroup: String? {
        get { queueGroup }
        set { queueGroup = newValue?.isEmpty == true ? nil : newValue }
    }

    private func checkIdentity() throws(OptionError) {
        guard !serviceName.isEmpty else {
            throw OptionError(message: "option \"service_name\" is required: panini.app{ service_name = \"orders\" }")
        }
        guard serviceName.utf8.count <= 128, serviceName.utf8.allSatisfy(isNameByte) else {
            throw OptionError(
                message: "option \"service_name\" may have letters, digits, _ and - only, not \"\(serviceName)\""
            )
        }
        guard (webCertificateFile == nil) == (webKeyFile == nil) else {
            throw OptionError(message: "option \"web_tls\" needs both cert_file and key_file")
        }
        guard isSemanticVersion(version) else {
            throw OptionError(
                message: "option \"version\" must be a semantic version such as \"1.4.0\", not \"\(version)\""
            )
        }
        if let queueGroup {
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkQueue(queueGroup)
            } catch {
                throw OptionError(message: "option \"allocation_queue_group\": \(error.message)")
            }
        }
        if let clientName, clientName.isEmpty || clientName.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7F }) {
            // The name is a token of the started event's subject.
            throw OptionError(
                message: "option \"client_name\" must be a text without white space, not \"\(clientName)\""
            )
        }
        if clientName?.contains(where: { $0 == "." || $0 == "*" || $0 == ">" }) == true {
            throw OptionError(message: "option \"client_name\" may not contain \".\", \"*\" or \">\"")
        }
    }
}

/// What names of services and listeners are made of: letters, digits, `_` and `-` (ADR-32).
func isNameByte(_ byte: UInt8) -> Bool {
    ASCII.isLetter(byte) || ASCII.isDigit(byte) || byte == 95 || byte == 45
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
            !part.isEmpty && part.utf8.allSatisfy(ASCII.isDigit) && (part.count == 1 || part.first != "0")
        }
}

private func identifiers(_ text: Substring, leadingZerosAllowed: Bool) -> Bool {
    text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
        guard !part.isEmpty, part.utf8.allSatisfy({ isNameByte($0) && $0 != 95 }) else { return false }
        let isNumber = part.utf8.allSatisfy(ASCII.isDigit)
        return leadingZerosAllowed || !isNumber || part.count == 1 || part.first != "0"
    }
}
