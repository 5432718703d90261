// What a client can say to the broker, and why it can be refused: the output of ClientCommandParser. Plain values.
// All ranges are positions in the bytes that were given to the parser, so that nothing is copied.

/// One command of a client.
package enum ClientCommand: Equatable {
    /// `CONNECT {json}`
    case connect(options: Range<Int>)
    /// `PUB subject [reply] size` or `HPUB subject [reply] headersize size`, with what follows it.
    case publish(Publication)
    /// `SUB subject [queue] sid`; `queue` is empty when there is none.
    case subscribe(subject: Range<Int>, queue: Range<Int>, sid: Range<Int>)
    /// `UNSUB sid [max]`; nil: at once. A `max` that is no number means at once, too, as with nats-server.
    case unsubscribe(sid: Range<Int>, maximum: Int?)
    case ping
    case pong
    /// `+OK` and `INFO`: a server may hear them and has nothing to do.
    case ignored

    package struct Publication: Equatable {
        package var subject: Range<Int>
        /// Empty when no answer is wanted.
        package var reply: Range<Int>
        /// From `NATS/1.0` to the empty line; empty for PUB.
        package var headers: Range<Int>
        package var payload: Range<Int>
        /// Whether it came as HPUB, which a client without headers may not send.
        package var isHeaderPublication: Bool
    }
}

/// Why a client's bytes are refused. After any of them the connection is closed: nobody knows where the next command
/// would begin.
package enum ClientProtocolError: Error, Equatable {
    /// Not a command, or a payload that is not followed by a line end.
    case unknownOperation
    /// A known command with the wrong number or kind of arguments; the text says what it takes.
    case malformedArguments(usage: Usage)
    case controlLineTooLong
    case payloadTooLarge(size: Int)
    /// The client said `-ERR`.
    case clientError

    package enum Usage: String {
        case connect = "CONNECT takes a JSON object"
        case pub = "PUB takes a subject, an optional reply subject and a size in bytes"
        case hpub = "HPUB takes a subject, an optional reply subject, the size of the headers and the size of all"
        case sub = "SUB takes a subject, an optional queue group and a subscription id"
        case unsub = "UNSUB takes a subscription id and an optional number of messages"
    }

    /// The text inside `-ERR '...'`; nil when nothing is sent. Where nats-server says something these are its words;
    /// it says nothing about wrong arguments, where a newcomer at a terminal wants to know.
    package var wireText: String? {
        switch self {
        case .unknownOperation: "Unknown Protocol Operation"
        case .malformedArguments(let usage): "Parser Error: \(usage.rawValue)"
        case .controlLineTooLong: "maximum control line exceeded"
        case .payloadTooLarge: "Maximum Payload Violation"
        case .clientError: nil
        }
    }
}
