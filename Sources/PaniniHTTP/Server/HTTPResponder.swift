// Owns: what a request's response goes to, whichever version of HTTP brought it. Loop-bound.

/// An HTTP/1.1 connection, or a stream of an HTTP/2 one.
///
/// A number says which request is meant: what comes for an older one is too late, and dropped.
package protocol HTTPResponder: AnyObject {
    /// The turn of its request has come: whether that begins now. Asked of streams only.
    func begins() -> Bool
    /// Whether the request of that number still waits for its response, or for more of it.
    func isWaiting(for number: UInt64) -> Bool
    /// Gives a whole response.
    func respond(_ number: UInt64, status: Int, headers: HTTPFields, body: UnsafeRawBufferPointer)
    /// Begins a response whose body follows in pieces of unknown number.
    func beginStream(_ number: UInt64, status: Int, headers: HTTPFields)
    /// Writes a piece of a stream.
    ///
    /// - Returns: False when the client does not keep up: wait for the delegate's `canWrite`.
    func write(_ number: UInt64, _ bytes: UnsafeRawBufferPointer) -> Bool
    /// Ends a stream: with its end mark, or without, so that the client sees that something is missing.
    func endStream(_ number: UInt64, isComplete: Bool)
    /// Responds with a part of a file, which is closed afterwards.
    func respond(
        _ number: UInt64,
        status: Int,
        headers: HTTPFields,
        file: HTTPFile,
        range: Range<Int>
    )
}

extension HTTPResponder {
    package func begins() -> Bool { true }
}
