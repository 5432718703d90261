// Messages that nobody has taken: their order, and when the socket is not read for them.

import NIOCore
import Testing

@testable import PaniniHTTP

@Suite("WebSocket inbox")
struct WebSocketInboxTests {
    private let limits = WebSocketInbox.Limits(messages: 4, bytes: 100)

    private func message(_ count: Int) -> WebSocketInbox.Message {
        (.binary, ByteBuffer(repeating: 7, count: count))
    }

    @Test("it is full at a number of messages, and has room again at half of that")
    func messages() {
        var inbox = WebSocketInbox()
        for _ in 0..<3 { #expect(inbox.keep(message(1), limits) == false) }
        #expect(inbox.keep(message(1), limits) && inbox.isPaused && inbox.bytes == 4)
        #expect(inbox.keep(message(1), limits) == false, "it was told already")
        _ = inbox.take()
        _ = inbox.take()
        #expect(!inbox.hasRoom(limits) && inbox.isPaused)
        _ = inbox.take()
        #expect(inbox.hasRoom(limits) && inbox.isPaused)
        #expect(inbox.resume() && !inbox.resume() && !inbox.isPaused && !inbox.hasRoom(limits))
    }

    @Test("the same for bytes")
    func bytes() {
        var inbox = WebSocketInbox()
        #expect(inbox.keep(message(40), limits) == false)
        #expect(inbox.keep(message(60), limits) == true)
        _ = inbox.take()
        #expect(!inbox.hasRoom(limits) && inbox.bytes == 60)
        _ = inbox.take()
        #expect(inbox.hasRoom(limits) && inbox.isEmpty && inbox.bytes == 0 && inbox.take() == nil)
    }

    @Test("what is forgotten counts no more, and does not read the socket again by itself")
    func forgets() {
        var inbox = WebSocketInbox()
        #expect(inbox.keep(message(200), limits) == true)
        inbox.removeAll()
        #expect(inbox.isEmpty && inbox.bytes == 0 && inbox.isPaused && inbox.hasRoom(limits))
    }

    @Test("any order of messages that come and go: all in order, all counted, never stuck", arguments: 0..<8)
    func random(seed: UInt64) {
        var generator = SplitMix64(state: seed)
        var inbox = WebSocketInbox()
        var expected: [Int] = []
        for _ in 0..<2000 {
            switch Int.random(in: 0..<10, using: &generator) {
            // A socket that is not read brings nothing, but for what was read already.
            case 0..<5 where !inbox.isPaused || Int.random(in: 0..<20, using: &generator) == 0:
                let count = Int.random(in: 0..<60, using: &generator)
                let wasPaused = inbox.isPaused
                let pauses = inbox.keep(message(count), limits)
                expected.append(count)
                let isFull = expected.count >= limits.messages || expected.reduce(0, +) >= limits.bytes
                #expect(pauses == (isFull && !wasPaused) && inbox.isPaused == (wasPaused || isFull))
            case 9 where Int.random(in: 0..<30, using: &generator) == 0:
                inbox.removeAll()
                expected = []
            default:
                let next = inbox.take()?.bytes.readableBytes
                #expect(next == (expected.isEmpty ? nil : expected.removeFirst()))
                if inbox.hasRoom(limits) {
                    let wasPaused = inbox.resume()
                    #expect(wasPaused)
                }
            }
            #expect(inbox.bytes == expected.reduce(0, +) && inbox.isEmpty == expected.isEmpty)
            #expect(!inbox.isPaused || !expected.isEmpty || inbox.hasRoom(limits), "nobody would read on")
        }
    }
}
