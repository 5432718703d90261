// Owns: a worker as other threads see it. Any thread; the worker itself stays on its loop.

import LoopTools
import NIOCore
import ScriptRuntime

extension Worker {
    /// A worker as other threads see it.
    struct Handle: Sendable {
        let index: Int
        /// Counts up when another one takes its place.
        let incarnation: Int
        let eventLoop: any EventLoop
        /// What the host's loop waits for.
        let calls: NIOLoopBoundBox<WorkerCalls>
        private let box: NIOLoopBoundBox<Worker?>

        /// - Parameter host: The loop that asks.
        init(eventLoop: any EventLoop, index: Int, incarnation: Int = 0, host: any EventLoop) {
            self.eventLoop = eventLoop
            self.index = index
            self.incarnation = incarnation
            calls = NIOLoopBoundBox.makeBoxSendingValue(WorkerCalls(loop: host), eventLoop: host)
            box = NIOLoopBoundBox.makeEmptyBox(eventLoop: eventLoop)
        }

        /// The thread's name in log records.
        var threadName: String { "worker-\(index)" }

        /// The host has ended: alarms that will not be due hold what they are about, which holds the worker.
        func end() -> EventLoopFuture<Void> {
            eventLoop.submit { [box] in
                box.value?.alarms.cancelAll()
                box.value?.turns.close()
                box.value = nil
            }
        }

        /// Runs something on the worker's loop.
        func submit<Result: Sendable>(
            _ body: @escaping @Sendable (Worker) throws -> Result
        ) -> EventLoopFuture<Result> {
            eventLoop.submit { [box, eventLoop, index, incarnation] in
                let worker = box.value ?? Worker(eventLoop: eventLoop, index: index, incarnation: incarnation)
                box.value = worker
                return try body(worker)
            }
        }
    }
}
