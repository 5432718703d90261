// Owns: what waits until the broker takes more of what a service sends, and what is counted of it. A value of a Service;
// loop-bound. What is done with it stands in Service+Outflow.

/// The sends, and the messages not begun, that wait for a broker which is slower than the service.
struct Outflow {
    /// Publishes and requests, in the order of their calls.
    var sends = LinkedQueue<WaitingSend>()
    /// Listeners whose waiting messages are not begun: their replies would come on top. Each with its script, which they do
    /// not keep alive.
    var heldBack: [(script: Script, listener: Listener)] = []
    /// The same under the "sync" strategy.
    var holdsTurn = false
    /// Clients of bridges whose next command waits.
    var heldClients: [BridgeClient] = []
    var isScheduled = false
    /// When the log last said that the broker is slow; it says that the broker has caught up only after that.
    var lastToldSlow: UInt64?
    var isSlowTold = false

    // Counters.
    /// Publishes and requests that have had to wait.
    var waited: UInt64 = 0
    /// Replies, error replies among them, that no connection took.
    var lostReplies: UInt64 = 0
    /// The log knows that replies are lost; until there is a connection again.
    var isLossTold = false
}
