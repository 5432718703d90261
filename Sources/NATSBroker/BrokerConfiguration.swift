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
        /// How many clients may be connected; one more is told so and closed. Not more than the process may have files
        /// open, less some for others.
        package var maximumConnections = 65_536
        /// How many bytes may wait for a client that reads too slowly, of messages and of answers to its commands; with
        /// more it is closed, so that one stuck client cannot take the others' memory.
        package var maximumPendingBytesPerClient = 64 << 20
        /// While more than this waits for a client, nothing more is read from it.
        package var maximumUnreadBytes = 8 << 20
        /// How long a client that is not read for that reason may take nothing, until it is closed.
        package var slowConsumerTime: TimeAmount = .seconds(10)
        /// How many bytes may wait for all clients together, and in commands that are not complete; with more the client
        /// that holds most is closed.
        package var maximumHeldBytes = 256 << 20
        /// How long reading from a client pauses after it sent to one with more than half of that waiting.
        package var pauseForSlowConsumers: TimeAmount = .milliseconds(5)
        /// How many subscriptions one client may have; one more is answered with an error.
        package var maximumSubscriptionsPerClient = 1_000_000
        /// About how many bytes the subscriptions of one client may take, and those of all; one more is answered with an
        /// error.
        package var maximumSubscriptionBytesPerClient = 128 << 20
        package var maximumSubscriptionBytes = 256 << 20
        /// How many receivers are served for one client before the others have their turn.
        package var receiversPerTurn = 4000
        /// How often a silent client is asked whether it is there.
        package var pingInterval: TimeAmount = .seconds(120)
        /// How many of these questions may stay unanswered before the client is closed as stale.
        package var maximumPingsOutstanding = 2
        /// Gives memory that is free back to the system; called on the broker's loop, at most once a second, when much
        /// less is held for clients than before. The broker knows no allocator.
        package var giveBackMemory: (@Sendable () -> Void)?

        /// The defaults.
        package init() {}
    }

    /// What the broker has done since it started.
    package struct Statistics: Sendable, Equatable {
        package var connections = 0
        package var totalConnections = 0
        package var refusedConnections = 0
        /// How many times nothing could be accepted, for want of descriptors or memory.
        package var failedAccepts = 0
        package var subscriptions = 0
        package var messagesIn = 0
        package var bytesIn = 0
        package var messagesOut = 0
        package var bytesOut = 0
        /// Messages that matched no subscription.
        package var messagesWithoutReceiver = 0
        package var slowConsumers = 0
        /// Clients that were closed because all together held too much.
        package var shedClients = 0
        /// How many bytes wait for clients, and in commands that are not complete.
        package var heldBytes = 0
        /// How often reading from a client stopped because it did not read.
        package var holds = 0
        package var refusedSubscriptions = 0
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
