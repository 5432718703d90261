// Owns: requests whose handlers have spawned functions and may leave the answer to them: who has answered, what has failed,
// and when there is nobody left who could answer. Values of a Script without I/O; loop-bound.

import CScriptObjects
import ScriptRuntime

/// A request that spawned functions may answer.
struct SpawnedRequest {
    /// Where the answer goes.
    let reply: [UInt8]
    /// The statistics that hear of it, and when it came; nil where nobody keeps any.
    let endpoint: Endpoint?
    let arrived: UInt64

    fileprivate var running = 0
    fileprivate var hasHandlerEnded = false
    fileprivate var isAnswered = false
    fileprivate var failure: ReplyError?

    init(reply: [UInt8], endpoint: Endpoint?, arrived: UInt64) {
        self.reply = reply
        self.endpoint = endpoint
        self.arrived = arrived
    }
}

/// The requests of one script that spawned functions may answer, by number.
struct SpawnedRequests {
    private var requests: [UInt64: SpawnedRequest] = [:]
    private var last: UInt64 = 0

    var isEmpty: Bool { requests.isEmpty }

    mutating func add(_ request: SpawnedRequest) -> UInt64 {
        last += 1
        requests[last] = request
        return last
    }

    /// One more function runs.
    mutating func began(_ number: UInt64) { requests[number]?.running += 1 }

    mutating func answered(_ number: UInt64) { requests[number]?.isAnswered = true }

    /// A function failed, or an answer could not be sent. The first reason is the one that is told.
    mutating func failed(_ number: UInt64, _ error: ReplyError) {
        if requests[number]?.failure == nil { requests[number]?.failure = error }
    }

    /// A function has ended.
    ///
    /// - Returns: The request and the error that is its answer, when nobody is left who could give another one.
    mutating func ended(_ number: UInt64) -> (SpawnedRequest, ReplyError)? {
        requests[number]?.running -= 1
        return settle(number)
    }

    /// The handler has ended, and has said all that it will.
    mutating func handlerEnded(_ number: UInt64) -> (SpawnedRequest, ReplyError)? {
        requests[number]?.hasHandlerEnded = true
        return settle(number)
    }

    private mutating func settle(_ number: UInt64) -> (SpawnedRequest, ReplyError)? {
        guard let request = requests[number], request.hasHandlerEnded, request.running == 0 else { return nil }
        requests[number] = nil
        guard !request.isAnswered, let failure = request.failure else { return nil }
        return (request, failure)
    }

    /// Takes all whose functions are given up.
    ///
    /// - Returns: Those without an answer.
    mutating func takeAll() -> [SpawnedRequest] {
        defer { requests = [:] }
        return requests.values.filter { !$0.isAnswered }
    }
}

@available(*, unavailable)
extension SpawnedRequests: Sendable {}
