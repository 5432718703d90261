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
    private var isPaused = false
    private var hasWithheldRead = false

    /// An outbound buffer that grew beyond this is given back after use, in bytes.
    private static let keptBufferCapacity = 256 << 10
    /// How long a client that was told why it is closed may take to hang up.
    private static let hangUpTime = TimeAmount.seconds(1)

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
        context.writeAndFlush(wrapOutboundOut(info.encoded()), promise: nil)
        self.client = client
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
            // Taken out of the property on purpose: closing a connection in the middle of a command may come back to
            // this handler and touch `inbound`.
            bytes = ByteBuffer()
            swap(&inbound, &bytes)
            consume(&bytes, client)
            bytes.discardReadBytes()
            swap(&inbound, &bytes)
        }
        if client.isEnding || inbound.readableBytes == 0 && inbound.capacity > Self.keptBufferCapacity {
            inbound = ByteBuffer()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        core.endBurst()
        if let client, client.shouldPause {
            pause(client, context)
        }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if isPaused {
            hasWithheldRead = true
        } else {
            context.read()
        }
    }

    private func consume(_ bytes: inout ByteBuffer, _ client: BrokerClient) {
        let used = bytes.withUnsafeReadableBytes { all -> Int in
            var start = 0
            do throws(ClientProtocolError) {
                while start < all.count {
                    let rest = UnsafeRawBufferPointer(rebasing: all[start...])
                    guard let parsed = try parser.next(in: rest) else { break }
                    start += parsed.length
                    guard core.execute(parsed.command, bytes: rest, from: client), !client.isEnding else { break }
                }
            } catch {
                refuse(client, error)
            }
            return start
        }
        bytes.moveReaderIndex(forwardBy: used)
    }

    private func refuse(_ client: BrokerClient, _ error: ClientProtocolError) {
        core.countProtocolError()
        core.logger.warning("closing \(client.label): \(error.wireText ?? "it reported an error")")
        client.isEnding = true
        end(lastWords: error.wireText)
    }

    private func pause(_ client: BrokerClient, _ context: ChannelHandlerContext) {
        client.shouldPause = false
        guard !isPaused else { return }
        isPaused = true
        core.countPause()
        context.eventLoop.assumeIsolated().scheduleTask(in: core.configuration.pauseForSlowConsumers) {
            self.isPaused = false
            if self.hasWithheldRead {
                self.hasWithheldRead = false
                self.context?.read()
            }
        }
    }
}

// MARK: - Writing

extension BrokerClientHandler: BrokerTransport {
    func flush() {
        // When the socket is full the bytes wait here, where they can be counted and dropped.
        guard let client, let context, client.outbound.readableBytes > 0, context.channel.isWritable else { return }
        // Taken out before the write: a large one changes the channel's writability and comes back to this function.
        var bytes = ByteBuffer()
        swap(&bytes, &client.outbound)
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        if client.outbound.capacity == 0, bytes.capacity <= Self.keptBufferCapacity {
            bytes.clear()
            client.outbound = bytes
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
        var bytes = client?.outbound ?? ByteBuffer()
        client?.outbound = ByteBuffer()
        bytes.writeString("-ERR '\(lastWords)'\r\n")
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
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
