// An HTTP/1 connection without a channel: carries out what the machine says as the connection does, with units of requests in the
// place of bytes, and notes what a client would see. What must never happen is noted as `wrong`.

@testable import PaniniHTTP

struct HTTP1Play {
    /// What a client sends: each is so many bytes.
    enum Unit: Equatable {
        /// Some bytes of whatever is under way.
        case part
        /// The end of a head; what has no body is complete with it.
        case head(HTTP1Machine.Request)
        /// The end of a body.
        case end
        case malformed
    }

    enum Event: Equatable {
        case receive(Unit)
        case respond
        /// A response that comes too late: to the request before.
        case respondLate
        case beginStream, write, endStream, breakStream
        case file, emptyFile, pieceOfFile, lastPieceOfFile
        case upgrade
        case block, unblock
        /// Everything is written.
        case written
        case inputClosed
        case tick
        /// So many ticks that every limit is over.
        case longTick
        case stop, shed, close, lost
    }

    /// What a client sees.
    enum Output: Equatable {
        case interim(UInt64)
        case begin(UInt64, keepsAlive: Bool)
        case piece(UInt64)
        case end(UInt64)
        case shut
    }

    static let unitBytes = 10 << 10
    static let limits = HTTPTimeLimits(step: 1, header: 3, body: 5, idle: 8, linger: 2)

    private(set) var machine = HTTP1Machine(now: 1)
    private(set) var now: UInt64 = 1
    private(set) var output: [Output] = []
    private(set) var wrong: String?
    private(set) var idleClosed = 0
    private var held: [Unit] = []
    private(set) var isPaused = false
    private var isServerStopping = false
    /// The requests whose bodies have begun or ended.
    private var hasBodyBytes = false
    /// How many heads were complete.
    private var requests: UInt64 = 0
    private var fileIsSent = false
    /// The channel is closed: nothing that comes changes anything.
    private var isClosed = false

    private mutating func require(_ condition: Bool, _ text: StaticString) {
        if !condition, wrong == nil { wrong = "\(text) (\(machine.phase))" }
    }

    // MARK: - Events

    mutating func play(_ event: Event) {
        let before = machine.phase
        let written = output.count
        switch event {
        case .receive(let unit): if !isClosed { receive(unit) }
        case .respond: respond(machine.number)
        case .respondLate: respond(machine.number &- 1)
        case .beginStream:
            if machine.beginStream(machine.number) { begin(machine.number) }
        case .write:
            switch machine.piece(machine.number) {
            case .drop, .omit: break
            case .plain, .chunk: write(.piece(machine.number))
            }
        case .endStream, .breakStream:
            switch machine.endStream(machine.number, isComplete: event == .endStream) {
            case .drop: break
            case .finish: ended()
            case .close: close()
            }
        case .file, .emptyFile:
            switch machine.beginFile(machine.number, isEmpty: event == .emptyFile) {
            case .drop: break
            case .headOnly:
                begin(machine.number)
                ended()
            case .send:
                begin(machine.number)
                fileIsSent = true
            }
        case .pieceOfFile, .lastPieceOfFile:
            guard fileIsSent, machine.phase == .sendingFile, !machine.isBlocked else { break }
            write(.piece(machine.number))
            guard event == .lastPieceOfFile else { break }
            fileIsSent = false
            machine.fileSent()
            if machine.phase == .finishing { ended() }
        case .upgrade:
            guard machine.mayUpgrade(machine.number) else { break }
            begin(machine.number)
            if machine.upgraded() { isPaused = false }
            held = []
        case .block: perform(machine.writabilityChanged(false))
        case .unblock: perform(machine.writabilityChanged(true))
        case .written:
            switch machine.written(now: now, isServerStopping: isServerStopping) {
            case .none: break
            case .shutOutput: write(.shut)
            case .close: isClosed = true
            }
        case .inputClosed:
            let mayEnd = machine.phase == .head
            if !isClosed { perform(machine.inputClosed(held: heldBytes) { mayEnd }) }
        case .tick: tick(1)
        case .longTick: tick(20)
        case .stop:
            isServerStopping = true
            held = []
            switch machine.stop() {
            case .none: break
            case .closeWhenWritten: held = []
            case .close: close()
            }
        case .shed:
            held = []
            if machine.shed() { refuse(503) } else { close() }
        case .close: close()
        case .lost:
            isClosed = true
            held = []
            let hadRequest = machine.hasRequest
            let isWaited = machine.lost()
            require(isWaited == hadRequest, "the loss of a request is not told")
            let isWaitedAgain = machine.lost()
            require(!isWaitedAgain, "the loss of a request is told twice")
        }
        check(event, before, isWritten: output.count > written)
    }

    private mutating func check(_ event: Event, _ before: HTTP1Machine.Phase, isWritten: Bool) {
        if before == .closed || before == .upgraded {
            require(machine.phase == before || machine.phase == .closed, "it came back from its end")
            require(!isWritten, "something is written behind its end")
        }
        if before == .closing || before == .shut {
            require([.closing, .shut, .closed].contains(machine.phase), "it came back from its end")
            require(!isWritten || event == .written, "a response is written behind the last")
        }
        require(machine.phase != .finishing, "a response that is complete was not ended")
        require(!machine.isParsing, "it is still parsing")
        let isLive = ![.closing, .shut, .closed, .upgraded].contains(machine.phase)
        require(
            !isLive || !isPaused || !held.isEmpty || isServerStopping,
            "the socket is not read, and nothing is held"
        )
        require(held.isEmpty || !isLive || !machine.isReady, "what could be read is held")
        if isServerStopping { require(machine.phase != .idle, "it idles when the server stops") }
    }

    private var heldBytes: Int { held.count * Self.unitBytes }

    // MARK: - Reading

    private mutating func receive(_ unit: Unit) {
        switch machine.received(Self.unitBytes, held: heldBytes, maximumHead: 30 << 10, now: now) {
        case .parse:
            require(held.isEmpty, "what came later is read first")
            parse([unit])
        case .hold: held.append(unit)
        case .holdAndPause:
            require(!isPaused, "paused twice")
            isPaused = true
            held.append(unit)
        case .refuse: refuse(431)
        case .close: close()
        case .ignore: break
        }
    }

    private mutating func parse(_ units: [Unit]) {
        var rest = units[...]
        machine.parsing(true)
        while machine.isReady, let unit = rest.popFirst() {
            if machine.isBetweenRequests { machine.requestBegan(Self.unitBytes, now: now) }
            switch unit {
            case .part: hasBodyBytes = hasBodyBytes || machine.isInMessage
            case .head(let request) where !machine.isInMessage:
                head(request)
                if !request.hasBody { end() }
            case .head: hasBodyBytes = true
            case .end: if machine.isInMessage { end() }
            case .malformed: refuse(400)
            }
        }
        machine.parsing(false)
        if !rest.isEmpty, machine.mayReadLater { held = Array(rest) }
    }

    private mutating func head(_ request: HTTP1Machine.Request) {
        let number = machine.number
        machine.headEnded(request, now: now)
        requests += 1
        hasBodyBytes = false
        require(machine.number == number &+ 1, "a head without a number")
        switch machine.admitted(length: request.hasBody ? 100 : 0, maximumBody: 1000) {
        case .read: break
        case .sendContinue:
            require(request.expectation == .continue && !request.isHTTP10, "100 that nobody expects")
            require(!hasBodyBytes && machine.phase == .body, "100 behind the body")
            require(!output.contains(.interim(machine.number)), "100 twice")
            write(.interim(machine.number))
        case .refuseLength: refuse(413)
        case .refuseExpectation: refuse(417)
        }
        let action = machine.admitted(length: 100, maximumBody: 1000)
        require(action == .read, "it asks for the body again")
    }

    private mutating func end() {
        guard machine.messageEnded() else { return }
        require(machine.isWaiting(for: machine.number), "nobody waits for a complete request")
        let endsAgain = machine.messageEnded()
        require(!endsAgain, "a request is complete twice")
        let action = machine.admitted(length: 100, maximumBody: 1000)
        require(action == .read, "it asks for the body behind its end")
    }

    mutating func continueReading() {
        if !held.isEmpty {
            let units = held
            held = []
            parse(units)
        }
        if machine.resumesReading(held: heldBytes) { isPaused = false }
        let mayEnd = machine.phase == .head
        perform(machine.inputEnded(held: heldBytes) { mayEnd })
    }

    // MARK: - Writing

    private mutating func write(_ item: Output) {
        require(!isClosed, "something is written on a closed channel")
        output.append(item)
    }

    /// The head of a final response.
    private mutating func begin(_ number: UInt64) {
        var last: UInt64 = 0
        var keptAlive = true
        for item in output {
            guard case .begin(let number, let keepsAlive) = item else { continue }
            last = number
            keptAlive = keepsAlive
        }
        require(keptAlive, "a response behind the last")
        require(number > last, "a second response to a request, or one in the wrong order")
        require(number <= requests + 1, "a response without a request")
        write(.begin(number, keepsAlive: machine.keepsAlive))
    }

    private mutating func respond(_ number: UInt64) {
        guard machine.respond(number) else { return }
        require(number == machine.number, "a response to an older request")
        begin(number)
        ended()
    }

    private mutating func ended() {
        write(.end(machine.number))
        switch machine.responseEnded(now: now) {
        case .none: require(false, "a response without an end")
        case .continueReading:
            let next = machine.responseEnded(now: now)
            require(next == .none, "a response with two ends")
            if !machine.isParsing { continueReading() }
        case .close: held = []
        }
    }

    private mutating func refuse(_ status: Int) {
        // A request whose head was not complete has no number yet.
        let number = machine.hasRequest ? machine.number : requests + 1
        switch machine.refused(status: status) {
        case .ignore: break
        case .respond:
            begin(number)
            ended()
        case .respondAndClose:
            begin(number)
            require(!machine.keepsAlive, "the connection is kept behind a refusal")
            held = []
        }
    }

    private mutating func perform(_ action: HTTP1Machine.RoomAction) {
        switch action {
        case .none: break
        case .canWrite: require(machine.piece(machine.number) != .drop, "room for no stream")
        case .sendFile: require(machine.phase == .sendingFile, "room for no file")
        case .continueReading: continueReading()
        }
    }

    private mutating func perform(_ action: HTTP1Machine.InputEndAction) {
        switch action {
        case .none: break
        case .close: held = []
        case .refuse: refuse(400)
        }
    }

    // MARK: - Time and the end

    private mutating func tick(_ count: UInt64) {
        now += count
        let before = machine
        let action = machine.advance(now: now, limits: Self.limits, unsent: machine.isBlocked ? 100 : nil)
        if !before.isBlocked {
            switch (before.phase, action) {
            case (_, .none), (.idle, .giveMemoryBack), (.idle, .closeIdle), (.head, .refuseHead), (.body, .refuseBody),
                (.shut, .close):
                break
            default: require(false, "a time limit of another phase")
            }
        } else {
            require(action == .none || action == .closeIdle, "another time limit of a client that does not read")
        }
        switch action {
        case .none, .giveMemoryBack: break
        case .closeIdle:
            idleClosed += 1
            close()
        case .refuseHead, .refuseBody: refuse(408)
        case .close: close()
        }
    }

    private mutating func close() {
        machine.close()
        held = []
        isClosed = true
    }

    /// The client does nothing any more: whether the connection ends, unless a response is still to be made.
    mutating func endsBySilence() -> Bool {
        for _ in 0..<6 {
            play(.longTick)
            play(.longTick)
            play(.written)
        }
        switch machine.phase {
        case .closed, .upgraded: return true
        case .responding, .streaming, .sendingFile: return !machine.isBlocked
        case .idle, .head, .body, .finishing, .closing, .shut: return false
        }
    }
}
