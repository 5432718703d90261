// Owns: which of a route's functions runs next for a connection: one after another, `open` first and `close` last. A value
// without Lua and without a connection.

/// The turns of one connection.
struct WebSocketTurns: Equatable {
    enum Turn: UInt, Equatable {
        /// The one function of a route that is no table.
        case handler
        case open
        /// In place of `open`, after a reload.
        case reload
        case message
        case close

        /// What the script calls it.
        var name: String {
            switch self {
            case .handler: "handler"
            case .open: "open"
            case .reload: "reload"
            case .message: "message"
            case .close: "close"
            }
        }
    }

    /// What runs or waits in the middle.
    private(set) var running: Turn?
    /// What comes before everything else.
    private(set) var first: Turn?
    /// Nothing comes any more.
    private(set) var isFinished = false

    init(first: Turn) { self.first = first }

    /// Whether a message would be looked at now.
    var takesMessages: Bool { running == nil && first == nil && !isFinished }

    /// Begins the next turn.
    ///
    /// - Parameters:
    ///   - hasMessage: A message waits.
    ///   - hasEnded: The connection has ended.
    /// - Returns: Nil when there is nothing to do, or something runs.
    mutating func begin(hasMessage: Bool, hasEnded: Bool) -> Turn? {
        guard running == nil, !isFinished else { return nil }
        if let first {
            self.first = nil
            running = first
        } else if hasMessage {
            running = .message
        } else if hasEnded {
            running = .close
        }
        return running
    }

    /// The connection is somebody else's: nothing more runs here.
    mutating func leave() {
        first = nil
        isFinished = true
    }

    /// The turn that runs has ended, one way or the other.
    mutating func end() {
        switch running {
        case .handler, .close: isFinished = true
        default: break
        }
        running = nil
    }
}
