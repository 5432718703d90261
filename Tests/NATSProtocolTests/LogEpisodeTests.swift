// One line and a count for many equal events, whatever their number.

import NATSProtocol
import Testing

@Suite(.timeLimit(.minutes(5))) struct LogEpisodeTests {
    private let second: UInt64 = 1_000_000_000

    @Test func theFirstIsToldAndTheRestCounted() {
        var episode = LogEpisode()
        let before = episode.settle(at: 5 * second)
        #expect(before == nil && !episode.isOpen)
        let isFirst = episode.note(at: 5 * second)
        #expect(isFirst)
        for index in 1...100_000 {
            let (rest, isTold) = (
                episode.settle(at: 5 * second + UInt64(index)), episode.note(at: 5 * second + UInt64(index))
            )
            if rest != nil || isTold { Issue.record("a second line after \(index)") }
        }
        #expect(episode.isOpen)
        let rest = episode.settle(at: 7 * second)
        #expect(rest == 100_000 && !episode.isOpen)
        let nothing = episode.settle(at: 8 * second)
        #expect(nothing == nil)
        // A new episode.
        let isTold = episode.note(at: 9 * second)
        #expect(isTold)
        let alone = episode.settle(at: 11 * second)
        #expect(alone == nil && !episode.isOpen)
    }

    @Test func anEpisodeWithoutAnEndIsToldEverySoOften() {
        var episode = LogEpisode()
        var lines = 0
        var counted = 0
        for tick in 0..<1200 {
            let now = UInt64(tick) * second / 10
            if let count = episode.settle(at: now) {
                lines += 1
                counted += count
            }
            if episode.note(at: now) {
                lines += 1
                counted += 1
            }
        }
        #expect(lines == 4)
        counted += episode.settle(at: 200 * second) ?? 0
        #expect(counted == 1200)
    }
}
