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

    @Test("without pings only the end")
    func withoutPings() {
        var life = WebSocketLife(times: WebSocketLife.Times(ping: 0, idle: 8, close: 5, linger: 2), now: 0)
        for now: UInt64 in 1...8 { #expect(life.advance(now: now, isDeaf: false) == .none) }
        #expect(life.advance(now: 9, isDeaf: false) == .sendClose(1011, "no answer to a ping", thenShut: true))
    }
}
