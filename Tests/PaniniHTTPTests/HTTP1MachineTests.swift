// The life of an HTTP/1 connection: each phase by itself, then every order of short sequences of events from every phase, and
// long ones at random.

import Testing

@testable import PaniniHTTP

private let get = HTTP1Machine.Request(keepsAlive: true)
private let post = HTTP1Machine.Request(hasBody: true, keepsAlive: true)
private let head = HTTP1Machine.Request(isHead: true, keepsAlive: true)
private let old = HTTP1Machine.Request(isHTTP10: true, keepsAlive: true)
private let last = HTTP1Machine.Request(keepsAlive: false)
private let offer = HTTP1Machine.Request(offersUpgrade: true, keepsAlive: true)
private let expecting = HTTP1Machine.Request(hasBody: true, keepsAlive: true, expectation: .continue)

private func play(_ events: HTTP1Play.Event...) -> HTTP1Play {
    var play = HTTP1Play()
    for event in events { play.play(event) }
    return play
}

@Suite("HTTP/1 machine")
struct HTTP1MachineTests {
    @Test("requests one after another, and what comes too late")
    func requests() {
        var one = play(
            .receive(.head(get)),
            .respond,
            .respond,
            .receive(.part),
            .receive(.head(post)),
            .receive(.part)
        )
        #expect(one.machine.phase == .body && one.machine.number == 2)
        one.play(.respond)
        #expect(one.output == [.begin(1, keepsAlive: true), .end(1)], "the request is not complete")
        one.play(.receive(.end))
        #expect(one.machine.phase == .responding)
        one.play(.respondLate)
        #expect(one.machine.isWaiting(for: 2) && !one.machine.isWaiting(for: 1))
        one.play(.respond)
        #expect(one.output.suffix(2) == [.begin(2, keepsAlive: true), .end(2)] && one.machine.phase == .idle)
        #expect(one.wrong == nil)
    }

    @Test("what is pipelined waits, is read in its order, and beyond 64 kB the socket is not read")
    func pipelined() {
        var one = play(.receive(.head(get)))
        for _ in 0..<7 { one.play(.receive(.head(get))) }
        #expect(one.machine.number == 1)
        for _ in 0..<8 { one.play(.respond) }
        #expect(one.machine.number == 8 && one.machine.phase == .idle && one.wrong == nil)
        #expect(one.output.filter { if case .begin = $0 { true } else { false } }.count == 8)
        var machine = HTTP1Machine(now: 0)
        #expect(machine.received(10, held: 0, maximumHead: 100, now: 0) == .parse)
        machine.headEnded(get, now: 0)
        #expect(machine.messageEnded() == true)
        #expect(machine.received(65535, held: 1, maximumHead: 100, now: 0) == .hold)
        #expect(machine.received(1, held: 65536, maximumHead: 100, now: 0) == .holdAndPause)
        #expect(machine.received(1, held: 65537, maximumHead: 100, now: 0) == .hold)
        #expect(machine.resumesReading(held: 1) == false)
        #expect(machine.resumesReading(held: 0) == true)
        #expect(machine.resumesReading(held: 0) == false)
        // The time and the size of a request that waited count from the moment at which it is looked at.
        #expect(machine.respond(1) && machine.responseEnded(now: 50) == .continueReading)
        machine.requestBegan(1000, now: 60)
        machine.requestBegan(1, now: 61)
        #expect(machine.advance(now: 63, limits: HTTP1Play.limits, unsent: nil) == .none)
        #expect(machine.received(256 << 10, held: 0, maximumHead: 1000, now: 63) == .parse)
        #expect(machine.advance(now: 64, limits: HTTP1Play.limits, unsent: nil) == .refuseHead)
        #expect(machine.received(1, held: 0, maximumHead: 1000, now: 64) == .refuse)
    }

    @Test("a client that does not read gets no further request begun")
    func blocked() {
        var one = play(.receive(.head(get)), .block, .respond, .receive(.head(get)))
        #expect(one.machine.number == 1 && one.machine.phase == .idle && one.machine.isBlocked)
        one.play(.unblock)
        #expect(one.machine.number == 2 && one.machine.phase == .responding)
        #expect(one.wrong == nil)
        var machine = play(.receive(.head(get)), .beginStream).machine
        #expect(machine.writabilityChanged(false) == .none && machine.isBlocked)
        #expect(machine.writabilityChanged(true) == .canWrite && !machine.isBlocked)
    }

    @Test("a connection for which there is no place: what comes is dropped, and it is closed")
    func noPlace() {
        for isServerStopping in [false, true] {
            var machine = HTTP1Machine(now: 0)
            machine.connectionRefused()
            #expect(machine.phase == .closing && !machine.keepsAlive && !machine.isReady)
            #expect(machine.received(10, held: 0, maximumHead: 1000, now: 0) == .ignore)
            #expect(
                machine.written(now: 0, isServerStopping: isServerStopping) == (isServerStopping ? .close : .shutOutput)
            )
            #expect(machine.lost() == false)
        }
    }

    @Test("100-continue goes out once, where it is expected and wanted")
    func expectations() {
        #expect(play(.receive(.head(expecting))).output == [.interim(1)])
        #expect(play(.receive(.head(post))).output.isEmpty)
        var request = expecting
        request.isHTTP10 = true
        #expect(play(.receive(.head(request))).output.isEmpty, "HTTP/1.0 knows no 100")
        request = expecting
        request.hasBody = false
        #expect(play(.receive(.head(request))).output.isEmpty, "there is no body")
        request = post
        request.expectation = .other
        #expect(play(.receive(.head(request))).output == [.begin(1, keepsAlive: false)], "417")
        var machine = HTTP1Machine(now: 0)
        machine.headEnded(expecting, now: 0)
        #expect(machine.admitted(length: 11, maximumBody: 10) == .refuseLength)
        machine = HTTP1Machine(now: 0)
        machine.headEnded(expecting, now: 0)
        #expect(machine.admitted(length: nil, maximumBody: 10) == .sendContinue)
    }

    @Test("a refusal keeps the connection only where nothing of the request is left")
    func refusals() {
        for (request, status, keeps) in [(get, 404, true), (get, 200, true), (get, 403, false), (post, 404, false)] {
            var machine = HTTP1Machine(now: 0)
            machine.requestBegan(1, now: 0)
            machine.headEnded(request, now: 0)
            #expect(machine.refused(status: status) == (keeps ? .respond : .respondAndClose), "\(status)")
            #expect(machine.refused(status: status) == .ignore, "it has its response")
            #expect(machine.responseEnded(now: 0) == (keeps ? .continueReading : .none))
            #expect(machine.keepsAlive == keeps)
        }
        // The body is too large, and what follows it in the same read is none.
        var machine = HTTP1Machine(now: 0)
        machine.headEnded(post, now: 0)
        #expect(machine.refused(status: 413) == .respondAndClose)
        #expect(machine.refused(status: 400) == .ignore)
        #expect(!machine.isReady && !machine.takesBody && !machine.lost())
        // Nothing is known of a request whose head was not read.
        machine = HTTP1Machine(now: 0)
        machine.requestBegan(1, now: 0)
        #expect(machine.refused(status: 404) == .respondAndClose && !machine.keepsAlive)
        // Refused at its head, its end is still to come, and is nobody's.
        machine = HTTP1Machine(now: 0)
        machine.requestBegan(1, now: 0)
        machine.headEnded(get, now: 0)
        #expect(machine.refused(status: 404) == .respond && machine.responseEnded(now: 0) == .continueReading)
        #expect(machine.isReady && !machine.isBetweenRequests && !machine.messageEnded() && machine.isBetweenRequests)
    }

    @Test("a head that is larger than one read may be")
    func largeHeads() {
        var machine = HTTP1Machine(now: 0)
        #expect(machine.received(100, held: 0, maximumHead: 1000, now: 0) == .parse)
        #expect(machine.received(900 + (256 << 10), held: 0, maximumHead: 1000, now: 0) == .parse)
        #expect(machine.received(1, held: 0, maximumHead: 1000, now: 0) == .refuse)
    }

    @Test("streams: chunks, none for HTTP/1.0 and HEAD, and an end that the client can tell from a loss")
    func streams() {
        var machine = HTTP1Machine(now: 0)
        func begin(_ request: HTTP1Machine.Request) {
            machine = HTTP1Machine(now: 0)
            machine.headEnded(request, now: 0)
            _ = machine.messageEnded()
        }
        begin(get)
        #expect(machine.beginStream(1) && machine.keepsAlive && machine.piece(1) == .chunk)
        #expect(!machine.beginStream(1) && !machine.respond(1) && machine.piece(0) == .drop)
        #expect(machine.endStream(0, isComplete: true) == .drop)
        #expect(machine.endStream(1, isComplete: true) == .finish(hasLastChunk: true))
        #expect(machine.endStream(1, isComplete: true) == .drop && machine.piece(1) == .drop)
        #expect(machine.responseEnded(now: 0) == .continueReading)
        begin(old)
        #expect(machine.beginStream(1) && !machine.keepsAlive && machine.piece(1) == .plain)
        #expect(machine.endStream(1, isComplete: true) == .finish(hasLastChunk: false))
        #expect(machine.responseEnded(now: 0) == .close)
        begin(head)
        #expect(machine.beginStream(1) && machine.piece(1) == .omit)
        #expect(machine.endStream(1, isComplete: true) == .finish(hasLastChunk: false))
        begin(get)
        #expect(machine.beginStream(1) && machine.endStream(1, isComplete: false) == .close)
        #expect(machine.phase == .closed && machine.lost() && !machine.lost())
    }

    @Test("files: only a head where there is no body")
    func files() {
        for (request, isEmpty, action) in [
            (get, false, HTTP1Machine.FileAction.send), (get, true, .headOnly), (head, false, .headOnly),
        ] {
            var machine = HTTP1Machine(now: 0)
            machine.headEnded(request, now: 0)
            #expect(machine.beginFile(1, isEmpty: isEmpty) == .drop, "the request is not complete")
            _ = machine.messageEnded()
            #expect(machine.beginFile(1, isEmpty: isEmpty) == action)
            #expect(machine.beginFile(1, isEmpty: isEmpty) == .drop && !machine.isWaiting(for: 1))
            if action == .send {
                #expect(machine.writabilityChanged(true) == .sendFile && machine.responseEnded(now: 0) == .none)
                machine.fileSent()
            }
            #expect(machine.responseEnded(now: 0) == .continueReading)
        }
    }

    @Test(
        "an offer to speak something else: what follows is kept, up to a limit, and the connection goes with the response"
    )
    func offers() {
        var one = play(.receive(.head(offer)))
        for _ in 0..<11 { one.play(.receive(.part)) }
        #expect(one.machine.phase == .responding && one.wrong == nil)
        var other = one
        one.play(.upgrade)
        #expect(one.machine.phase == .upgraded && one.output == [.begin(1, keepsAlive: false)])
        one.play(.respond)
        one.play(.inputClosed)
        #expect(one.machine.phase == .upgraded && one.wrong == nil)
        #expect(other.isPaused == false, "the socket is read on: it is not HTTP/1 that follows")
        other.play(.receive(.part))
        #expect(other.machine.phase == .closed, "too much behind an offer")
        #expect(play(.receive(.head(offer)), .respond).machine.phase == .closing)
        for end in [HTTP1Play.Event.stop, .inputClosed, .close] {
            #expect(play(.receive(.head(offer)), end, .upgrade).machine.phase != .upgraded, "\(end)")
        }
    }

    @Test("the client's end: between requests, in the middle of one, and while it waits")
    func inputEnds() {
        #expect(play(.inputClosed).machine.phase == .closing)
        #expect(play(.inputClosed, .written).machine.phase == .closed, "there is nobody to wait for")
        #expect(play(.receive(.part), .inputClosed).output.isEmpty, "blank lines are no request")
        #expect(play(.receive(.head(post)), .inputClosed).output == [.begin(1, keepsAlive: false)])
        let waiting = play(.receive(.head(get)), .inputClosed)
        #expect(waiting.machine.phase == .responding && !waiting.machine.keepsAlive)
        var pipelined = play(.receive(.head(get)), .receive(.head(get)), .inputClosed)
        #expect(pipelined.machine.keepsAlive, "another request is to be responded to")
        pipelined.play(.respond)
        #expect(pipelined.machine.number == 2 && pipelined.machine.phase == .responding)
        pipelined.play(.respond)
        #expect(pipelined.machine.phase == .closing && pipelined.wrong == nil)
        var blocked = play(.receive(.head(get)), .block, .respond, .receive(.head(get)), .inputClosed)
        #expect(blocked.machine.phase == .idle, "what came before is responded to first")
        blocked.play(.unblock)
        #expect(blocked.machine.phase == .responding)
    }

    @Test("time limits: each phase has its own, or none")
    func times() {
        func phase(after ticks: Int, _ events: HTTP1Play.Event...) -> HTTP1Machine.Phase {
            var play = HTTP1Play()
            for event in events { play.play(event) }
            for _ in 0..<ticks { play.play(.tick) }
            #expect(play.wrong == nil)
            return play.machine.phase
        }
        #expect(phase(after: 8) == .idle && phase(after: 9) == .closed)
        #expect(phase(after: 3, .receive(.part)) == .head && phase(after: 4, .receive(.part)) == .closing)
        #expect(phase(after: 2, .receive(.part), .tick, .tick, .receive(.part)) == .closing, "a byte now and then")
        #expect(phase(after: 5, .receive(.head(post))) == .body && phase(after: 6, .receive(.head(post))) == .closing)
        #expect(phase(after: 100, .receive(.head(get))) == .responding)
        #expect(phase(after: 100, .receive(.head(get)), .beginStream) == .streaming)
        #expect(phase(after: 100, .receive(.head(get)), .file) == .sendingFile)
        #expect(phase(after: 2, .receive(.head(last)), .respond, .written) == .shut)
        #expect(phase(after: 3, .receive(.head(last)), .respond, .written) == .closed)
        var machine = HTTP1Machine(now: 0)
        #expect(machine.advance(now: 1, limits: HTTP1Play.limits, unsent: nil) == .giveMemoryBack)
        #expect(machine.advance(now: 9, limits: HTTP1Play.limits, unsent: nil) == .closeIdle)
        #expect(machine.advance(now: 99, limits: HTTP1Play.limits, unsent: nil) == .none, "it is closed")
        for now: UInt64 in [199, 299] {
            #expect(machine.advance(now: now, limits: HTTP1Play.limits, unsent: 1) == .none, "it is closed")
        }
        // Each phase has its time from its own beginning.
        machine = HTTP1Machine(now: 0)
        _ = machine.received(1, held: 0, maximumHead: 1000, now: 7)
        #expect(machine.advance(now: 10, limits: HTTP1Play.limits, unsent: nil) == .none)
        machine.headEnded(post, now: 10)
        #expect(machine.advance(now: 15, limits: HTTP1Play.limits, unsent: nil) == .none)
        _ = machine.messageEnded()
        _ = machine.respond(1)
        _ = machine.responseEnded(now: 30)
        #expect(machine.advance(now: 38, limits: HTTP1Play.limits, unsent: nil) == .giveMemoryBack)
        #expect(machine.advance(now: 39, limits: HTTP1Play.limits, unsent: nil) == .closeIdle)
        machine = play(.receive(.head(offer)), .upgrade).machine
        for now: UInt64 in [99, 199] {
            #expect(machine.advance(now: now, limits: HTTP1Play.limits, unsent: 1) == .none, "it is another's channel")
        }
        #expect(machine.lost() == false, "its request has its response")
        machine = HTTP1Machine(now: 0)
        machine.connectionRefused()
        _ = machine.written(now: 40, isServerStopping: false)
        #expect(machine.advance(now: 42, limits: HTTP1Play.limits, unsent: nil) == .none)
        #expect(machine.advance(now: 43, limits: HTTP1Play.limits, unsent: nil) == .close)
    }

    @Test("a client that reads slowly has time as long as it reads")
    func slow() {
        var machine = HTTP1Machine(now: 0)
        machine.headEnded(get, now: 0)
        _ = machine.messageEnded()
        _ = machine.beginStream(1)
        _ = machine.writabilityChanged(false)
        for tick: UInt64 in 1...50 {
            #expect(machine.advance(now: tick, limits: HTTP1Play.limits, unsent: 1000 - Int(tick)) == .none)
        }
        #expect(machine.advance(now: 58, limits: HTTP1Play.limits, unsent: 950) == .none)
        #expect(machine.advance(now: 59, limits: HTTP1Play.limits, unsent: 950) == .closeIdle)
    }

    @Test("the server stops: the request under way is responded to, and none is begun")
    func stops() {
        #expect(play(.stop).machine.phase == .closing)
        #expect(play(.stop, .written).machine.phase == .closed)
        #expect(play(.receive(.head(last)), .respond, .written, .stop).machine.phase == .closed)
        var one = play(.receive(.head(get)), .receive(.head(get)), .stop, .respond)
        #expect(one.machine.number == 1 && one.machine.phase == .closing)
        #expect(one.output == [.begin(1, keepsAlive: false), .end(1)])
        one = play(.receive(.head(post)), .stop, .receive(.end), .respond)
        #expect(one.machine.phase == .closing && one.output == [.begin(1, keepsAlive: false), .end(1)])
        one = play(.receive(.part), .stop, .receive(.head(get)), .respond)
        #expect(one.output == [.begin(1, keepsAlive: false), .end(1)] && one.wrong == nil)
    }

    @Test("what holds too much is refused where somebody reads that, and closed otherwise")
    func sheds() {
        #expect(play(.receive(.part), .shed).output == [.begin(1, keepsAlive: false)])
        #expect(play(.receive(.head(post)), .shed).output == [.begin(1, keepsAlive: false)])
        #expect(play(.receive(.head(post)), .block, .shed).machine.phase == .closed)
        #expect(play(.receive(.head(get)), .shed).machine.phase == .closed)
        #expect(play(.shed).machine.phase == .closed)
    }

    @Test("a response that the end of the connection overtakes")
    func overtaken() {
        var machine = HTTP1Machine(now: 0)
        machine.headEnded(get, now: 0)
        _ = machine.messageEnded()
        #expect(machine.beginFile(1, isEmpty: false) == .send)
        #expect(machine.lost() == true)
        machine.fileSent()
        #expect(machine.phase == .closed && machine.responseEnded(now: 0) == .none && !machine.hasRequest)
        // Whoever admits a request may end its connection.
        machine = HTTP1Machine(now: 0)
        machine.headEnded(expecting, now: 0)
        machine.close()
        #expect(machine.admitted(length: nil, maximumBody: 10) == .read)
    }

    @Test("an end that is asked for is one: nothing is read or written behind it")
    func ends() {
        var machine = play(.receive(.head(offer))).machine
        #expect(machine.received(200 << 10, held: 0, maximumHead: 1000, now: 0) == .close && machine.phase == .closed)
        machine = play(.receive(.head(last)), .respond, .written).machine
        #expect(machine.phase == .shut && machine.stop() == .close && machine.phase == .closed)
        machine = play(.receive(.head(get))).machine
        #expect(machine.shed() == false && machine.phase == .closed)
    }

    // MARK: - All orders

    static let events: [HTTP1Play.Event] = [
        .receive(.part), .receive(.head(get)), .receive(.head(expecting)), .receive(.head(old)), .receive(.head(last)),
        .receive(.head(offer)), .receive(.end), .receive(.malformed), .respond, .respondLate, .beginStream, .write,
        .endStream, .breakStream,
        .file, .emptyFile, .pieceOfFile, .lastPieceOfFile, .upgrade, .block, .unblock, .written, .tick, .inputClosed,
        .longTick, .stop, .shed, .close, .lost,
    ]

    /// Ways into each phase.
    static let beginnings: [[HTTP1Play.Event]] = [
        [], [.receive(.part)], [.receive(.head(post)), .receive(.part)], [.receive(.head(get))],
        [.receive(.head(get)), .receive(.head(get)), .receive(.head(post))], [.receive(.head(get)), .beginStream],
        [.receive(.head(old)), .beginStream], [.receive(.head(head)), .beginStream], [.receive(.head(get)), .file],
        [.receive(.head(offer))], [.receive(.head(last)), .respond], [.receive(.head(last)), .respond, .written],
        [.receive(.head(get)), .block, .respond, .receive(.head(get))], [.receive(.head(get)), .inputClosed],
        [.receive(.head(get)), .stop],
    ]

    @Test("every order of three events in every phase", arguments: beginnings)
    func everyOrder(beginning: [HTTP1Play.Event]) {
        var start = HTTP1Play()
        for event in beginning { start.play(event) }
        for first in Self.events {
            var one = start
            one.play(first)
            for second in Self.events {
                var two = one
                two.play(second)
                var silent = two
                guard silent.endsBySilence(), silent.wrong == nil else {
                    let problem = silent.wrong ?? "left as \(silent.machine.phase)"
                    Issue.record("\(problem): \(beginning), then \(first), \(second), silence")
                    return
                }
                for third in Self.events {
                    var three = two
                    three.play(third)
                    if let wrong = three.wrong {
                        Issue.record("\(wrong): \(beginning), then \(first), \(second), \(third)")
                        return
                    }
                }
            }
        }
    }

    @Test("long orders at random", arguments: 0..<8)
    func random(seed: UInt64) {
        var generator = SplitMix64(state: seed)
        var reached: Set<String> = []
        for _ in 0..<250 {
            var play = HTTP1Play()
            var events: [HTTP1Play.Event] = []
            while events.count < 80, play.machine.phase != .closed {
                // What ends a connection comes seldom: most of its life is before.
                let all = Self.events.dropLast(Int.random(in: 0..<40, using: &generator) == 0 ? 0 : 6)
                let event = all.randomElement(using: &generator) ?? .tick
                events.append(event)
                play.play(event)
                reached.insert("\(play.machine.phase)")
            }
            let isEnded = play.endsBySilence()
            if let wrong = play.wrong ?? (isEnded ? nil : "left as \(play.machine.phase)") {
                Issue.record("seed \(seed): \(wrong): \(events)")
                return
            }
        }
        #expect(reached.count >= 10, "\(reached)")
    }
}

/// SplitMix64: the same numbers from the same seed.
struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
