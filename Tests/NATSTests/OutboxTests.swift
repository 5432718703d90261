// Rule 15: the outbox keeps the buffer's limit, whatever the loop is doing with what it took.

import NATSProtocol
import NIOCore
import Testing

@testable import NATS

@Suite(.timeLimit(.minutes(5))) struct OutboxTests {
    private func append(_ outbox: NATSOutbox) -> NATSError.Code? {
        [UInt8](repeating: 0, count: 500).withUnsafeBytes { payload in
            do throws(NATSError) {
                _ = try outbox.append(subject: "s", reply: "", headers: [], payload: payload)
                return nil
            } catch {
                return error.code
            }
        }
    }

    @Test("rule 15: what was taken counts until the loop has said how much room is left")
    func takenBytesCount() {
        let outbox = NATSOutbox(room: 1000)
        #expect(append(outbox) == nil)
        #expect(append(outbox) == .bufferExceeded)
        let (frames, count) = outbox.take()
        #expect(count == 1)
        // Neither before the loop knows what becomes of it, nor when it comes back.
        #expect(append(outbox) == .bufferExceeded)
        outbox.putBack(frames, count)
        #expect(append(outbox) == .bufferExceeded)
        var again = outbox.take()
        #expect(again.frames == frames)
        outbox.giveBack(&again.frames)
        #expect(append(outbox) == .bufferExceeded)
        outbox.update(NATSOutbox.Terms(room: 1000))
        #expect(append(outbox) == nil)
    }
}
