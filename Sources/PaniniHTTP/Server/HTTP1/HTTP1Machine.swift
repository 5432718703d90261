// Owns: the life of an HTTP/1 connection: which request is under way, what may be read and written in each phase, how long a
// phase may take, and how the connection ends. A value without I/O and without a clock: it is told the server's ticks. Knows
// neither the bytes nor what responds.

/// The life of one HTTP/1 connection.
///
/// The parser says where a head and a message end, the channel says what became of the socket, and whoever responds says how far
/// the response is. Each of these events is a method; what it returns is to be done at once, before the next event.
struct HTTP1Machine: Equatable {
    enum Phase: Equatable {
        /// Between requests.
        case idle
        /// A request's first bytes have arrived.
        case head
        case body
        /// The request is complete, and its response has not begun.
        case responding
        /// The head of the response is out, its body follows in pieces.
        case streaming
        /// The same for a file.
        case sendingFile
        /// The last byte of the response is written: ``responseEnded(now:)``.
        case finishing
        /// The last response is written, and goes out; nothing more is read.
        case closing
        /// Everything went out; only the client's end is awaited.
        case shut
        case closed
        /// The channel is somebody else's.
        case upgraded
    }

    /// What has to be known of a request while it is under way.
    struct Request: Equatable {
        var isHead = false
        var isHTTP10 = false
        /// What follows an offer to speak something else may be in that other protocol.
        var offersUpgrade = false
        var hasBody = false
        var keepsAlive = false
        var expectation = HTTPRequestParser.Facts.Expectation.none
    }

    private(set) var phase = Phase.idle
    private(set) var request = Request()
    /// Which request of the connection is under way: a response with an older number comes too late.
    private(set) var number: UInt64 = 0
    /// The request under way has no complete response yet; a channel that is lost loses that, too.
    private(set) var hasRequest = false
    /// Whether another request may follow.
    private(set) var keepsAlive = true
    /// The parser is between the head and the end of a message.
    private(set) var isInMessage = false
    /// The parser runs: what an event brings in the middle of that is looked at behind it.
    private(set) var isParsing = false
    /// The client does not take what it is sent.
    var isBlocked: Bool { pace.isBlocked }
    private var pace: HTTPPace
    /// The tick at which the phase began.
    private var since: UInt64
    /// Bytes since the request began, before its head was complete; behind an offer, those that came after it.
    private var headBytes = 0
    private var isReadingPaused = false
    private var isInputClosed = false
    private var isStopping = false

    /// How many bytes of pipelined requests may wait before the socket is left alone.
    static let maximumHeldBytes = 64 << 10
    /// How many bytes may come behind the head of an upgrade before it is responded to.
    static let maximumEarlyBytes = 128 << 10
    /// What of a body one read may bring together with a head.
    static let bodyBytesOfRead = 256 << 10

    init(now: UInt64) {
        since = now
        pace = HTTPPace(now: now)
    }

    private mutating func enter(_ phase: Phase, now: UInt64) {
        self.phase = phase
        since = now
    }

    // MARK: - What arrives

    /// What to do with bytes from the socket.
    enum ReadAction: Equatable {
        /// Give them to the parser.
        case parse
        /// Keep them, behind those that are kept already.
        case hold
        /// Keep them, and do not read the socket any more.
        case holdAndPause
        /// Refuse the request: its head is too large.
        case refuse
        /// Close the channel.
        case close
        /// Nobody wants them.
        case ignore
    }

    /// Bytes have come.
    ///
    /// - Parameters:
    ///   - count: How many.
    ///   - held: How many are kept from before.
    ///   - maximumHead: The largest head, in bytes.
    @inline(__always)
    mutating func received(_ count: Int, held: Int, maximumHead: Int, now: UInt64) -> ReadAction {
        switch phase {
        case .idle:
            // What has to wait for its turn begins when that comes.
            guard !pace.isBlocked else { return hold(held + count) }
            enter(.head, now: now)
            headBytes = count
        case .head:
            headBytes += count
            // A read may hold a head and a body: only what cannot be both is refused here.
            if headBytes > maximumHead + Self.bodyBytesOfRead { return .refuse }
        case .body: break
        case .responding, .streaming, .sendingFile, .finishing:
            // For what is spoken after the upgrade; a client waits for its response before it says much.
            if request.offersUpgrade { headBytes += count }
            guard !request.offersUpgrade || headBytes <= Self.maximumEarlyBytes else {
                phase = .closed
                return .close
            }
            return hold(held + count)
        case .closing, .shut, .closed, .upgraded: return .ignore
        }
        return isParsing || held > 0 ? hold(held + count) : .parse
    }

    private mutating func hold(_ count: Int) -> ReadAction {
        guard count > Self.maximumHeldBytes, !isReadingPaused, !request.offersUpgrade else { return .hold }
        isReadingPaused = true
        return .holdAndPause
    }

    /// Whether the parser may read on.
    @inline(__always)
    var isReady: Bool {
        switch phase {
        case .idle: !pace.isBlocked
        case .head, .body: true
        case .responding, .streaming, .sendingFile, .finishing, .closing, .shut, .closed, .upgraded: false
        }
    }

    /// Whether bytes that cannot be looked at now will be, once the request is responded to.
    var mayReadLater: Bool {
        switch phase {
        case .idle, .responding, .streaming, .sendingFile, .finishing: true
        case .head, .body, .closing, .shut, .closed, .upgraded: false
        }
    }

    /// Whether the next byte is the first of a request.
    @inline(__always)
    var isBetweenRequests: Bool { !isInMessage && phase == .idle }

    /// Whether bytes of the request's body are wanted.
    @inline(__always)
    var takesBody: Bool { phase == .body }

    /// What is held has been looked at; one level only, as a response that is given at once comes back in the middle of it.
    mutating func parsing(_ isParsing: Bool) { self.isParsing = isParsing }

    /// Whether the socket is to be read again, now that only so many bytes are held.
    mutating func resumesReading(held: Int) -> Bool {
        guard isReadingPaused, held == 0 else { return false }
        isReadingPaused = false
        return true
    }

    // MARK: - Requests

    /// The first bytes of a request that was held are looked at.
    @inline(__always)
    mutating func requestBegan(_ count: Int, now: UInt64) {
        guard phase == .idle else { return }
        enter(.head, now: now)
        headBytes = count
    }

    /// A head is complete.
    @inline(__always)
    mutating func headEnded(_ request: Request, now: UInt64) {
        isInMessage = true
        self.request = request
        hasRequest = true
        number &+= 1
        // Nothing else than HTTP/1 is spoken behind an offer that was not taken.
        keepsAlive = request.keepsAlive && !isStopping && !request.offersUpgrade
        enter(.body, now: now)
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
    /// - Parameter length: Of the body, as far as the head says it.
    @inline(__always)
    mutating func admitted(length: Int?, maximumBody: Int) -> BodyAction {
        if let length, length > maximumBody { return .refuseLength }
        let expectation = request.expectation
        request.expectation = .none
        guard !request.isHTTP10, length != 0, phase == .body else { return .read }
        switch expectation {
        case .none: return .read
        case .continue: return .sendContinue
        case .other: return .refuseExpectation
        }
    }

    /// The parser has met the end of a message.
    ///
    /// - Returns: Whether that is a request which somebody is to respond to.
    @inline(__always)
    mutating func messageEnded() -> Bool {
        isInMessage = false
        guard takesBody else { return false }
        phase = .responding
        return true
    }

    /// How a request is refused.
    enum RefusalAction: Equatable {
        /// Respond as to any other request: ``responseEnded(now:)`` follows.
        case respond
        /// Respond without keeping the connection, and close it when that is written.
        case respondAndClose
        /// It has its response already.
        case ignore
    }

    /// A request is refused by the server itself. The connection is kept only where nothing of the request is left to read.
    mutating func refused(status: Int) -> RefusalAction {
        switch phase {
        // `.idle`: the request, which has no body, has its response already, and the bytes that follow are not its end.
        case .idle, .head, .body, .responding: break
        case .streaming, .sendingFile, .finishing, .closing, .shut, .closed, .upgraded: return .ignore
        }
        let isHarmless = status < 400 || status == 404 || status == 405 || status == 501
        guard hasRequest, isHarmless, !request.hasBody else {
            hasRequest = false
            keepsAlive = false
            phase = .closing
            return .respondAndClose
        }
        phase = .finishing
        return .respond
    }

    /// There is no place for the connection: it is told so, and closed.
    mutating func connectionRefused() {
        keepsAlive = false
        phase = .closing
    }

    // MARK: - Responses

    /// Whether a request still waits for its response, or for more of it.
    @inline(__always)
    func isWaiting(for number: UInt64) -> Bool {
        guard number == self.number else { return false }
        switch phase {
        case .responding, .streaming: return true
        default: return false
        }
    }

    /// Whether a request waits for its response to begin.
    @inline(__always)
    func takesResponse(_ number: UInt64) -> Bool { number == self.number && phase == .responding }

    /// The whole response is there.
    ///
    /// - Returns: Whether to write it, with what ``keepsAlive`` says; ``responseEnded(now:)`` follows.
    @inline(__always)
    mutating func respond(_ number: UInt64) -> Bool {
        guard takesResponse(number) else { return false }
        phase = .finishing
        return true
    }

    /// A response begins whose body follows in pieces.
    ///
    /// - Returns: Whether to write its head, with what ``keepsAlive`` says.
    mutating func beginStream(_ number: UInt64) -> Bool {
        guard takesResponse(number) else { return false }
        // Its end is the end of the connection.
        if request.isHTTP10 { keepsAlive = false }
        phase = .streaming
        return true
    }

    /// How a piece of a stream is written.
    enum PieceAction: Equatable {
        /// It comes too late.
        case drop
        /// Not at all: the request was a HEAD.
        case omit
        case plain
        case chunk
    }

    /// A piece of a stream is there.
    func piece(_ number: UInt64) -> PieceAction {
        guard number == self.number, phase == .streaming else { return .drop }
        return request.isHead ? .omit : request.isHTTP10 ? .plain : .chunk
    }

    /// How a stream ends.
    enum StreamEndAction: Equatable {
        case drop
        /// Write the last chunk where there is to be one; ``responseEnded(now:)`` follows.
        case finish(hasLastChunk: Bool)
        /// Close the channel behind what is written.
        case close
    }

    /// A stream ends.
    ///
    /// - Parameter isComplete: Otherwise the client has to see that something is missing.
    mutating func endStream(_ number: UInt64, isComplete: Bool) -> StreamEndAction {
        guard number == self.number, phase == .streaming else { return .drop }
        guard isComplete else {
            phase = .closed
            return .close
        }
        phase = .finishing
        return .finish(hasLastChunk: !request.isHTTP10 && !request.isHead)
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
    mutating func beginFile(_ number: UInt64, isEmpty: Bool) -> FileAction {
        guard takesResponse(number) else { return .drop }
        guard !request.isHead, !isEmpty else {
            phase = .finishing
            return .headOnly
        }
        phase = .sendingFile
        return .send
    }

    /// The last piece of a file is written.
    mutating func fileSent() {
        if phase == .sendingFile { phase = .finishing }
    }

    /// What follows a response.
    enum NextAction: Equatable {
        /// It was given up meanwhile.
        case none
        /// Write out what is written, and read on with what is held.
        case continueReading
        /// Close when everything is written: ``written(now:isServerStopping:)``.
        case close
    }

    /// A response is written to its end.
    @inline(__always)
    mutating func responseEnded(now: UInt64) -> NextAction {
        guard phase == .finishing else { return .none }
        hasRequest = false
        guard keepsAlive else {
            phase = .closing
            return .close
        }
        enter(.idle, now: now)
        return .continueReading
    }

    /// What room at the client is for.
    enum RoomAction: Equatable {
        case none
        /// Tell the writer of the stream.
        case canWrite
        case sendFile
        /// Look at the requests that had to wait.
        case continueReading
    }

    /// The client takes what it is sent, or does not.
    mutating func writabilityChanged(_ isWritable: Bool) -> RoomAction {
        pace.isBlocked = !isWritable
        guard isWritable else { return .none }
        switch phase {
        case .streaming: return .canWrite
        case .sendingFile: return .sendFile
        case .idle: return isParsing ? .none : .continueReading
        case .head, .body, .responding, .finishing, .closing, .shut, .closed, .upgraded: return .none
        }
    }

    // MARK: - Other protocols

    /// Whether the channel may be given to another protocol in response to a request.
    func mayUpgrade(_ number: UInt64) -> Bool { takesResponse(number) && !isStopping && !isInputClosed }

    /// The channel is another protocol's.
    ///
    /// - Returns: Whether the socket is to be read again.
    mutating func upgraded() -> Bool {
        hasRequest = false
        phase = .upgraded
        return isReadingPaused
    }

    // MARK: - The end

    /// What the end of the client's bytes means.
    enum InputEndAction: Equatable {
        case none
        /// Close when everything is written: ``written(now:isServerStopping:)``.
        case close
        /// Refuse the request that is not complete.
        case refuse
    }

    /// The client sends no more.
    ///
    /// - Parameters:
    ///   - held: How many of its bytes have not been looked at.
    ///   - mayEnd: Whether the parser's message may end where it is.
    mutating func inputClosed(held: Int, mayEnd: () -> Bool) -> InputEndAction {
        isInputClosed = true
        switch phase {
        case .idle, .head, .body: return inputEnded(held: held, mayEnd: mayEnd)
        case .responding, .streaming, .sendingFile, .finishing:
            // What came before is responded to first.
            if held == 0 { keepsAlive = false }
            return .none
        case .closing, .shut, .closed, .upgraded: return .none
        }
    }

    /// Everything that can be looked at has been: whether that was all.
    mutating func inputEnded(held: Int, mayEnd: () -> Bool) -> InputEndAction {
        guard isInputClosed, isReady else { return .none }
        guard phase == .idle || held == 0 && mayEnd() else { return .refuse }
        phase = .closing
        return .close
    }

    /// How the channel is closed.
    enum CloseAction: Equatable {
        case none
        /// This side of it.
        case shutOutput
        case close
    }

    /// Everything is written. The client gets to read it: its own bytes are dropped for a moment meanwhile, as closing at once would
    /// reset the connection (RFC 9112, section 9.6).
    mutating func written(now: UInt64, isServerStopping: Bool) -> CloseAction {
        guard phase == .closing else { return .none }
        guard !isInputClosed, !isServerStopping else {
            phase = .closed
            return .close
        }
        enter(.shut, now: now)
        return .shutOutput
    }

    /// What a tick asks for.
    enum TickAction: Equatable {
        case none
        /// The connection is idle: the memory for responses can go.
        case giveMemoryBack
        /// Close the channel, and count it as idle.
        case closeIdle
        /// Refuse the request: its head did not come in time.
        case refuseHead
        /// Refuse the request: its body did not come in time.
        case refuseBody
        /// Close the channel.
        case close
    }

    /// A tick of the server.
    ///
    /// - Parameter unsent: How many bytes the client has not taken; nil where it takes them.
    mutating func advance(now: UInt64, limits: HTTPTimeLimits, unsent: Int?) -> TickAction {
        guard phase != .closed, phase != .upgraded else { return .none }
        let passed = now &- since
        if let unsent {
            // A client may read slowly, as long as it reads.
            if pace.hasMoved(unsent: unsent, now: now) {
                since = now
                return .none
            }
            return passed > limits.idle ? end(.closeIdle) : .none
        }
        switch phase {
        case .idle: return passed > limits.idle ? end(.closeIdle) : passed > 0 ? .giveMemoryBack : .none
        case .head: return passed > limits.header ? .refuseHead : .none
        case .body: return passed > limits.body ? .refuseBody : .none
        // A client that does not close.
        case .shut: return passed > limits.linger ? end(.close) : .none
        case .responding, .streaming, .sendingFile, .finishing, .closing, .closed, .upgraded: return .none
        }
    }

    private mutating func end(_ action: TickAction) -> TickAction {
        phase = .closed
        return action
    }

    /// How a connection follows the stop of its server.
    enum StopAction: Equatable {
        /// The request under way is responded to first.
        case none
        /// Close when everything is written: ``written(now:isServerStopping:)``.
        case closeWhenWritten
        /// Close the channel.
        case close
    }

    /// The server stops.
    mutating func stop() -> StopAction {
        isStopping = true
        keepsAlive = false
        switch phase {
        case .idle:
            phase = .closing
            return .closeWhenWritten
        case .shut:
            phase = .closed
            return .close
        case .head, .body, .responding, .streaming, .sendingFile, .finishing, .closing, .closed, .upgraded: return .none
        }
    }

    /// The connection holds too much.
    ///
    /// - Returns: Whether to refuse its request; otherwise the channel is closed.
    mutating func shed() -> Bool {
        if phase == .head || phase == .body, !pace.isBlocked { return true }
        phase = .closed
        return false
    }

    /// The channel is closed, or will be: nothing is read or written any more.
    mutating func close() { phase = .closed }

    /// There is no channel any more.
    ///
    /// - Returns: Whether a request waits for its response.
    mutating func lost() -> Bool {
        phase = .closed
        defer { hasRequest = false }
        return hasRequest
    }
}
