// What workers have in common: names of their own queue groups, and what the services protocol tells of all of them.

import Testing

@testable import Panini

@Suite("SharedServiceState")
struct ServiceSharedTests {
    @Test("a group belongs to one run, one subject and one listener")
    func groups() {
        let one = SharedServiceState(workers: 2)
        let two = SharedServiceState(workers: 2)
        let group = one.ownGroup(subject: "a.*", ordinal: 1)
        #expect(group == one.ownGroup(subject: "a.*", ordinal: 1))
        #expect(group.hasPrefix("_panini."))
        #expect(
            Set([group, one.ownGroup(subject: "a.*", ordinal: 2), one.ownGroup(subject: "a.>", ordinal: 1)]).count == 3
        )
        #expect(group != two.ownGroup(subject: "a.*", ordinal: 1))
    }

    @Test("the home of a listener is one of the workers, and they are all used")
    func homes() {
        let shared = SharedServiceState(workers: 4)
        let homes = (0..<200).map { shared.home(of: "subject.\($0)") }
        #expect(Set(homes) == [0, 1, 2, 3])
        #expect(homes == (0..<200).map { shared.home(of: "subject.\($0)") })
    }

    @Test("what several workers serve is told once, in order")
    func rows() {
        let shared = SharedServiceState(workers: 2)
        func row(_ name: String) -> SharedServiceState.Row {
            SharedServiceState.Row(name: name, subject: name, queue: "", metadata: [:], endpoint: Endpoint())
        }
        _ = shared.setRows([row("a"), row("b")], of: 0)
        _ = shared.setRows([row("b"), row("c")], of: 1)
        #expect(shared.allRows().map { $0.map(\.name) } == [["a"], ["b", "b"], ["c"]])
        _ = shared.setRows([], of: 0)
        #expect(shared.allRows().map { $0.map(\.name) } == [["b"], ["c"]])
    }
}
