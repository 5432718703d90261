// Owns: the body of a response on its way from an event loop to a task: pieces in order, as much at once as may lie there.
// Any thread, behind a lock.

import NIOCore
import Synchronization

/// The pieces of one streamed response.
package final class HTTPLocalBody: Sendable {
    /// Why a body ends before it is complete.
    package struct Incomplete: Error {}

    private struct State {
        var pieces: [[UInt8]] = []
        var first = 0
        var bytes = 0
        /// Nil while more may come.
        var isComplete: Bool?
        var isFull = false
        var isAbandoned = false
        var reader: CheckedContinuation<[UInt8]?, any Error>?
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop
    private let exchange: NIOLoopBoundBox<HTTPLocalExchange?>

    /// Called on the loop.
    init(_ exchange: HTTPLocalExchange, eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.exchange = NIOLoopBoundBox(exchange, eventLoop: eventLoop)
    }

    // MARK: - The loop's side

    /// Adds a piece.
    ///
    /// - Returns: False when the reader does not keep up: the exchange is told when it has.
    func add(_ piece: [UInt8]) -> Bool {
        let (reader, goesOn) = state.withLock { state -> (CheckedContinuation<[UInt8]?, any Error>?, Bool) in
            guard state.isComplete == nil, !state.isAbandoned else { return (nil, false) }
            if let reader = state.reader {
                state.reader = nil
                return (reader, true)
            }
            state.pieces.append(piece)
            state.bytes += piece.count
            state.isFull = state.bytes >= HTTPLocalExchange.bufferBytes
            return (nil, !state.isFull)
        }
        reader?.resume(returning: piece)
        return goesOn
    }

    /// Whether the reader keeps up.
    var hasRoom: Bool { state.withLock { !$0.isFull && !$0.isAbandoned && $0.isComplete == nil } }

    /// No more pieces.
    func end(isComplete: Bool) {
        let reader = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
            guard state.isComplete == nil else { return nil }
            state.isComplete = isComplete
            defer { state.reader = nil }
            return state.reader
        }
        exchange.value = nil
        if isComplete { reader?.resume(returning: nil) } else { reader?.resume(throwing: Incomplete()) }
    }

    /// The loop does not come back: the body breaks off. Any thread; what the loop says later is not heard.
    package func breakOff() {
        let reader = state.withLock { state -> CheckedContinuation<[UInt8]?, any Error>? in
            guard state.isComplete == nil else { return nil }
            state.isComplete = false
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(throwing: Incomplete())
    }

    // MARK: - The reader's side

    /// The next piece; nil at the end. One reader at a time.
    ///
    /// - Throws: ``Incomplete`` when the response breaks off; `CancellationError` when the task is cancelled.
    package func next() async throws -> [UInt8]? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (result, mayGoOn) = state.withLock { state -> (Result<[UInt8]?, any Error>?, Bool) in
                    if Task.isCancelled || state.isAbandoned { return (.failure(CancellationError()), false) }
                    if state.first < state.pieces.count {
                        let piece = state.pieces[state.first]
                        state.pieces[state.first] = []
                        state.first += 1
                        if state.first == state.pieces.count {
                            state.pieces = []
                            state.first = 0
                        }
                        state.bytes -= piece.count
                        guard state.isFull, state.bytes < HTTPLocalExchange.bufferBytes / 2 else {
                            return (.success(piece), false)
                        }
                        state.isFull = false
                        return (.success(piece), state.isComplete == nil)
                    }
                    if let isComplete = state.isComplete {
                        return (isComplete ? .success(nil) : .failure(Incomplete()), false)
                    }
                    precondition(state.reader == nil, "two readers of one body at once")
                    state.reader = continuation
                    return (nil, false)
                }
                if mayGoOn { tell { $0.readerKeepsUp() } }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            abandon()
        }
    }

    /// Nobody reads on: the writer hears that its client has gone.
    package func abandon() {
        let (reader, isNews) = state.withLock { state -> (CheckedContinuation<[UInt8]?, any Error>?, Bool) in
            let isNews = !state.isAbandoned && state.isComplete == nil
            state.isAbandoned = true
            state.pieces = []
            state.first = 0
            defer { state.reader = nil }
            return (state.reader, isNews)
        }
        reader?.resume(throwing: CancellationError())
        if isNews { tell { $0.lost() } }
    }

    private func tell(_ body: @escaping @Sendable (HTTPLocalExchange) -> Void) {
        eventLoop.execute { [exchange] in
            if let exchange = exchange.value { body(exchange) }
        }
    }
}
