// Owns: one connection of HTTP/1: its channel, its parser, and the bytes that wait on both ways. Loop-bound, the handler of its
// channel, behind that of TLS only. What it may do, and when, is the machine's decision. Knows neither routes nor what responds.

import Bytes
package import NIOCore
import NIOHTTP1
import NIOTLS

/// One HTTP/1.1 connection: carries out what its ``HTTP1Machine`` says.
///
/// What changes with every request is left out of Swift's dynamic checks of exclusive access, as in the host's `Listener`: only
/// the loop comes here, and nothing of it is handed on `inout` to what could come back.
package final class HTTP1Connection: ChannelInboundHandler, RemovableChannelHandler, HTTPServerConnection {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    let server: HTTPServer
    let parser: HTTPRequestParser
    @exclusivity(unchecked) var context: ChannelHandlerContext?
    @exclusivity(unchecked) var machine: HTTP1Machine
    @exclusivity(unchecked) var request: HTTPRequest?
    /// Bytes behind a request whose response is not complete.
    @exclusivity(unchecked) var unread = ByteBuffer()
    /// Responses on their way out.
    @exclusivity(unchecked) var out = ByteBuffer()
    /// In the middle of a burst of reads: what is to be written goes out at its end.
    @exclusivity(unchecked) private(set) var isReading = false
    @exclusivity(unchecked) var transfer: HTTPFileTransfer?
    @exclusivity(unchecked) var address = ""
    /// For the access log, when there is one.
    @exclusivity(unchecked) var record = HTTPAccessRecord()
    /// What it makes the server hold.
    @exclusivity(unchecked) var holding = HTTPHolding()
    /// Its place in the server's list.
    var index: Int?

    /// From here on responses to pipelined requests are given to the channel before the next request is read.
    static let largeOutput = 64 << 10
    /// Memory for responses that is kept for the next ones.
    private static let keptOutput = 16 << 10

    init(server: HTTPServer) {
        self.server = server
        machine = HTTP1Machine(now: server.tick)
        parser = HTTPRequestParser(
            maximumBytes: server.configuration.maximumHeaderBytes,
            maximumFields: server.configuration.maximumHeaderCount
        )
    }

    // MARK: - Channel

    package func channelActive(context: ChannelHandlerContext) {
        self.context = context
        // Its time counts from here on.
        machine = HTTP1Machine(now: server.tick)
        guard server.add(self) else {
            machine.connectionRefused()
            write(.failure(503, "too many connections"), keepAlive: false)
            // The server does not look at it again, so that a client which never reads, or never hangs up, would stay for good.
            let channel = context.channel
            let end = context.eventLoop.scheduleTask(in: .seconds(1)) { channel.close(promise: nil) }
            channel.closeFuture.whenComplete { _ in end.cancel() }
            return closeWhenWritten()
        }
    }

    package func channelInactive(context: ChannelHandlerContext) {
        // In the moment between the two, what comes behind may have closed it.
        if machine.phase == .upgraded { return context.fireChannelInactive() }
        self.context = nil
        server.remove(self)
        transfer = nil
        unread.clear()
        let isWaited = machine.lost()
        guard isWaited, let request else { return }
        self.request = nil
        request.connection = nil
        request.closeEncoder()
        server.delegate.lost(request)
    }

    /// An error of TLS, or of the socket.
    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if machine.phase == .upgraded { return context.fireErrorCaught(error) }
        context.close(promise: nil)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? TLSUserEvent, event == .handshakeCompleted(negotiatedProtocol: "h2") {
            return becomeHTTP2()
        }
        guard case ChannelEvent.inputClosed = event, machine.phase != .upgraded else {
            return context.fireUserInboundEventTriggered(event)
        }
        perform(machine.inputClosed(held: unread.readableBytes) { parser.mayEnd })
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if machine.number == 0, takePreface(&bytes) { return }
        isReading = true
        switch received(bytes.readableBytes) {
        case .parse: parse(&bytes)
        case .hold: hold(&bytes)
        case .holdAndPause:
            hold(&bytes)
            context.channel.setOption(.autoRead, value: false).whenFailure { _ in }
        case .refuse: refuse(.failure(.headTooLarge))
        case .close: close()
        case .ignore: break
        }
    }

    @inline(__always)
    private func received(_ count: Int) -> HTTP1Machine.ReadAction {
        machine.received(
            count,
            held: unread.readableBytes,
            maximumHead: server.configuration.maximumHeaderBytes,
            now: server.tick
        )
    }

    private func hold(_ bytes: inout ByteBuffer) {
        unread.discardReadBytes()
        unread.writeBuffer(&bytes)
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        flush()
        if isHolding {
            account()
            server.readEnded()
        }
        context.fireChannelReadComplete()
    }

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        let isWritable = context.channel.isWritable
        switch machine.writabilityChanged(isWritable) {
        case .none: break
        case .canWrite: if let request { server.delegate.canWrite(request) }
        case .sendFile: sendOn()
        case .continueReading: continueReading()
        }
        if isWritable, holding.bytes != 0 { account() }
        context.fireChannelWritabilityChanged()
    }

    // MARK: - Memory

    var remoteAddress: String {
        address.isEmpty ? context?.channel.remoteAddress?.ipAddress ?? "" : address
    }

    /// Whether anything may wait for the client, or for the rest of its request; between two requests nothing does.
    private var isHolding: Bool {
        machine.phase != .idle || machine.isBlocked || holding.bytes != 0 || unread.readableBytes > 0
    }

    /// Counts what is held.
    private func account() {
        // What is in no list of the server's would never be taken off.
        guard index != nil else { return }
        var bytes = 0
        if unread.readableBytes > 0 { bytes += unread.storageCapacity }
        if out.readableBytes > 0 { bytes += out.storageCapacity }
        if let request { bytes += request.heldBytes }
        if machine.isBlocked { bytes += channelBytes }
        holding.set(bytes, in: server.share)
    }

    /// The same outside of a read.
    func accountUnsent() {
        account()
        server.checkMemory()
    }

    /// What the channel has not given to the system.
    private var channelBytes: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func shed(_ response: HTTPResponse) {
        unread = ByteBuffer()
        if machine.shed() { refuse(response) } else { close() }
    }

    // MARK: - HTTP/2

    /// Looks whether the first bytes of a connection are those of HTTP/2 without TLS (RFC 9113, section 3.4). Bytes that may
    /// become them wait for those that follow.
    ///
    /// - Returns: False when HTTP/1 is spoken; the bytes are all that have come.
    private func takePreface(_ bytes: inout ByteBuffer) -> Bool {
        guard server.configuration.speaksHTTP2, server.configuration.tls == nil else { return false }
        switch machine.phase {
        case .idle: break
        case .head where unread.readableBytes > 0:
            unread.writeBuffer(&bytes)
            swap(&bytes, &unread)
            unread.clear()
        default: return false
        }
        switch HTTP2Preface(bytes) {
        case .none: return false
        case .part:
            isReading = true
            // The same as of a head that is not complete; it is too short for anything else.
            _ = received(bytes.readableBytes)
            unread = bytes
        case .whole: becomeHTTP2(bytes)
        }
        return true
    }

    /// The client speaks HTTP/2: gives the channel and the place in the server's list to what speaks it.
    private func becomeHTTP2(_ bytes: ByteBuffer? = nil) {
        guard let context else { return }
        let pipeline = context.pipeline.syncOperations
        let (handlers, http2) = HTTP2Connection.handlers(server, context.eventLoop)
        do {
            self.context = nil
            _ = machine.upgraded()
            server.replace(self, with: http2)
            try pipeline.addHandlers(handlers, position: .after(self))
            if let bytes { context.fireChannelRead(wrapInboundOut(bytes)) }
            pipeline.removeHandler(self, promise: nil)
        } catch {
            server.remove(http2)
            context.close(promise: nil)
        }
    }

    // MARK: - Writing

    func flush() {
        guard out.readableBytes > 0, let context else { return }
        // Taken out first: a write that makes room may come back here.
        var data = ByteBuffer()
        swap(&data, &out)
        context.writeAndFlush(wrapOutboundOut(data), promise: nil)
        if machine.isBlocked { return accountUnsent() }
        if out.readableBytes == 0, data.capacity <= Self.keptOutput {
            data.clear()
            out = data
        }
    }

    // MARK: - Time and the end

    /// Called at each tick of the server.
    func checkTime() {
        if holding.bytes != 0 { account() }
        let unsent = context?.channel.isWritable == false ? channelBytes : nil
        switch machine.advance(now: server.tick, limits: server.limits, unsent: unsent) {
        case .none: break
        case .giveMemoryBack: if out.readableBytes == 0, out.capacity > 0 { out = ByteBuffer() }
        case .closeIdle:
            server.countIdle()
            close()
        case .refuseHead: refuse(408, "the request's head did not come in time")
        case .refuseBody: refuse(408, "the request's body did not come in time")
        case .close: close()
        }
    }

    func perform(_ action: HTTP1Machine.InputEndAction) {
        switch action {
        case .none: break
        case .close: closeWhenWritten()
        case .refuse: refuse(.failure(.incomplete))
        }
    }

    /// Closes once everything is written, and what is held is dropped.
    func closeWhenWritten() {
        unread.clear()
        guard let context else { return }
        flush()
        let box = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).whenComplete { _ in box.value.isWritten() }
    }

    private func isWritten() {
        guard let context else { return }
        switch machine.written(now: server.tick, isServerStopping: server.isStopping) {
        case .none: break
        case .shutOutput: context.close(mode: .output, promise: nil)
        case .close: context.close(promise: nil)
        }
    }

    func stop() {
        unread.clear()
        switch machine.stop() {
        case .none: break
        case .closeWhenWritten: closeWhenWritten()
        case .close: close()
        }
    }

    func close() {
        machine.close()
        transfer = nil
        context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension HTTP1Connection: Sendable {}

extension String {
    /// Compares with a name in lower case, without a copy.
    func isHeader(_ name: StaticString) -> Bool { ASCII.equals(utf8, ignoringCase: name) }
}
