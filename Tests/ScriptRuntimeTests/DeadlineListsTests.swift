// Lists of time limits: one per limit, none that holds nothing.

import Testing

@testable import ScriptRuntime

@Suite("Lists of time limits")
struct DeadlineListsTests {
    @Test("one list per limit; one that holds nothing is forgotten")
    func lists() throws {
        let script = try Script.bare()
        defer { script.close() }
        var lists = DeadlineLists()
        let first = lists.list(nanoseconds: 10)
        var again = lists.list(nanoseconds: 10)
        #expect(again === first)
        let second = lists.list(nanoseconds: 20)
        again = lists.list(nanoseconds: 10)
        #expect(second !== first && again === first && lists.count == 2)
        let suspendedRun = SuspendedRun(activity: Activity(ActivityOwner(script: script)), coroutine: 1)
        second.append(suspendedRun, now: 0)
        lists.removeIfUnused(second)
        lists.removeIfUnused(first)
        #expect(lists.count == 1 && lists.alarms.isEmpty)
        second.remove(suspendedRun)
        lists.removeIfUnused(second)
        #expect(lists.count == 0)
        again = lists.list(nanoseconds: 10)
        #expect(again !== first)
    }
}
