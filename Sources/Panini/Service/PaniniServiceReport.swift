// Owns: what a service registered, as data for listings and `panini check`. Pure values; any thread.

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
