// Owns: what a service registered, as data for listings and `panini check`. Pure values; any thread.

public import Logging
import ScriptRuntime

/// What a service serves.
public struct PaniniServiceReport: Sendable, Equatable {
    /// A subject that is listened to.
    public struct Listener: Sendable, Equatable {
        /// The subject as subscribed: named tokens are `*`.
        public let subject: String
        /// The queue group, if there is one.
        public let queue: String?
        /// The listener's name, if it has one.
        public let name: String?
    }

    /// A timer.
    public struct Timer: Sendable, Equatable {
        /// The timer's name, if it has one.
        public let name: String?
        /// Seconds between ticks.
        public let interval: Double
    }

    /// A route of the web server.
    public struct Route: Sendable, Equatable {
        /// The method: `GET`; `*` for all, `WEBSOCKET` for a route that upgrades.
        public let method: String
        /// The path with its parameters.
        public let path: String
        /// For a bridge what its clients may subscribe to; empty for all others.
        public let subjects: [String]
    }

    /// Something else that a feature lets a script register.
    public struct Registration: Sendable, Equatable {
        /// What it is: `consumer`.
        public let kind: String
        /// What the script calls it.
        public let name: String
        /// What else is to be known of it, in order.
        public let details: [Detail]

        /// A name and a value.
        public struct Detail: Sendable, Equatable {
            /// What it is: `stream`.
            public let name: String
            /// Its value as people read it.
            public let value: String
        }
    }

    /// The service's name.
    public let serviceName: String
    /// The service's version.
    public let version: String
    /// The connection's name at the broker.
    public let clientName: String?
    /// What is listened to, in the order of the script.
    public let listeners: [Listener]
    /// The timers, in the order of the script.
    public let timers: [Timer]
    /// How many tasks there are.
    public let tasks: Int
    /// The routes of the web server, in the order of the script.
    public let routes: [Route]
    /// What else the script has registered, in the order of the features.
    public let registrations: [Registration]
}

extension PaniniServiceReport {
    init(_ script: Script, options: AppOptions, clientName: String?) {
        serviceName = options.serviceName
        version = options.version
        self.clientName = clientName
        listeners = script.messaging.loadTimeListeners.flatMap { listener in
            listener.subjects.filter { script.messaging.filters.admits($0.pattern.subject) }.map { subject in
                let queue = listener.options.queueGroup(ofApp: options.queueGroup)
                return Listener(subject: subject.pattern.subject, queue: queue, name: listener.options.name)
            }
        }
        timers = script.timers.all.map { Timer(name: $0.name, interval: Double($0.intervalNanoseconds) / 1e9) }
        tasks = script.hooks.tasks.count
        routes = script.http.routes.all.map { route in
            Route(
                method: route.webSocket == nil ? route.method : "WEBSOCKET",
                path: route.path,
                subjects: route.webSocket?.bridge?.permissions.patterns ?? []
            )
        }
        registrations = script.features.all.flatMap(\.listed).map { listed in
            Registration(
                kind: listed.kind,
                name: listed.name,
                details: listed.details.map { Registration.Detail(name: $0.name, value: $0.value) }
            )
        }
    }
}

extension Service {
    var report: PaniniServiceReport {
        PaniniServiceReport(script, options: options, clientName: clientName)
    }
}

/// Loading a script without running it as a service.
public enum PaniniCheck {
    /// Loads a script, which runs its file, and tells what it would serve. Connects to nothing.
    ///
    /// - Parameters:
    ///   - path: The script's path.
    ///   - overrides: Options from outside the script.
    ///   - logger: Where what the script prints while loading goes.
    ///   - modules: The Swift functions that the script is going to have.
    ///   - registrations: What Swift is going to register beside the script.
    /// - Returns: What the script registered.
    /// - Throws: ``PaniniError`` with the file and line of the mistake.
    public static func check(
        path: String,
        overrides: PaniniOverrides = PaniniOverrides(),
        logger: Logger,
        modules: [PaniniModule] = [],
        registrations: PaniniRegistrations = PaniniRegistrations()
    ) throws(PaniniError) -> PaniniServiceReport {
        let place = ScriptPlace(modules: modules, registrations: registrations)
        let script = try ServiceLoader.loadScript(path, overrides: overrides, logger: logger, place: place)
        defer { script.close() }
        guard let options = script.options else {
            throw PaniniError(code: .noApp, message: "\(path): the script made no app; it calls panini.app{...} once")
        }
        return PaniniServiceReport(script, options: options, clientName: options.clientName)
    }
}
