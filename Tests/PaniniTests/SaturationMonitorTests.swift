// The warning about a service that takes nearly all of its worker's time: a value, without a clock.

import Testing

@testable import Panini

@Suite("A service that takes nearly all of its worker's time")
struct SaturationMonitorTests {
    @Test("an episode is told once")
    func episode() {
        var watch = SaturationMonitor()
        let alarms = [watch.noteSliceUsed(), watch.noteSliceUsed()]
        #expect(alarms == [true, false])
        var told: [Bool] = []
        var again: [Bool] = []
        for (part, isBusy) in [(0.5, false), (0.95, true), (0.97, true), (0.6, false), (0.4, false)] {
            if isBusy { _ = watch.noteSliceUsed() }
            let look = watch.look(part)
            told.append(look.tells)
            again.append(look.again)
        }
        // A short pause does not end the episode.
        #expect(told == [false, true, false, false, false])
        #expect(again == [true, true, true, true, false])
        let alarm = watch.noteSliceUsed()
        let look = watch.look(0.9)
        #expect(alarm && look.tells)
    }
}
