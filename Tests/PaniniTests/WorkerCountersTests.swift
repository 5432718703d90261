// What services count: every counter has its own place and stands in the documentation.

import Foundation
import Testing

@testable import Panini

@Suite("Counters of a service", .timeLimit(.minutes(5)))
struct WorkerCountersTests {
    /// Another number for each counter.
    private func number(_ counter: WorkerCounter) -> UInt64 {
        UInt64(WorkerCounter.allCases.firstIndex(of: counter) ?? -1) + 1
    }

    @Test("each counter is read where it was written, and sums are those of the same counter")
    func places() {
        var some = WorkerCounters()
        var hundreds = WorkerCounters()
        for counter in WorkerCounter.allCases {
            some[counter] = number(counter)
            hundreds[counter] = 100
        }
        var sum = some + hundreds
        for counter in WorkerCounter.allCases {
            #expect(some[counter] == number(counter))
            #expect(sum[counter] == number(counter) + 100)
            #expect((WorkerCounters() + some)[counter] == number(counter))
        }
        sum[.fetches] = 7
        #expect(sum[.fetches] == 7 && sum[.fetchFailures] == number(.fetchFailures) + 100)
    }

    @Test("each counter is a metric that the documentation has")
    func documented() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "docs/embedding.md"), encoding: .utf8)
        for counter in WorkerCounter.allCases {
            #expect(text.contains("`\(counter.label)`"), "\(counter.label) is not in docs/embedding.md")
        }
    }
}
