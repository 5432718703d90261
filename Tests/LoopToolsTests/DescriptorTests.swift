// Descriptors: what of them clients may have, and the pause of a listener that gets none.

import Glibc
import NIOCore
import NIOEmbedded
import NIOPosix
import Synchronization
import Testing

@testable import LoopTools

@Suite("The limit of open files")
struct DescriptorLimitTests {
    @Test(
        "clients leave a quarter, at least 64, and never more than half is kept from them",
        arguments: [
            (64, 32), (120, 60), (256, 192), (1024, 768), (65_536, 49_152),
        ]
    )
    func bound(all: Int, forClients: Int) {
        let limit = DescriptorLimit(all: all)
        #expect(limit.forClients == forClients)
        #expect(limit.admits(CInt(forClients - 1)))
        #expect(!limit.admits(CInt(forClients)))
        #expect(limit.reserve + limit.forClients == all)
    }

    @Test("no limit at all admits everything")
    func unlimited() { #expect(DescriptorLimit(all: .max).admits(.max)) }

    @Test("the limit is the process's own")
    func current() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        #expect(DescriptorLimit.current.all == Int(clamping: limit.rlim_cur))
    }
}

@Suite("A listener that cannot accept")
struct AcceptPauseTests {
    @Test(
        "what counts as a shortage",
        arguments: [(EMFILE, true), (ENFILE, true), (ENOMEM, true), (ENOBUFS, true), (ECONNABORTED, false)]
    )
    func shortage(code: CInt, isOne: Bool) {
        #expect(AcceptPause.isShortage(IOError(errnoCode: code, reason: "accept")) == isOne)
    }

    @Test("other errors go on to those behind")
    func others() throws {
        let channel = EmbeddedChannel(handler: AcceptPause { _ in Issue.record("this is no shortage") })
        channel.pipeline.fireErrorCaught(IOError(errnoCode: ECONNABORTED, reason: "accept"))
        #expect(throws: IOError.self) { try channel.throwIfErrorCaught() }
        _ = try? channel.finish()
    }

    @Test("reading stops at the first failure and begins again later")
    func pause() throws {
        let failures = Atomic(0)
        let channel = EmbeddedChannel(handler: AcceptPause { _ in failures.add(1, ordering: .relaxed) })
        func reads() -> Bool? {
            channel.options.last { $0.option is ChannelOptions.Types.AutoReadOption }?.value as? Bool
        }
        channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept"))
        try channel.throwIfErrorCaught()
        #expect(reads() == false)
        channel.embeddedEventLoop.advanceTime(by: AcceptPause.time - .milliseconds(1))
        #expect(reads() == false)
        channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(reads() == true)
        channel.pipeline.fireErrorCaught(IOError(errnoCode: EMFILE, reason: "accept"))
        #expect(reads() == false)
        #expect(failures.load(ordering: .relaxed) == 2)
        _ = try? channel.finish()
    }
}
