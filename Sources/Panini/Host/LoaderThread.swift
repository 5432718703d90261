// Owns: the threads that run scripts' files: one for each load, so that a file that does not end holds up nothing else. Any
// thread, behind a lock.

import Glibc
import LuaVM
import NIOCore
import PaniniObservability
import Synchronization

/// A thread that loads a script for all workers.
enum LoaderThread {
    private struct State {
        /// What waits for the loads that go on, by the watchdog's numbers of their threads.
        var loads: [UInt64: @Sendable (_ holder: PaniniWedgedWorker) -> Void] = [:]
        /// Files that hold their threads.
        var held: Set<UInt64> = []
    }

    private static let state = Mutex(State())

    /// So many files may hold their threads before no other one is loaded.
    static let mostHeld = 8

    /// Runs `body` on a thread of its own.
    ///
    /// - Parameters:
    ///   - path: The script's, for errors.
    ///   - discard: What becomes of a result that comes too late; called on that thread.
    /// - Returns: Fails with a ``PaniniError`` when a file holds the thread in a call that does not return.
    static func run<Result: Sendable>(
        _ path: String,
        on loop: any EventLoop,
        _ body: @escaping @Sendable () throws -> Result,
        discard: @escaping @Sendable (Result) -> Void
    ) -> EventLoopFuture<Result> {
        guard state.withLock({ $0.held.count }) < mostHeld else {
            return loop.makeFailedFuture(
                PaniniError(
                    code: .scriptFailed,
                    message: "\(path): not loaded: \(mostHeld) files of scripts hold their threads already"
                )
            )
        }
        let promise = loop.makePromise(of: Result.self)
        let outcome = Outcome(promise)
        let isStarted = start {
            let number = LuaWatchdog.threadNumber
            state.withLock { state in
                state.loads[number] = { _ in
                    let error = PaniniError(
                        code: .scriptFailed,
                        message: "\(path): the file holds the thread that loads it, in a call that does not return"
                    )
                    let isGoingOn = Self.state.withLock { state in
                        guard state.loads.removeValue(forKey: number) != nil else { return false }
                        state.held.insert(number)
                        return true
                    }
                    guard isGoingOn else { return }
                    LuaWatchdog.giveUp(thread: number)
                    _ = outcome.end(.failure(error))
                }
            }
            let result = Swift.Result { try body() }
            state.withLock { state in
                state.loads[number] = nil
                state.held.remove(number)
            }
            if !outcome.end(result), case .success(let late) = result { discard(late) }
        }
        if !isStarted {
            _ = outcome.end(
                .failure(PaniniError(code: .scriptFailed, message: "\(path): no thread can be started to load it"))
            )
        }
        return promise.futureResult
    }

    /// A script holds a thread; nothing happens when that is none that loads.
    static func isStuck(_ thread: PaniniWedgedWorker) {
        state.withLock({ $0.loads[thread.thread] })?(thread)
    }

    /// Who comes first says what came of it.
    private final class Outcome<Result: Sendable>: Sendable {
        private let promise: EventLoopPromise<Result>
        private let isOver = Mutex(false)

        init(_ promise: EventLoopPromise<Result>) { self.promise = promise }

        func end(_ result: Swift.Result<Result, any Error>) -> Bool {
            let isFirst = isOver.withLock { isOver in
                defer { isOver = true }
                return !isOver
            }
            if isFirst { promise.completeWith(result) }
            return isFirst
        }
    }

    private final class Start: Sendable {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(Start(body))
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                ThreadName.set("panini-loader")
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            },
            argument.toOpaque()
        )
        guard status == 0 else {
            argument.release()
            return false
        }
        pthread_detach(thread)
        return true
    }
}
