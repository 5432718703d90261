// The limits and addresses of the embedded broker, and the counters that show what they did. Plain values.

package import NIOCore

extension EmbeddedBroker {
    /// Where the broker listens and what it allows.
    package struct Configuration: Sendable {
        /// The address to listen on: a name or an IP address. Loopback by default, as there are no credentials.
        package var host = "127.0.0.1"
        /// The port to listen on; 0 takes a free one.
        package var port = 4222
        /// The largest message (headers included), in bytes. A client that announces more is closed.
        package var maximumPayload = 1 << 20
        /// The longest list of arguments of a command, in bytes. CONNECT counts, too.
        package var maximumControlLine = 4096
        /// How many clients may be connected; one more is told so and closed.
        package var maximumConnections = 65_536
        /// How many bytes may wait for a client that reads too slowly; with more it is closed, so that one stuck
        /// client cannot take the others' memory.
        package var maximumPendingBytesPerClient = 64 << 20
        /// How long reading from a client pauses after it sent to one with more than half of that waiting.
        package var pauseForSlowConsumers: TimeAmount = .milliseconds(5)
        /// How many subscriptions one client may have; one more is answered with an error.
        package var maximumSubscriptionsPerClient = 1_000_000
        /// How often a silent client is asked whether it is there.
        package var pingInterval: TimeAmount = .seconds(120)
        /// How many of these questions may stay unanswered before the client is closed as stale.
        package var maximumPingsOutstanding = 2

        /// The defaults.
        package init() {}
    }

    /// What the broker has done since it started.
    package struct Statistics: Sendable, Equatable {
        package var connections = 0
        package var totalConnections = 0
        package var refusedConnections = 0
        package var subscriptions = 0
        package var messagesIn = 0
        package var bytesIn = 0
        package var messagesOut = 0
        package var bytesOut = 0
        /// Messages that matched no subscription.
        package var messagesWithoutReceiver = 0
        package var slowConsumers = 0
        /// How often a client was not read for a moment because a receiver of its messages was behind.
        package var pauses = 0
        package var staleConnections = 0
        package var protocolErrors = 0
    }

    /// Why the broker could not start.
    package struct StartError: Error, CustomStringConvertible {
        package enum Kind: Sendable {
            case addressInUse
            case other
        }

        package let kind: Kind
        package let description: String
    }
}
