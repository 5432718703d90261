// Who lets go when all web servers together hold too much.

import Synchronization
import Testing

@testable import PaniniHTTP

@Suite("The memory of all web servers")
struct WebMemoryTests {
    /// Counts how often a server was asked to let go.
    private final class Asked: Sendable {
        let count = Atomic<Int>(0)
    }

    private func share(_ memory: WebMemory, limit: Int) -> (WebMemoryShare, Asked) {
        let asked = Asked()
        return (WebMemoryShare(memory, limit: limit) { asked.count.add(1, ordering: .relaxed) }, asked)
    }

    @Test("small changes are told together, and all of them at a look")
    func steps() {
        let memory = WebMemory()
        let (share, _) = share(memory, limit: 1 << 20)
        for _ in 0..<10 { share.change(from: 0, to: 1000) }
        #expect(share.bytes == 10000 && memory.bytes == 0)
        share.change(from: 0, to: WebMemory.step)
        #expect(memory.bytes == 10000 + WebMemory.step)
        share.change(from: 1000, to: 0)
        share.tell()
        #expect(memory.bytes == 9000 + WebMemory.step)
    }

    @Test("the smallest limit of those that are there counts, and what a server held goes with it")
    func limits() {
        let memory = WebMemory()
        let (first, _) = share(memory, limit: 4 << 20)
        #expect(memory.limit == 4 << 20)
        do {
            let (second, _) = share(memory, limit: 1 << 20)
            second.change(from: 0, to: 2 << 20)
            #expect(memory.limit == 1 << 20 && memory.bytes == 2 << 20 && memory.isOver && second.isOver)
        }
        #expect(memory.limit == 4 << 20 && memory.bytes == 0)
        memory.changeLimit(of: first.member, to: 2 << 20)
        #expect(memory.limit == 2 << 20)
    }

    @Test("the server with the largest connection is asked, once, until it has looked")
    func worst() {
        let memory = WebMemory()
        let (one, askedOne) = share(memory, limit: 1 << 20)
        let (two, askedTwo) = share(memory, limit: 1 << 20)
        one.change(from: 0, to: 300 << 10)
        two.change(from: 0, to: 900 << 10)
        #expect(memory.isOver)
        // The other has none that is larger.
        #expect(!memory.asksOther(than: two.member, above: 900 << 10, now: 1))
        #expect(memory.asksOther(than: one.member, above: 300 << 10, now: 1))
        #expect(memory.asksOther(than: one.member, above: 300 << 10, now: 2))
        #expect(askedOne.count.load(ordering: .relaxed) == 0 && askedTwo.count.load(ordering: .relaxed) == 1)
        two.change(from: 900 << 10, to: 0)
        two.looked(largest: 0)
        #expect(!memory.isOver)
        #expect(!memory.asksOther(than: one.member, above: 300 << 10, now: 3))
    }

    @Test("nobody waits for a server whose loop does not come back")
    func stuck() {
        let memory = WebMemory()
        let (one, _) = share(memory, limit: 1 << 20)
        let (two, asked) = share(memory, limit: 1 << 20)
        one.change(from: 0, to: 600 << 10)
        two.change(from: 0, to: 900 << 10)
        #expect(memory.asksOther(than: one.member, above: 600 << 10, now: 1))
        #expect(memory.asksOther(than: one.member, above: 600 << 10, now: 50_000_000))
        #expect(!memory.asksOther(than: one.member, above: 600 << 10, now: 200_000_000))
        #expect(asked.count.load(ordering: .relaxed) == 1)
    }

    @Test("memory is given back when most of much has gone")
    func calm() {
        let memory = WebMemory()
        let (share, _) = share(memory, limit: .max)
        share.change(from: 0, to: 4 << 20)
        share.change(from: 4 << 20, to: 0)
        #expect(!share.hasCalmedDown)
        share.change(from: 0, to: 40 << 20)
        #expect(!share.hasCalmedDown)
        share.change(from: 40 << 20, to: 9 << 20)
        #expect(share.hasCalmedDown)
        share.gaveBack()
        #expect(!share.hasCalmedDown)
    }

    @Test("what streams hold adds up")
    func streams() {
        var sum = HTTP2Load()
        var one = HTTP2Load()
        var two = HTTP2Load()
        #expect(one.set(body: 10, unsent: 5, in: &sum))
        #expect(!one.set(body: 10, unsent: 5, in: &sum))
        two.set(body: 0, unsent: 7, in: &sum)
        one.set(body: 0, unsent: 6, in: &sum)
        #expect(sum.body == 0 && sum.unsent == 13 && sum.total == 13)
    }
}
