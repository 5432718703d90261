// Owns: what somebody waits for before it serves, within a time. A value; made and ended on a loop.

import NIOCore
import ScriptRuntime

/// Something that a feature needs before a version, or the host, may serve: a stream of the broker, a connection to a database.
struct Preparation {
    /// What it is, as errors say it: `stream ORDERS`.
    let what: String
    /// What waits for it fails when it takes longer.
    let limit: TimeAmount
    /// What waits for it fails when it does. A ``PaniniError`` is told as it is.
    let future: EventLoopFuture<Void>

    /// Its end, at the latest when its time is over. Fails with a ``PaniniError``.
    ///
    /// - Parameter name: Who waits for it, as errors say it: the service's name.
    func end(on loop: any EventLoop, for name: String) -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        let what = "\(name): \(what)"
        let seconds = formatted(Double(limit.nanoseconds) / 1e9)
        let isOver = loop.scheduleTask(in: limit) {
            promise.fail(PaniniError(code: .notReady, message: "\(what) was not there within \(seconds) s"))
        }
        future.whenComplete { result in
            isOver.cancel()
            switch result {
            case .success: promise.succeed()
            case .failure(let error as PaniniError): promise.fail(error)
            case .failure(let error): promise.fail(PaniniError(code: .notReady, message: "\(what): \(error)"))
            }
        }
        return promise.futureResult
    }
}
