// The life of a stream of HTTP/2: each phase by itself, then every order of short sequences of events, and long ones at random.

import Testing

@testable import PaniniHTTP

private let limits = HTTPTimeLimits(step: 1, header: 3, body: 5, idle: 8, linger: 2)

/// A machine whose request has come that far.
private func stream(isHead: Bool = false, _ phase: HTTP2StreamMachine.Phase) -> HTTP2StreamMachine {
    var machine = HTTP2StreamMachine(now: 0)
    if phase == .head { return machine }
    _ = machine.fieldsReceived(isLast: phase != .body)
    machine.headEnded(isHead: isHead, now: 0)
    if phase == .body { return machine }
    _ = machine.requestEnded()
    if phase == .queued { return machine }
    _ = machine.begin(now: 0)
    switch phase {
    case .streaming: _ = machine.beginStream()
    case .sendingFile: _ = machine.beginFile(isEmpty: false)
    case .finishing: _ = machine.respond()
    case .ended:
        _ = machine.respond()
        machine.responseEnded(now: 0)
    default: break
    }
    return machine
}

@Suite("HTTP/2 stream machine")
struct HTTP2StreamMachineTests {
    @Test("a request with its trailers, its turn and its response")
    func request() {
        var machine = HTTP2StreamMachine(now: 0)
        #expect(machine.fieldsReceived(isLast: false) == true)
        machine.headEnded(isHead: false, now: 0)
        #expect(machine.dataReceived(10, isLast: false) == .take && !machine.isWaiting)
        #expect(!machine.fieldsReceived(isLast: true) && machine.isInputEnded, "trailers are no head")
        #expect(!machine.respond() && !machine.begin(now: 0), "it is not complete")
        #expect(machine.requestEnded() && machine.phase == .queued && machine.isWaiting)
        #expect(!machine.requestEnded() && !machine.respond(), "it is not its turn")
        #expect(machine.begin(now: 0) && !machine.begin(now: 0))
        #expect(machine.respond() && !machine.respond() && !machine.isWaiting)
        machine.responseEnded(now: 0)
        #expect(machine.phase == .ended && !machine.hasRequest && !machine.lost() && machine.phase == .closed)
    }

    @Test("100-continue: once, and only while the body is to come")
    func expectations() {
        var machine = stream(.body)
        #expect(machine.admitted(length: 11, maximumBody: 10, expectsContinue: true) == .refuseLength)
        #expect(machine.admitted(length: nil, maximumBody: 10, expectsContinue: nil) == .read)
        #expect(machine.admitted(length: nil, maximumBody: 10, expectsContinue: false) == .refuseExpectation)
        #expect(machine.admitted(length: 10, maximumBody: 10, expectsContinue: true) == .sendContinue)
        #expect(machine.admitted(length: 10, maximumBody: 10, expectsContinue: true) == .read)
        machine = stream(.body)
        _ = machine.dataReceived(0, isLast: true)
        #expect(machine.admitted(length: nil, maximumBody: 10, expectsContinue: true) == .read)
        machine = stream(.queued)
        #expect(machine.admitted(length: 11, maximumBody: 10, expectsContinue: true) == .read)
    }

    @Test("a refusal, once, and before the request's turn only")
    func refusals() {
        for phase in [HTTP2StreamMachine.Phase.body, .queued] {
            var machine = stream(phase)
            #expect(machine.refused() && machine.phase == .finishing && !machine.refused())
            machine.responseEnded(now: 0)
            #expect(machine.phase == .ended && !machine.requestEnded() && !machine.begin(now: 0))
        }
        for phase in [HTTP2StreamMachine.Phase.head, .responding, .streaming, .sendingFile, .finishing, .ended] {
            var machine = stream(phase)
            #expect(!machine.refused() && machine.phase == phase)
        }
    }

    @Test("what comes of a request behind its response is let pass, up to a limit")
    func dropped() {
        var machine = stream(.body)
        _ = machine.refused()
        machine.responseEnded(now: 0)
        #expect(machine.dataReceived(64 << 10, isLast: false) == .drop)
        #expect(machine.dataReceived(1, isLast: false) == .reset)
        var waiting = stream(.streaming)
        #expect(waiting.dataReceived(1 << 20, isLast: false) == .drop)
    }

    @Test("streams and files: their ends, and what a HEAD leaves out")
    func bodies() {
        var machine = stream(.streaming)
        #expect(machine.piece == .write && machine.isWaiting && machine.writabilityChanged(true, now: 0) == .canWrite)
        #expect(machine.endStream(isComplete: true) == .finish && machine.piece == .drop)
        #expect(machine.endStream(isComplete: true) == .drop)
        machine = stream(isHead: true, .streaming)
        #expect(machine.piece == .omit)
        machine = stream(.streaming)
        #expect(machine.endStream(isComplete: false) == .reset && machine.phase == .ended && !machine.hasRequest)
        machine = stream(.sendingFile)
        #expect(!machine.isWaiting && machine.writabilityChanged(false, now: 0) == .none)
        #expect(machine.writabilityChanged(true, now: 0) == .sendFile)
        #expect(machine.fileSent() && !machine.fileSent() && machine.phase == .finishing)
        for (isHead, isEmpty) in [(true, false), (false, true)] {
            machine = stream(isHead: isHead, .responding)
            #expect(machine.beginFile(isEmpty: isEmpty) == .headOnly && machine.beginFile(isEmpty: isEmpty) == .drop)
        }
        machine = stream(.sendingFile)
        machine.cutShort()
        #expect(!machine.fileSent() && machine.phase == .ended && !machine.lost())
    }

    @Test("time limits: a body, a place in line, a client that does not take, one that does not end its request")
    func times() {
        func action(
            _ machine: HTTP2StreamMachine,
            after ticks: UInt64,
            movedAt: UInt64 = 0,
            isUnsent: Bool = false
        ) -> HTTP2StreamMachine.TickAction {
            machine.advance(now: ticks, limits: limits, movedAt: movedAt, isUnsent: isUnsent)
        }
        #expect(action(stream(.body), after: 5) == .none && action(stream(.body), after: 6) == .refuseBody)
        #expect(action(stream(.queued), after: 8) == .none && action(stream(.queued), after: 9) == .closeIdle)
        #expect(action(stream(.queued), after: 9, movedAt: 1) == .none, "the client takes other responses")
        #expect(action(stream(.streaming), after: 100) == .none)
        #expect(action(stream(.streaming), after: 100, isUnsent: true) == .closeIdle)
        #expect(action(stream(.streaming), after: 100, movedAt: 92, isUnsent: true) == .none)
        #expect(action(stream(.ended), after: 100) == .none, "the request has ended, too")
        var machine = stream(.body)
        _ = machine.refused()
        machine.responseEnded(now: 0)
        #expect(action(machine, after: 2) == .none && action(machine, after: 3) == .reset)
        _ = machine.lost()
        #expect(action(machine, after: 100, isUnsent: true) == .none)
        // Each phase has its time from its own beginning, and a client that makes room has it anew.
        machine = HTTP2StreamMachine(now: 0)
        _ = machine.fieldsReceived(isLast: false)
        machine.headEnded(isHead: false, now: 10)
        machine.headEnded(isHead: true, now: 99)
        #expect(!machine.isHead && action(machine, after: 15) == .none && action(machine, after: 16) == .refuseBody)
        _ = machine.refused()
        machine.responseEnded(now: 20)
        machine.responseEnded(now: 99)
        #expect(action(machine, after: 22) == .none && action(machine, after: 23) == .reset)
        machine = stream(.queued)
        _ = machine.begin(now: 10)
        _ = machine.beginStream()
        #expect(action(machine, after: 18, isUnsent: true) == .none)
        #expect(action(machine, after: 19, isUnsent: true) == .closeIdle)
        _ = machine.writabilityChanged(false, now: 30)
        #expect(action(machine, after: 38, isUnsent: true) == .none)
        #expect(action(machine, after: 39, isUnsent: true) == .closeIdle)
    }

    @Test("the client sends no more: what can come to an end goes on")
    func inputEnd() {
        func action(_ phase: HTTP2StreamMachine.Phase, isWritable: Bool) -> HTTP2StreamMachine.InputEndAction {
            stream(phase).inputClosed(isWritable: isWritable)
        }
        for isWritable in [false, true] {
            #expect(action(.head, isWritable: isWritable) == .close && action(.body, isWritable: isWritable) == .refuse)
            #expect(action(.queued, isWritable: isWritable) == .none)
            #expect(action(.responding, isWritable: isWritable) == .none)
            #expect(action(.ended, isWritable: isWritable) == .close)
            for phase in [HTTP2StreamMachine.Phase.streaming, .sendingFile] {
                #expect(action(phase, isWritable: isWritable) == (isWritable ? .none : .close))
            }
        }
    }

    @Test("a head that is too large is the end of any response")
    func largeHead() {
        for phase in [HTTP2StreamMachine.Phase.streaming, .sendingFile, .finishing] {
            var machine = stream(phase)
            machine.headRefused()
            #expect(machine.phase == .finishing && !machine.isWaiting && machine.piece == .drop)
            machine.responseEnded(now: 0)
            machine.headRefused()
            #expect(machine.phase == .ended)
        }
    }

    // MARK: - All orders

    private enum Event: CaseIterable {
        case fields, lastFields, data, lastData, turn, refuse, respond, beginStream, write, endStream, breakStream
        case file, emptyFile, fileSent, fileShort, largeHead, full, room, tick, inputEnd, longTick, lost
    }

    /// Carries out what the machine says, and looks for what must never happen.
    private struct Play {
        var machine = HTTP2StreamMachine(now: 0)
        var now: UInt64 = 0
        var responses = 0
        var isComplete = false
        var isReset = false
        var wrong: String?

        mutating func require(_ condition: Bool, _ text: StaticString) {
            if !condition, wrong == nil { wrong = "\(text) (\(machine.phase))" }
        }

        mutating func began() {
            responses += 1
            require(responses == 1, "a second response")
            require(!isReset, "a response behind a reset")
        }

        mutating func ended() {
            require(machine.phase == .finishing && machine.hasRequest, "an end in the middle")
            machine.responseEnded(now: now)
            require(!isComplete, "two ends")
            isComplete = true
        }

        mutating func reset(isError: Bool) {
            require(!isError || !isComplete, "a whole response is broken off")
            isReset = true
        }

        mutating func play(_ event: Event) {
            let before = machine
            switch event {
            // Frames that HTTP/2 does not allow come to no stream.
            case _ where machine.isInputEnded && [.fields, .lastFields, .data, .lastData].contains(event): return
            case _ where machine.phase == .head && [.data, .lastData].contains(event): return
            case .fields, .lastFields:
                if machine.fieldsReceived(isLast: event == .lastFields) {
                    machine.headEnded(isHead: false, now: now)
                    if machine.admitted(length: nil, maximumBody: 1, expectsContinue: true) == .sendContinue {
                        require(event == .fields && responses == 0, "100 behind the body")
                    }
                }
                if event == .lastFields { _ = machine.requestEnded() }
            case .data, .lastData:
                switch machine.dataReceived(40 << 10, isLast: event == .lastData) {
                case .take: require(before.phase == .body && !before.isInputEnded, "a body behind its end")
                case .drop: break
                case .reset: reset(isError: false)
                }
                if event == .lastData { _ = machine.requestEnded() }
            case .turn:
                if machine.begin(now: now) { require(before.isInputEnded, "begun before it is complete") }
            case .refuse:
                guard machine.refused() else { break }
                began()
                ended()
            case .respond:
                guard machine.respond() else { break }
                began()
                ended()
            case .beginStream: if machine.beginStream() { began() }
            case .write: if machine.piece == .write { require(responses == 1 && !isComplete, "a piece of nothing") }
            case .endStream, .breakStream:
                switch machine.endStream(isComplete: event == .endStream) {
                case .drop: break
                case .finish: ended()
                case .reset: reset(isError: true)
                }
            case .file, .emptyFile:
                switch machine.beginFile(isEmpty: event == .emptyFile) {
                case .drop: break
                case .headOnly:
                    began()
                    ended()
                case .send: began()
                }
            case .fileSent: if machine.fileSent() { ended() }
            case .fileShort:
                guard machine.phase == .sendingFile else { break }
                machine.cutShort()
                reset(isError: true)
            case .largeHead:
                guard machine.beginStream() else { break }
                machine.headRefused()
                began()
                ended()
            case .inputEnd:
                switch machine.inputClosed(isWritable: false) {
                case .none:
                    require(![.head, .body, .ended].contains(machine.phase), "nothing can come of it, and it stays")
                case .refuse:
                    require(machine.phase == .body, "a request that lacks nothing is refused")
                    play(.refuse)
                case .close:
                    require(
                        ![.queued, .responding].contains(machine.phase),
                        "a response that may have room is given up"
                    )
                    _ = machine.lost()
                }
            case .full:
                let action = machine.writabilityChanged(false, now: now)
                require(action == .none, "room where there is none")
            case .room: _ = machine.writabilityChanged(true, now: now)
            case .tick: tick(1)
            case .longTick: tick(20)
            case .lost:
                let isWaited = machine.lost()
                let isWaitedAgain = machine.lost()
                require(isWaited == before.hasRequest && !isWaitedAgain, "a loss that is not told once")
            }
            if before.phase == .closed { require(machine.phase == .closed, "it came back from its end") }
            if before.phase == .ended {
                require(
                    machine.phase == .ended || machine.phase == .closed,
                    "it came back from the end of its response"
                )
            }
            require(machine.phase != .finishing, "not ended")
            require(machine.hasRequest || !machine.isWaiting, "nothing waits")
        }

        private mutating func tick(_ count: UInt64) {
            now += count
            switch machine.advance(now: now, limits: limits, movedAt: 0, isUnsent: false) {
            case .none: break
            case .closeIdle:
                require(machine.phase == .queued, "idle")
                _ = machine.lost()
            case .refuseBody:
                require(machine.phase == .body, "late")
                play(.refuse)
            case .reset:
                require(machine.phase == .ended && !machine.isInputEnded, "reset")
                reset(isError: false)
            }
        }
    }

    @Test("every order of four events in every phase")
    func everyOrder() {
        let beginnings: [[Event]] = [[], [.fields], [.lastFields], [.lastFields, .turn], [.lastFields, .turn, .file]]
        for beginning in beginnings {
            var start = Play()
            for event in beginning { start.play(event) }
            var open: [(play: Play, way: [Event])] = [(start, beginning)]
            while let (play, way) = open.popLast() {
                for event in Event.allCases {
                    var next = play
                    next.play(event)
                    if let wrong = next.wrong {
                        Issue.record("\(wrong): \(way), \(event)")
                        return
                    }
                    if way.count < beginning.count + 3 { open.append((next, way + [event])) }
                }
            }
        }
    }

    @Test("long orders at random", arguments: 0..<4)
    func random(seed: UInt64) {
        var generator = SplitMix64(state: seed)
        var complete = 0
        for _ in 0..<500 {
            var play = Play()
            var events: [Event] = []
            while events.count < 60, play.machine.phase != .closed {
                let event =
                    Event.allCases.dropLast(Int.random(in: 0..<20, using: &generator) == 0 ? 0 : 3)
                    .randomElement(using: &generator) ?? .tick
                events.append(event)
                play.play(event)
            }
            if let wrong = play.wrong {
                Issue.record("seed \(seed): \(wrong): \(events)")
                return
            }
            if play.isComplete { complete += 1 }
        }
        #expect(complete > 100)
    }
}
