// Requests whose answers are left to spawned functions: who answers, and when nobody is left who could.

import ScriptRuntime
import Testing

@testable import Panini

@Suite struct SpawnedRequestsTests {
    private let failure = ReplyError(404, "none")

    private func begin(_ requests: inout SpawnedRequests, functions: Int) -> UInt64 {
        let number = requests.add(SpawnedRequest(reply: Array("answer".utf8), endpoint: nil, arrived: 0))
        for _ in 0..<functions { requests.began(number) }
        return number
    }

    @Test func theLastToEndGivesTheFirstFailure() {
        var requests = SpawnedRequests()
        let number = begin(&requests, functions: 2)
        #expect(requests.handlerEnded(number) == nil)
        requests.failed(number, failure)
        #expect(requests.ended(number) == nil)
        requests.failed(number, ReplyError(500, "later"))
        let end = requests.ended(number)
        #expect(end?.1 == failure)
        #expect(end.map { $0.0.reply } == Array("answer".utf8))
        #expect(requests.isEmpty)
    }

    @Test func theHandlerMayEndLast() {
        var requests = SpawnedRequests()
        let number = begin(&requests, functions: 1)
        requests.failed(number, failure)
        #expect(requests.ended(number) == nil)
        #expect(requests.handlerEnded(number)?.1 == failure)
    }

    @Test func anAnswerIsAllThereIs() {
        var requests = SpawnedRequests()
        let number = begin(&requests, functions: 2)
        #expect(requests.handlerEnded(number) == nil)
        requests.answered(number)
        requests.failed(number, failure)
        #expect(requests.ended(number) == nil)
        #expect(requests.ended(number) == nil)
        #expect(requests.isEmpty)
    }

    @Test func withoutAFailureNothingIsSent() {
        var requests = SpawnedRequests()
        let number = begin(&requests, functions: 1)
        #expect(requests.ended(number) == nil)
        #expect(requests.handlerEnded(number) == nil)
        #expect(requests.isEmpty)
    }

    @Test func aStopAnswersForThoseWithoutAnAnswer() {
        var requests = SpawnedRequests()
        let answered = begin(&requests, functions: 1)
        _ = begin(&requests, functions: 1)
        requests.answered(answered)
        #expect(requests.takeAll().count == 1)
        #expect(requests.isEmpty)
        // What ends afterwards finds nothing.
        #expect(requests.ended(answered) == nil)
    }
}
