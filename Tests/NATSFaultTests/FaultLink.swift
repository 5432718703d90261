// One connection through the proxy: two sockets, and a thread of its own that moves bytes between them in the mode of the
// moment. The sockets belong to that thread; others only leave wishes and wake it.

import Glibc
import NIOConcurrencyHelpers

final class FaultLink: Sendable {
    private struct State {
        var mode: FaultProxy.Mode
        var cut: FaultProxy.Cut?
        var fromClient: [UInt8] = []
        var fromServer: [UInt8] = []
        var isOver = false
    }

    /// The bytes of one direction that were read and not yet written.
    private struct Direction {
        let source: Int32
        let target: Int32
        var bytes: [UInt8] = []
        var first = 0
        var isEnded = false
        /// How many bytes may still be forwarded; nil for any number.
        var allowance: Int?
        /// When throttled: how many bytes may go out now, and when that was reckoned.
        var credit = 0.0
        var reckoned = ContinuousClock.now

        var waiting: Int { bytes.count - first }

        mutating func reckon(_ rate: Int) {
            let now = ContinuousClock.now
            let seconds = (now - reckoned) / .seconds(1)
            reckoned = now
            credit = min(credit + seconds * Double(rate), max(1, Double(rate) / 20))
        }
    }

    private let client: Int32
    private let server: Int32
    private let waker = Waker()
    private let cutAfter: Int?
    private let isRecording: Bool
    private let state: NIOLockedValueBox<State>

    init(
        client: Int32,
        server: Int32,
        mode: FaultProxy.Mode,
        cutAfter: Int?,
        bufferBytes: Int32?,
        isRecording: Bool
    ) {
        self.client = client
        self.server = server
        self.cutAfter = cutAfter
        self.isRecording = isRecording
        state = NIOLockedValueBox(State(mode: mode))
        for end in [client, server] {
            Sockets.setNonBlocking(end)
            Sockets.setNoDelay(end)
            if let bufferBytes { Sockets.setBuffers(end, bytes: bufferBytes) }
        }
    }

    // MARK: - From any thread

    var fromClient: [UInt8] { state.withLockedValue { $0.fromClient } }
    var fromServer: [UInt8] { state.withLockedValue { $0.fromServer } }

    func use(_ mode: FaultProxy.Mode) {
        change { $0.mode = mode }
    }

    func cut(_ cut: FaultProxy.Cut) {
        change { $0.cut = cut }
    }

    /// The descriptor is open as long as the link is not over, which only changes under the lock.
    private func change(_ body: (inout State) -> Void) {
        state.withLockedValue { state in
            guard !state.isOver else { return }
            body(&state)
            waker.wake()
        }
    }

    // MARK: - On the link's thread

    func run() {
        var up = Direction(source: client, target: server, allowance: cutAfter)
        var down = Direction(source: server, target: client)
        var ending: FaultProxy.Cut?
        while ending == nil {
            let (mode, wish) = state.withLockedValue { ($0.mode, $0.cut) }
            if let wish {
                ending = wish
                break
            }
            wait(mode, up, down)
            guard read(&up, mode), read(&down, mode), write(&up, mode), write(&down, mode) else {
                ending = .reset
                break
            }
            if up.allowance == 0 { ending = .reset }
            if up.isEnded && up.waiting == 0 || down.isEnded && down.waiting == 0 { ending = .end }
        }
        if case .reset = ending {
            Sockets.setReset(client)
            Sockets.setReset(server)
        }
        state.withLockedValue { $0.isOver = true }
        close(client)
        close(server)
        waker.close()
    }

    private func wait(_ mode: FaultProxy.Mode, _ up: Direction, _ down: Direction) {
        var isThrottled = false
        if case .throttle = mode { isThrottled = true }
        func events(reading: Direction, writing: Direction) -> Int16 {
            var events: Int16 = 0
            if reading.waiting == 0, !reading.isEnded, mode != .stall { events |= Int16(POLLIN) }
            if writing.waiting > 0, mode != .stall, !isThrottled { events |= Int16(POLLOUT) }
            return events
        }
        var watched = [
            pollfd(fd: waker.watched, events: Int16(POLLIN), revents: 0),
            pollfd(fd: client, events: events(reading: up, writing: down), revents: 0),
            pollfd(fd: server, events: events(reading: down, writing: up), revents: 0),
        ]
        // A socket that waits for nothing would still report its end, over and over.
        for index in 1...2 where watched[index].events == 0 { watched[index].fd = -1 }
        poll(&watched, 3, isThrottled && up.waiting + down.waiting > 0 ? 2 : -1)
        if watched[0].revents != 0 {
            waker.clear()
        }
    }

    /// False when the connection is broken.
    private func read(_ direction: inout Direction, _ mode: FaultProxy.Mode) -> Bool {
        guard direction.waiting == 0, !direction.isEnded, mode != .stall else { return true }
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        let count = recv(direction.source, &chunk, chunk.count, 0)
        if count < 0 { return errno == EAGAIN || errno == EINTR }
        if count == 0 {
            direction.isEnded = true
            return true
        }
        if mode == .blackhole { return true }
        direction.bytes = Array(chunk[..<count])
        direction.first = 0
        if let allowance = direction.allowance, allowance < count {
            direction.bytes.removeLast(count - allowance)
        }
        return true
    }

    /// False when the connection is broken.
    private func write(_ direction: inout Direction, _ mode: FaultProxy.Mode) -> Bool {
        while direction.waiting > 0 {
            let size: Int
            switch mode {
            case .forward: size = direction.waiting
            case .split: size = 1
            case .stall: return true
            case .blackhole:
                direction.first = direction.bytes.count
                return true
            case .throttle(let rate):
                direction.reckon(rate)
                size = min(direction.waiting, Int(direction.credit))
                if size == 0 { return true }
            }
            let part = direction.bytes[direction.first..<(direction.first + size)]
            let count = part.withUnsafeBytes {
                send(direction.target, $0.baseAddress, size, Int32(MSG_NOSIGNAL))
            }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            direction.first += count
            direction.credit -= Double(count)
            if let allowance = direction.allowance { direction.allowance = allowance - count }
            record(part.prefix(count), isFromClient: direction.source == client)
        }
        return true
    }

    private func record(_ bytes: ArraySlice<UInt8>, isFromClient: Bool) {
        guard isRecording else { return }
        state.withLockedValue { state in
            if isFromClient {
                state.fromClient += bytes
            } else {
                state.fromServer += bytes
            }
        }
    }
}
