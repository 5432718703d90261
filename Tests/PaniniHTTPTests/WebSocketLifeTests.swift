// How a connection lives and ends (RFC 6455, section 7): each event in each phase.

import Testing

@testable import PaniniHTTP

@Suite("WebSocket life")
struct WebSocketLifeTests {
    private let times = WebSocketLife.Times(ping: 3, idle: 8, close: 5, linger: 2)

    private func open() -> WebSocketLife { WebSocketLife(times: times, now: 10) }

    @Test("this side closes: the peer's close frame is awaited, then its end of TCP")
    func closes() {
        var life = open()
        #expect(life.isOpen && life.reads && life.end == nil)
        #expect(life.close(WebSocketEnd(1000, "done"), now: 20) == .sendClose(1000, "done", thenShut: false))
        #expect(!life.isOpen && life.reads && life.end == WebSocketEnd(1000, "done"))
        #expect(life.close(WebSocketEnd(4000), now: 21) == .none, "the first reason counts")
        #expect(life.receive(close: 1000, "", now: 22) == .shut)
        #expect(!life.reads && life.end == WebSocketEnd(1000, "done"))
        #expect(life.receive(close: 1000, "", now: 23) == .none)
        #expect(life.advance(now: 24, isDeaf: false) == .none)
        #expect(life.advance(now: 25, isDeaf: false) == .drop)
    }

    @Test("the peer closes: its code goes back, and counts")
    func closed() {
        var life = open()
        #expect(life.receive(close: 4001, "bye", now: 20) == .sendClose(4001, "", thenShut: true))
        #expect(life.end == WebSocketEnd(4001, "bye") && !life.reads)
        #expect(life.close(WebSocketEnd(1000), now: 21) == .none)
        life = open()
        #expect(life.receive(close: nil, "", now: 20) == .sendClose(nil, "", thenShut: true))
        #expect(life.end == WebSocketEnd(1005))
    }

    @Test("a close frame that is not answered, and a peer that keeps TCP open")
    func patience() {
        var life = open()
        _ = life.close(WebSocketEnd(1001), now: 20)
        #expect(life.advance(now: 25, isDeaf: false) == .none)
        #expect(life.advance(now: 26, isDeaf: false) == .drop)
        #expect(life.end == WebSocketEnd(1001))
        #expect(life.advance(now: 27, isDeaf: false) == .none)
    }

    @Test("while the peer takes what was sent before, the close frame is not late")
    func moving() {
        var life = open()
        _ = life.close(WebSocketEnd(1000), now: 20)
        for now: UInt64 in 21...60 { #expect(life.advance(now: now, isDeaf: false, isMoving: true) == .none) }
        #expect(life.advance(now: 65, isDeaf: false) == .none)
        #expect(life.advance(now: 66, isDeaf: false) == .drop)
    }

    @Test("a broken rule ends it; behind our own close frame nothing more is said")
    func fails() {
        var life = open()
        #expect(life.fail(1002, "wrong", now: 20) == .sendClose(1002, "wrong", thenShut: true))
        #expect(life.end == WebSocketEnd(1002, "wrong") && !life.reads)
        #expect(life.fail(1007, "again", now: 20) == .none)
        life = open()
        _ = life.close(WebSocketEnd(1000), now: 20)
        #expect(life.fail(1002, "wrong", now: 21) == .shut)
        #expect(life.end == WebSocketEnd(1000))
    }

    @Test("a lost connection is 1006, unless it was over already")
    func lost() {
        var life = open()
        #expect(life.lose("gone") == .drop)
        #expect(life.end == WebSocketEnd(1006, "gone") && !life.isOpen && !life.reads)
        #expect(life.lose("again") == .none)
        life = open()
        _ = life.receive(close: 1000, "", now: 20)
        #expect(life.lose("gone") == .drop)
        #expect(life.end == WebSocketEnd(1000))
        #expect(life.close(WebSocketEnd(1000), now: 30) == .none)
        #expect(life.receive(close: 1000, "", now: 30) == .none && life.fail(1002, "", now: 30) == .none)
    }

    @Test("silence: pings, then the end; whatever is heard begins it anew")
    func silence() {
        var life = open()
        #expect(life.advance(now: 12, isDeaf: false) == .none)
        #expect(life.advance(now: 13, isDeaf: false) == .ping)
        #expect(life.advance(now: 14, isDeaf: false) == .none)
        life.hear(now: 15)
        #expect(life.advance(now: 17, isDeaf: false) == .none)
        #expect(life.advance(now: 18, isDeaf: false) == .ping)
        #expect(life.advance(now: 21, isDeaf: false) == .ping)
        #expect(life.advance(now: 23, isDeaf: false) == .none)
        #expect(life.advance(now: 24, isDeaf: false) == .sendClose(1011, "no answer to a ping", thenShut: true))
        #expect(life.end?.code == 1006)
    }

    @Test("while this side does not read, silence says nothing")
    func deaf() {
        var life = open()
        for now in 11...100 { #expect(life.advance(now: UInt64(now), isDeaf: true) == .none) }
        #expect(life.advance(now: 108, isDeaf: false) == .ping)
        #expect(life.advance(now: 109, isDeaf: false) == .sendClose(1011, "no answer to a ping", thenShut: true))
    }

    @Test("every end has its time from its own beginning")
    func ends() {
        let ways: [(inout WebSocketLife) -> Void] = [
            { _ = $0.receive(close: 1000, "", now: 40) },
            { _ = $0.fail(1002, "", now: 40) },
            {
                _ = $0.close(WebSocketEnd(1000), now: 38)
                _ = $0.receive(close: 1000, "", now: 40)
            },
            {
                _ = $0.close(WebSocketEnd(1000), now: 38)
                _ = $0.fail(1002, "", now: 40)
            },
            { _ = $0.advance(now: 40, isDeaf: false) },
        ]
        for (number, way) in ways.enumerated() {
            var life = open()
            way(&life)
            #expect(!life.reads && life.advance(now: 42, isDeaf: false) == .none, "\(number)")
            #expect(life.advance(now: 43, isDeaf: false) == .drop, "\(number)")
        }
    }

    @Test("without pings only the end")
    func withoutPings() {
        var life = WebSocketLife(times: WebSocketLife.Times(ping: 0, idle: 8, close: 5, linger: 2), now: 0)
        for now: UInt64 in 1...8 { #expect(life.advance(now: now, isDeaf: false) == .none) }
        #expect(life.advance(now: 9, isDeaf: false) == .sendClose(1011, "no answer to a ping", thenShut: true))
    }

    @Test("the end is told once, and not before somebody looks")
    func told() {
        var life = open()
        life.observe()
        #expect(life.tellsEnd() == false, "it is open")
        life = open()
        _ = life.lose("gone")
        #expect(!life.isObserved && !life.tellsEnd())
        life.observe()
        #expect(life.isObserved && life.tellsEnd() && !life.tellsEnd())
    }

    @Test("the peer's end of TCP: read to the end first, then lost, or over")
    func inputEnds() {
        var life = open()
        #expect(life.inputRead(isDeaf: false) == .none, "it has not ended")
        life.closeInput()
        #expect(life.inputRead(isDeaf: true) == .none, "there may be more")
        #expect(life.inputRead(isDeaf: false) == .drop && life.inputRead(isDeaf: false) == .none)
        #expect(life.end == WebSocketEnd(1006, "the peer closed without a close frame"))
        life = open()
        _ = life.receive(close: 1000, "", now: 20)
        life.closeInput()
        #expect(life.inputRead(isDeaf: false) == .none, "the close frame is not written yet")
        #expect(life.saidAll() == .drop && life.end == WebSocketEnd(1000))
        life = open()
        _ = life.receive(close: 1000, "", now: 20)
        #expect(life.saidAll() == .shutOutput)
        life.closeInput()
        #expect(life.inputRead(isDeaf: false) == .drop && life.end == WebSocketEnd(1000))
    }

    // MARK: - All orders

    private enum Event: CaseIterable {
        case hear, observe, look, close, peerCloses, fails, inputEnds, written, loses, tick, longTick, movingTick
    }

    /// Carries out what the life says, and looks for what must never happen.
    private struct Play {
        var life: WebSocketLife
        var now: UInt64 = 10
        var closeFrames = 0
        var told = 0
        var drops = 0
        var isOutputShut = false
        /// What is written goes out once the client takes it.
        var isShutting = false
        var wrong: String?

        mutating func require(_ condition: Bool, _ text: StaticString) {
            if !condition, wrong == nil { wrong = "\(text)" }
        }

        mutating func perform(_ action: WebSocketLife.Action) {
            switch action {
            case .none: break
            case .sendClose(_, _, let thenShut):
                closeFrames += 1
                require(!isShutting && !isOutputShut && drops == 0, "a close frame behind the end")
                if thenShut { isShutting = true }
            case .shut: isShutting = true
            case .shutOutput:
                require(!isOutputShut, "shut twice")
                isOutputShut = true
            case .ping: require(closeFrames == 0 && life.isOpen, "a ping behind the close frame")
            case .drop: drops += 1
            }
        }

        mutating func play(_ event: Event) {
            let before = life
            switch event {
            case .hear: life.hear(now: now)
            case .observe: life.observe()
            case .look: if life.tellsEnd() { told += 1 }
            case .close: perform(life.close(WebSocketEnd(1000), now: now))
            // What is not read any more brings nothing.
            case .peerCloses: if life.reads { perform(life.receive(close: 1000, "", now: now)) }
            case .fails: if life.reads { perform(life.fail(1002, "", now: now)) }
            case .inputEnds:
                life.closeInput()
                perform(life.inputRead(isDeaf: false))
            case .written:
                guard isShutting, drops == 0, !isOutputShut else { break }
                perform(life.saidAll())
            case .loses: perform(life.lose("lost"))
            case .tick, .longTick, .movingTick:
                now += event == .longTick ? 20 : 1
                perform(life.advance(now: now, isDeaf: false, isMoving: event == .movingTick))
            }
            require(closeFrames <= 1, "two close frames")
            require(drops <= 1, "dropped twice")
            require(told <= 1, "its end is told twice")
            require(told == 0 || life.isObserved, "told to nobody")
            require(before.end == nil || life.end == before.end, "the first reason counts")
            require(life.isOpen == (life.end == nil), "ended without a reason")
            require(before.reads || !life.reads, "it came back from its end")
            require(drops == 0 || !life.reads, "it reads on behind its end")
        }

        /// Nothing is heard any more: whether it ends.
        mutating func endsBySilence() -> Bool {
            for _ in 0..<4 {
                play(.longTick)
                play(.written)
            }
            return drops == 1
        }
    }

    @Test("every order of five events")
    func everyOrder() {
        var open: [(play: Play, way: [Event])] = [(Play(life: self.open()), [])]
        while let (play, way) = open.popLast() {
            for event in Event.allCases {
                var next = play
                next.play(event)
                var silent = next
                let isEnded = silent.endsBySilence()
                if let wrong = next.wrong ?? silent.wrong ?? (isEnded ? nil : "it never ends") {
                    Issue.record("\(wrong): \(way), \(event)")
                    return
                }
                if way.count < 4 { open.append((next, way + [event])) }
            }
        }
    }

    @Test("long orders at random", arguments: 0..<4)
    func random(seed: UInt64) {
        var generator = SplitMix64(state: seed)
        for _ in 0..<300 {
            var play = Play(life: open())
            var events: [Event] = []
            for _ in 0..<60 {
                let event = Event.allCases.randomElement(using: &generator) ?? .tick
                events.append(event)
                play.play(event)
            }
            if let wrong = play.wrong {
                Issue.record("seed \(seed): \(wrong): \(events)")
                return
            }
        }
    }
}
