// Work that continues turn by turn on an event loop, and whether the loop polls its sockets in between.

import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import ScriptRuntime

/// Notes that something was read.
private final class Reader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    var hasRead = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { hasRead = true }
}

/// Turns that go on until something is read, or for very many. Loop-bound.
private final class Turns {
    var count = 0
    var look: PollBarrier?
}

@Suite("A poll of the sockets between two turns")
struct PollBarrierTests {
    @Test("what can be read is read between two turns", .timeLimit(.minutes(2)))
    func looks() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let turns = try await loop.flatSubmit { () -> EventLoopFuture<Int> in
            var ends: [CInt] = [-1, -1]
            guard pipe(&ends) == 0 else { return loop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
            let output = ends[1]
            let promise = loop.makePromise(of: Int.self)
            let reader = NIOLoopBound(Reader(), eventLoop: loop)
            let turns = Turns()
            let look = PollBarrier(eventLoop: loop) {
                turns.count += 1
                if turns.count == 10 { _ = write(output, "x", 1) }
                guard reader.value.hasRead || turns.count == 10_000 else { return turns.look?.ask() ?? () }
                turns.look?.close()
                turns.look = nil
                close(output)
                promise.succeed(turns.count)
            }
            turns.look = look
            look.open()
            NIOPipeBootstrap(group: loop).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(reader.value) }
            }.takingOwnershipOfDescriptor(input: ends[0]).assumeIsolated().whenComplete { _ in look.ask() }
            return promise.futureResult
        }.get()
        // By the turn behind the one that wrote, or, with a slow selector, a few more.
        #expect(turns > 10 && turns < 20)
    }
}
