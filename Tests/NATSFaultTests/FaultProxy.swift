// A TCP proxy between client and server that does what networks do to connections: cut, swallow, stall, slow down, tear
// apart. Byte-exact: what arrives is what was sent, up to a byte of the test's choosing, and everything that was forwarded
// is kept for the test to look at. Each connection has a thread of its own (FaultLink).

import Foundation
import Glibc
import NIOConcurrencyHelpers

final class FaultProxy: Sendable {
    enum Mode: Sendable, Equatable {
        case forward
        /// Every byte goes out in a write of its own.
        case split
        /// Bytes are taken and thrown away.
        case blackhole
        /// No bytes are taken: the sender's socket fills up.
        case stall
        /// So many bytes per second in each direction.
        case throttle(Int)
    }

    enum Cut: Sendable {
        /// An orderly end, after what was under way.
        case end
        /// A reset: what was under way is lost.
        case reset
    }

    private struct State {
        var mode = Mode.forward
        var isRefusing = false
        /// For the next connection.
        var cutAfter: Int?
        var links: [FaultLink] = []
    }

    private struct Settings {
        let target: Int
        let bufferBytes: Int32?
        let isRecording: Bool
    }

    private let acceptor: Acceptor
    private let state: NIOLockedValueBox<State>

    var port: Int { acceptor.port }

    /// - Parameters:
    ///   - target: the server's port.
    ///   - bufferBytes: how large the sockets' buffers are; nil as the system likes.
    ///   - isRecording: whether forwarded bytes are kept.
    init(to target: Int, bufferBytes: Int32? = nil, isRecording: Bool = true) throws {
        let settings = Settings(target: target, bufferBytes: bufferBytes, isRecording: isRecording)
        let state = NIOLockedValueBox(State())
        self.state = state
        acceptor = try Acceptor { Self.begin($0, settings, state) }
    }

    // MARK: - What the network does

    /// From now on, on all connections and new ones.
    func use(_ mode: Mode) {
        for link in change({ $0.mode = mode }) { link.use(mode) }
    }

    /// On the connections there are; new ones are as before.
    func strike(_ mode: Mode) {
        for link in change({ _ in }) { link.use(mode) }
    }

    /// Ends every connection.
    func cut(_ cut: Cut = .reset) {
        for link in change({ _ in }) { link.cut(cut) }
    }

    /// Whether new connections are closed at once, as if nobody listened.
    func refuse(_ isRefusing: Bool) {
        _ = change { $0.isRefusing = isRefusing }
    }

    /// The next connection is reset when exactly so many of the client's bytes were forwarded.
    func cutNext(after bytes: Int) {
        _ = change { $0.cutAfter = bytes }
    }

    /// Ends all connections and takes no new ones.
    func stop() {
        acceptor.stop()
        cut()
    }

    // MARK: - What was seen

    /// What was forwarded to the server on each connection so far.
    var sent: [[UInt8]] { change({ _ in }).map(\.fromClient) }

    /// What was forwarded to the client on each connection so far.
    var received: [[UInt8]] { change({ _ in }).map(\.fromServer) }

    var connectionCount: Int { change({ _ in }).count }

    private func change(_ body: (inout State) -> Void) -> [FaultLink] {
        state.withLockedValue { state in
            body(&state)
            return state.links
        }
    }

    private static func begin(_ client: Int32, _ settings: Settings, _ state: NIOLockedValueBox<State>) {
        let isRefusing = state.withLockedValue { $0.isRefusing }
        guard !isRefusing, let server = try? Sockets.connect(port: settings.target) else {
            Sockets.setReset(client)
            close(client)
            return
        }
        let link = state.withLockedValue { state in
            let link = FaultLink(
                client: client,
                server: server,
                mode: state.mode,
                cutAfter: state.cutAfter,
                bufferBytes: settings.bufferBytes,
                isRecording: settings.isRecording
            )
            state.cutAfter = nil
            state.links.append(link)
            return link
        }
        Thread.detachNewThread { link.run() }
    }
}
