// Between a client's socket and the core: collects incomplete commands, runs the parser over each read, gives the
// core's bytes to the socket and ends connections in good order. One per connection, on the broker's event loop.

import Logging
import NATSProtocol
import NIOCore

final class BrokerClientHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let core: BrokerCore
    private let serverID: String
    private var parser: ClientCommandParser
    private var client: BrokerClient?
    private var context: ChannelHandlerContext?
    /// The start of a command whose end has not arrived.
    private var inbound = ByteBuffer()
    /// Why nothing is read from the client just now.
    private var pauses: ReadPauses = []
    private var hasWithheldRead = false
    /// How many chunks the socket has taken.
    private var chunksTaken = 0

    /// Reasons not to read from a client.
    private struct ReadPauses: OptionSet {
        let rawValue: UInt8
        /// A receiver of its messages is behind, for a moment.
        static let slowReceiver = ReadPauses(rawValue: 1)
        /// It does not read itself.
        static let unread = ReadPauses(rawValue: 2)
        /// What it sent before is worked on, in turn with what others sent.
        static let turn = ReadPauses(rawValue: 4)
    }

    /// An inbound buffer that grew beyond this is given back after use, in bytes.
    private static let keptBufferCapacity = 256 << 10
    /// How long a client that was told why it is closed may take to hang up.
    private static let hangUpTime = TimeAmount.seconds(1)
    /// How long others are served between two turns of a client. Flushing what it has sent takes part of it.
    private static let turnPause = TimeAmount.milliseconds(1)

    init(core: BrokerCore, serverID: String) {
        self.core = core
        self.serverID = serverID
        parser = ClientCommandParser(
            maximumControlLine: core.configuration.maximumControlLine,
            maximumPayload: core.configuration.maximumPayload
        )
    }
}

// MARK: - Life of a connection

extension BrokerClientHandler {
    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive {
            begin(context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if let client {
            core.unregister(client)
        }
        client = nil
        inbound = ByteBuffer()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A reset or a broken pipe: the client is gone, which channelInactive handles.
        core.logger.debug("a client's connection failed: \(error)")
        context.close(promise: nil)
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard client == nil else { return }
        let client = core.register(self)
        let info = ServerGreeting(
            serverID: serverID,
            host: context.channel.localAddress?.ipAddress ?? core.configuration.host,
            port: context.channel.localAddress?.port ?? core.configuration.port,
            maximumPayload: core.configuration.maximumPayload,
            clientID: client?.id ?? 0,
            clientAddress: context.channel.remoteAddress?.ipAddress ?? ""
        )
        self.client = client
        context.writeAndFlush(wrapOutboundOut(info.encoded()), promise: nil)
        if client == nil {
            end(lastWords: "maximum connections exceeded")
        }
    }
}

// MARK: - Reading

extension BrokerClientHandler {
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let client, !client.isEnding else { return }
        client.wasHeard = true
        var bytes = unwrapInboundIn(data)
        if inbound.readableBytes == 0 {
            consume(&bytes, client)
            // Copied, so that a few bytes do not pin the whole read buffer.
            inbound.clear()
            inbound.writeBuffer(&bytes)
        } else {
            inbound.writeBuffer(&bytes)
            consumeInbound(client)
        }
        keepInbound(client)
    }

    private func consumeInbound(_ client: BrokerClient) {
        // Taken out of the property on purpose: closing a connection in the middle of a command may come back to this
        // handler and touch `inbound`.
        var bytes = ByteBuffer()
        swap(&inbound, &bytes)
        consume(&bytes, client)
        bytes.discardReadBytes()
        swap(&inbound, &bytes)
    }

    private func keepInbound(_ client: BrokerClient) {
        if client.isEnding || inbound.readableBytes == 0 && inbound.capacity > Self.keptBufferCapacity {
            inbound = ByteBuffer()
        }
        guard !client.isEnding else { return }
        client.unfinishedBytes = inbound.readableBytes
        core.account(client)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        endBurst(context)
        context.fireChannelReadComplete()
    }

    private func endBurst(_ context: ChannelHandlerContext) {
        core.endBurst()
        guard let client, !client.isEnding else { return }
        if client.shouldPause {
            client.shouldPause = false
            pause(.slowReceiver, context)
        }
        if client.outbound.byteCount > core.configuration.maximumUnreadBytes, !pauses.contains(.unread) {
            pauses.insert(.unread)
            core.countHold()
            watchUnread(client, context)
        }
    }

    func read(context: ChannelHandlerContext) {
        if pauses.isEmpty {
            context.read()
        } else {
            hasWithheldRead = true
        }
    }

    private func consume(_ bytes: inout ByteBuffer, _ client: BrokerClient) {
        guard !pauses.contains(.turn) else { return }
        core.receiversLeft = core.configuration.receiversPerTurn
        let used = bytes.withUnsafeReadableBytes { all -> Int in
            var start = 0
            do throws(ClientProtocolError) {
                while start < all.count {
                    guard core.receiversLeft > 0 else {
                        takeTurns(client)
                        break
                    }
                    let rest = UnsafeRawBufferPointer(rebasing: all[start...])
                    guard let parsed = try parser.next(in: rest) else { break }
                    start += parsed.length
                    guard core.execute(parsed.command, bytes: rest, from: client), !client.isEnding else { break }
                }
            } catch {
                core.refuse(
                    client,
                    ending: error.wireText ?? "it reported an error",
                    lastWords: error.wireText
                )
            }
            return start
        }
        bytes.moveReaderIndex(forwardBy: used)
    }

    /// What the client has sent goes to so many that others must have their turn before the rest.
    private func takeTurns(_ client: BrokerClient) {
        pauses.insert(.turn)
        // Not at once: a loop goes through all tasks that are due before it looks at its sockets again.
        context?.eventLoop.assumeIsolated().scheduleTask(in: Self.turnPause) {
            self.pauses.remove(.turn)
            guard let context = self.context, !client.isEnding else { return }
            self.consumeInbound(client)
            self.keepInbound(client)
            self.endBurst(context)
            self.continueReading()
        }
    }

    private func pause(_ reason: ReadPauses, _ context: ChannelHandlerContext) {
        guard !pauses.contains(reason) else { return }
        pauses.insert(reason)
        core.countPause()
        context.eventLoop.assumeIsolated().scheduleTask(in: core.configuration.pauseForSlowConsumers) {
            self.goOn(after: reason)
        }
    }

    private func goOn(after reason: ReadPauses) {
        pauses.remove(reason)
        continueReading()
    }

    private func continueReading() {
        guard pauses.isEmpty, hasWithheldRead else { return }
        hasWithheldRead = false
        context?.read()
    }

    /// A client that is not read because it does not read, and that takes nothing for too long, is closed.
    private func watchUnread(_ client: BrokerClient, _ context: ChannelHandlerContext) {
        let taken = chunksTaken
        let time = core.configuration.slowConsumerTime
        context.eventLoop.assumeIsolated().scheduleTask(in: time) {
            guard let context = self.context, self.pauses.contains(.unread), !client.isEnding else { return }
            guard taken == self.chunksTaken else { return self.watchUnread(client, context) }
            self.core.dropSlowConsumer(
                client,
                "it took nothing for \(time.nanoseconds / 1_000_000_000) s while \(client.outbound.byteCount) bytes waited for it"
            )
            self.core.endBurst()
        }
    }
}

// MARK: - Writing

extension BrokerClientHandler: BrokerTransport {
    func flush() {
        // When the socket is full the bytes wait here, where they can be counted and dropped.
        guard let client, let context, !client.outbound.isEmpty, context.channel.isWritable else { return }
        var chunk = ByteBuffer()
        while context.channel.isWritable, let next = client.outbound.popFirst() {
            chunk = next
            chunksTaken += 1
            context.write(wrapOutboundOut(next), promise: nil)
        }
        // The channel becomes writable in the middle of this and comes back to this function.
        context.flush()
        client.outbound.reuse(&chunk)
        guard !client.isEnding else { return }
        core.account(client)
        if pauses.contains(.unread), client.outbound.byteCount <= core.configuration.maximumUnreadBytes / 2 {
            goOn(after: .unread)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            flush()
        }
        context.fireChannelWritabilityChanged()
    }

    func end(lastWords: String?) {
        guard let context else { return }
        guard let lastWords else {
            context.close(promise: nil)
            return
        }
        inbound = ByteBuffer()
        // What a client made wrong comes after the answers to what it made right.
        while let chunk = client?.outbound.popFirst() {
            context.write(wrapOutboundOut(chunk), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "-ERR '\(lastWords)'\r\n")), promise: nil)
        // Closing at once would lose the last words when the client has sent more than was read (the kernel answers
        // that with a reset): say that nothing more comes, and wait for the client to hang up.
        context.close(mode: .output, promise: nil)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.hangUpTime) {
            self.context?.close(promise: nil)
        }
    }
}

@available(*, unavailable)
extension BrokerClientHandler: Sendable {}
