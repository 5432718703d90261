// Owns: what the streams of an HTTP/2 connection hold, as sums. Values; loop-bound with their connection.

/// What a stream, or all streams of a connection, make the server hold.
struct HTTP2Load {
    /// Bytes of requests that are not complete, or not begun.
    private(set) var body = 0
    /// Bytes of responses that the client has not taken.
    private(set) var unsent = 0

    var total: Int { body + unsent }

    /// Changes a stream's part, and with it the sum of its connection.
    ///
    /// - Returns: False when it is as it was.
    @discardableResult
    mutating func set(body: Int, unsent: Int, in sum: inout HTTP2Load) -> Bool {
        guard body != self.body || unsent != self.unsent else { return false }
        sum.body += body - self.body
        sum.unsent += unsent - self.unsent
        self.body = body
        self.unsent = unsent
        return true
    }
}
