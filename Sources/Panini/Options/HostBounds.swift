// Owns: which options of an app protect the host, and what an untrusted script may set them to at most. Pure values; any thread.

/// Bounds that an untrusted script cannot raise by itself: the defaults. Values from outside the script are not its own, and
/// may be anything.
///
/// What counts are memory outside of the Lua state, threads' time, descriptors, and the time for which a stop or an old version
/// waits. How long a script lets its own handlers wait, how it treats its own connection to the broker, what it listens to and
/// how often it asks are its own matter: they cost no more than the bounds here allow.
struct HostBounds: Sendable {
    /// An option that the script has asked more of.
    struct Lowered: Equatable, Sendable {
        let name: String
        let asked: OptionValue
        let bound: OptionValue
    }

    /// The largest value of each option.
    let largest: [String: OptionValue]

    /// Those of untrusted scripts.
    static let untrusted: HostBounds = {
        let usual = AppOptions()
        return HostBounds(
            largest: [
                "limits.cpu": .number(usual.cpuLimit),
                "limits.cpu_rate": .number(usual.cpuRate),
                "limits.slice": .number(usual.sliceLimit),
                "limits.load": .number(usual.loadLimit),
                "limits.memory": .integer(Int64(usual.memoryLimit)),
                "limits.weak_keys": .integer(Int64(usual.weakKeyLimit)),
                "pending_limit": .integer(Int64(usual.pendingLimit)),
                "pending_bytes_limit": .integer(Int64(usual.pendingBytesLimit)),
                "unsent_bytes_limit": .integer(Int64(usual.unsentBytesLimit)),
                "shared_limit": .integer(Int64(usual.sharedLimit)),
                "shutdown_timeout": .number(usual.shutdownTimeout),
                "drain_timeout": .number(usual.drainTimeout),
                "web_memory": .integer(Int64(MachineMemory.webDefault)),
                "web_connection_memory": .integer(Int64(usual.webConnectionMemory)),
                "web_max_body": .integer(Int64(usual.webMaxBody)),
                "web_max_header_bytes": .integer(Int64(usual.webMaxHeaderBytes)),
                "web_max_connections": .integer(Int64(usual.webMaxConnections)),
                "web_max_requests": .integer(Int64(usual.webMaxRequests)),
                "web_max_streams": .integer(Int64(usual.webMaxStreams)),
                "fetch_max_connections": .integer(Int64(usual.fetchMaxConnections)),
            ]
        )
    }()

    /// Options with a number that are a script's own matter.
    static let own: Set<String> = [
        "port", "web_port", "max_reconnect_attempts", "reconnecting_time_sleep", "auth_retry", "max_control_line",
        "connect_timeout", "ping_interval", "handler_timeout", "web_header_timeout", "web_body_timeout",
        "web_idle_timeout",
    ]

    /// Options whose smallest value holds for all services together: less would be taken from the others.
    static let shared: Set<String> = ["web_memory"]

    /// The bound of an option, when the value is beyond it.
    func bound(of name: String, _ value: OptionValue) -> OptionValue? {
        switch (value, largest[name]) {
        case (.integer(let asked), .integer(let most)?)
        where asked > most || asked < most && Self.shared.contains(name):
            .integer(most)
        case (.number(let asked), .number(let most)?) where asked > most: .number(most)
        default: nil
        }
    }
}

extension HostBounds.Lowered {
    /// What the log says.
    var text: String {
        """
        option "\(name)" is \(Self.text(bound)), not \(Self.text(asked)): an untrusted script does not \
        \(HostBounds.shared.contains(name) ? "choose what others share" : "raise its own bounds") \
        (\(OptionDefinition.byName[name]?.flag ?? name) does)
        """
    }

    private static func text(_ value: OptionValue) -> String {
        switch value {
        case .integer(let number): "\(number)"
        case .number(let number): formatted(number)
        default: "?"
        }
    }
}
