// What services count: every counter has its own name, and stands in the documentation.

import Foundation
import Testing

@testable import Panini

@Suite("Counters of a service", .timeLimit(.minutes(5)))
struct WorkerCountersTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The names of all counters, as the sources declare them.
    private static func labels() throws -> [String] {
        let sources = root.appending(path: "Sources/Panini")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        var labels: [String] = []
        for case let file as URL in files where file.pathExtension == "swift" {
            let text = try String(contentsOf: file, encoding: .utf8)
            labels += text.matches(of: /WorkerCounter\("(panini_[a-z_0-9]+)"\)/).map { String($0.1) }
        }
        return labels
    }

    @Test("each counter is read where it was written, and sums are those of the same counter")
    func places() throws {
        let counters = try Self.labels().map(WorkerCounter.init)
        var some = WorkerCounters()
        var hundreds = WorkerCounters()
        for (number, counter) in counters.enumerated() {
            some[counter] = UInt64(number + 1)
            hundreds[counter] = 100
        }
        let sum = some + hundreds
        for (number, counter) in counters.enumerated() {
            #expect(sum[counter] == UInt64(number + 101))
            #expect((WorkerCounters() + some)[counter] == some[counter])
        }
        // What only one side has counted is in the sum, too.
        var one = WorkerCounters()
        one[.fetches] = 7
        var other = WorkerCounters()
        other[.fetchFailures] = 2
        #expect((one + other)[.fetches] == 7 && (one + other)[.fetchFailures] == 2)
        #expect((one + other)[.lostReplies] == 0)
    }

    @Test("each counter is a metric that the documentation has, and no two have one name")
    func documented() throws {
        let labels = try Self.labels()
        #expect(labels.count >= 29)
        #expect(Set(labels).count == labels.count)
        let text = try String(contentsOf: Self.root.appending(path: "docs/embedding.md"), encoding: .utf8)
        for label in labels { #expect(text.contains("`\(label)`"), "\(label) is not in docs/embedding.md") }
    }

    @Test("figures of several workers are added up, or the largest one counts")
    func figures() {
        #expect(WorkerFigure(3).merged(with: WorkerFigure(4)) == WorkerFigure(7))
        #expect(WorkerFigure(3, .largest).merged(with: WorkerFigure(4, .largest)) == WorkerFigure(4, .largest))
    }
}
