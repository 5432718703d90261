// Why bytes from a peer were refused. A parse error is final for its connection: the position of the next operation is
// no longer known.

/// What was wrong with the bytes a peer sent.
package struct NATSParserError: Error, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// The line begins with no operation of the protocol.
        case unknownOperation
        /// No line end within the limit.
        case controlLineTooLong
        /// Wrong number of arguments.
        case badArguments
        /// A subscription id or a size that is not a decimal number.
        case badNumber
        /// The announced size is above what any server sends.
        case payloadTooLarge
        /// The header block is announced longer than the message it is part of.
        case headersTooLarge
        /// The payload is not followed by a line end.
        case missingPayloadEnd
    }

    package let kind: Kind

    package init(_ kind: Kind) {
        self.kind = kind
    }
}
