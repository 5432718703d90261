// Owns: the life of one stream of HTTP/2: how far its request and its response are, how long each may take, and how it ends. A
// value without I/O and without a clock: it is told the server's ticks. Knows neither frames nor what responds.

/// The life of one request over HTTP/2.
///
/// Frames, the turns of requests, whoever responds and the server's ticks are its events; what one returns is to be done at once.
struct HTTP2StreamMachine: Equatable {
    enum Phase: Equatable {
        case head, body
        /// The request is complete, and waits for its turn, or until the client has taken other responses.
        case queued
        /// The request's turn has come, and its response has not begun.
        case responding
        /// The head of the response is out, its body follows in pieces.
        case streaming
        /// The same for a file.
        case sendingFile
        /// The last frame of the response is written: ``responseEnded(now:)``.
        case finishing
        /// Everything is written, or will be when the client makes room.
        case ended
        case closed
    }

    private(set) var phase = Phase.head
    /// The request is a HEAD: its response has no body.
    private(set) var isHead = false
    /// The client has sent all of its request.
    private(set) var isInputEnded = false
    private var wasContinued = false
    /// Bytes of the request that came after its response.
    private var dropped = 0
    /// The tick at which the phase began, or the client made room.
    private var since: UInt64

    /// What of a request may come after its response: many clients take a reset for a failure.
    static let droppedBytes = 64 << 10

    init(now: UInt64) { since = now }

    /// The request has no complete response yet.
    var hasRequest: Bool {
        switch phase {
        case .body, .queued, .responding, .streaming, .sendingFile, .finishing: true
        case .head, .ended, .closed: false
        }
    }

    // MARK: - The request

    /// A block of fields has come.
    ///
    /// - Returns: Whether it is the head of the request: the second block are trailers, which nobody asks for.
    mutating func fieldsReceived(isLast: Bool) -> Bool {
        if isLast { isInputEnded = true }
        return phase == .head
    }

    /// The head is read.
    mutating func headEnded(isHead: Bool, now: UInt64) {
        guard phase == .head else { return }
        self.isHead = isHead
        phase = .body
        since = now
    }

    /// What a request that everybody admits needs before its body comes.
    enum BodyAction: Equatable {
        case read
        /// Say that the body is wanted, then read it.
        case sendContinue
        /// Refuse it: the body is too large.
        case refuseLength
        /// Refuse it: it expects something else.
        case refuseExpectation
    }

    /// The request is admitted.
    ///
    /// - Parameters:
    ///   - length: Of the body, as far as the head says it.
    ///   - expectsContinue: Whether what it expects is that; nil: it expects nothing.
    mutating func admitted(length: Int?, maximumBody: Int, expectsContinue: Bool?) -> BodyAction {
        guard phase == .body else { return .read }
        if let length, length > maximumBody { return .refuseLength }
        guard let expectsContinue, !isInputEnded, !wasContinued else { return .read }
        guard expectsContinue else { return .refuseExpectation }
        wasContinued = true
        return .sendContinue
    }

    /// What to do with bytes of a body.
    enum DataAction: Equatable {
        case take
        /// Nobody wants them.
        case drop
        /// Nor are further ones wanted: reset the stream, without an error.
        case reset
    }

    /// Bytes of the body have come.
    mutating func dataReceived(_ count: Int, isLast: Bool) -> DataAction {
        if isLast { isInputEnded = true }
        switch phase {
        case .body: return .take
        case .ended:
            // Nobody reads what the client still sends (RFC 9113, section 8.1).
            dropped += count
            return dropped > Self.droppedBytes ? .reset : .drop
        case .head, .queued, .responding, .streaming, .sendingFile, .finishing, .closed: return .drop
        }
    }

    /// All of the request has come.
    ///
    /// - Returns: Whether it stands in line from now on.
    mutating func requestEnded() -> Bool {
        guard phase == .body else { return false }
        phase = .queued
        return true
    }

    /// Its turn has come, and there is room for its response.
    ///
    /// - Returns: False when it waits for neither.
    mutating func begin(now: UInt64) -> Bool {
        guard phase == .queued else { return false }
        phase = .responding
        since = now
        return true
    }

    /// The server itself refuses the request.
    ///
    /// - Returns: Whether to write the response; ``responseEnded(now:)`` follows.
    mutating func refused() -> Bool {
        guard phase == .body || phase == .queued else { return false }
        phase = .finishing
        return true
    }

    // MARK: - The response

    /// Whether the request still waits for its response, or for more of it.
    var isWaiting: Bool {
        switch phase {
        case .queued, .responding, .streaming: return true
        case .head, .body, .sendingFile, .finishing, .ended, .closed: return false
        }
    }

    private var takesResponse: Bool { phase == .responding }

    /// The whole response is there.
    ///
    /// - Returns: Whether to write it; ``responseEnded(now:)`` follows.
    mutating func respond() -> Bool {
        guard takesResponse else { return false }
        phase = .finishing
        return true
    }

    /// A response begins whose body follows in pieces.
    ///
    /// - Returns: Whether to write its head.
    mutating func beginStream() -> Bool {
        guard takesResponse else { return false }
        phase = .streaming
        return true
    }

    /// The head of the response is larger than can be sent. Another, whole response takes its place; ``responseEnded(now:)``
    /// follows.
    mutating func headRefused() {
        switch phase {
        case .streaming, .sendingFile: phase = .finishing
        case .head, .body, .queued, .responding, .finishing, .ended, .closed: break
        }
    }

    /// How a piece of a stream is written.
    enum PieceAction: Equatable {
        /// It comes too late.
        case drop
        /// Not at all: the request was a HEAD.
        case omit
        case write
    }

    /// A piece of a stream is there.
    var piece: PieceAction { phase == .streaming ? isHead ? .omit : .write : .drop }

    /// How a stream ends.
    enum StreamEndAction: Equatable {
        case drop
        /// Write its end; ``responseEnded(now:)`` follows.
        case finish
        /// Reset the stream, with an error.
        case reset
    }

    /// A stream ends.
    ///
    /// - Parameter isComplete: Otherwise the client has to see that something is missing.
    mutating func endStream(isComplete: Bool) -> StreamEndAction {
        guard phase == .streaming else { return .drop }
        guard isComplete else {
            cutShort()
            return .reset
        }
        phase = .finishing
        return .finish
    }

    /// How a response with a file begins.
    enum FileAction: Equatable {
        case drop
        /// Write the head, which is all; ``responseEnded(now:)`` follows.
        case headOnly
        /// Write the head, then the file up to ``fileSent()``.
        case send
    }

    /// A response with a file begins.
    mutating func beginFile(isEmpty: Bool) -> FileAction {
        guard takesResponse else { return .drop }
        guard !isHead, !isEmpty else {
            phase = .finishing
            return .headOnly
        }
        phase = .sendingFile
        return .send
    }

    /// The last piece of a file is written.
    ///
    /// - Returns: Whether ``responseEnded(now:)`` follows.
    mutating func fileSent() -> Bool {
        guard phase == .sendingFile else { return false }
        phase = .finishing
        return true
    }

    /// The response cannot be completed: the stream is reset.
    mutating func cutShort() {
        phase = .ended
    }

    /// The response is written to its end.
    mutating func responseEnded(now: UInt64) {
        guard phase == .finishing else { return }
        phase = .ended
        since = now
    }

    /// What room at the client is for.
    enum RoomAction: Equatable {
        case none
        /// Tell the writer of the stream.
        case canWrite
        case sendFile
    }

    /// The client takes what it is sent, or does not.
    mutating func writabilityChanged(_ isWritable: Bool, now: UInt64) -> RoomAction {
        since = now
        guard isWritable else { return .none }
        switch phase {
        case .streaming: return .canWrite
        case .sendingFile: return .sendFile
        case .head, .body, .queued, .responding, .finishing, .ended, .closed: return .none
        }
    }

    // MARK: - Time and the end

    /// What a tick asks for.
    enum TickAction: Equatable {
        case none
        /// Close the stream, and count it as idle.
        case closeIdle
        /// Refuse the request: its body did not come in time.
        case refuseBody
        /// Reset the stream, without an error: the client does not end its request.
        case reset
    }

    /// A tick of the server.
    ///
    /// - Parameters:
    ///   - movedAt: The tick at which the client was last seen to take something, of whichever stream.
    ///   - isUnsent: The client has something to take, and does not take it.
    func advance(now: UInt64, limits: HTTPTimeLimits, movedAt: UInt64, isUnsent: Bool) -> TickAction {
        let passed = now &- since
        guard phase != .closed else { return .none }
        if isUnsent || phase == .queued {
            // A client may read slowly, as long as it reads.
            return min(passed, now &- movedAt) > limits.idle ? .closeIdle : .none
        }
        switch phase {
        case .body: return passed > limits.body ? .refuseBody : .none
        case .ended: return !isInputEnded && passed > limits.linger ? .reset : .none
        case .head, .queued, .responding, .streaming, .sendingFile, .finishing, .closed: return .none
        }
    }

    /// What becomes of a stream whose client sends no more.
    enum InputEndAction: Equatable {
        case none
        /// Refuse the request: it is not complete.
        case refuse
        /// Close the stream: what the client has not been sent it will never have room for.
        case close
    }

    /// The client sends no more: neither the rest of a request nor room for a response.
    ///
    /// - Parameter isWritable: Whether more of the response can be written. All that had room is on its way.
    func inputClosed(isWritable: Bool) -> InputEndAction {
        switch phase {
        case .head, .ended: .close
        case .body: .refuse
        case .streaming, .sendingFile: isWritable ? .none : .close
        case .queued, .responding, .finishing, .closed: .none
        }
    }

    /// There is no stream any more.
    ///
    /// - Returns: Whether a request waits for its response.
    mutating func lost() -> Bool {
        defer { phase = .closed }
        return hasRequest
    }
}
