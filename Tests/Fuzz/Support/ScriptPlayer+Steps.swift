// What one byte of a script makes happen: on the network's side here, and on the owner's side in `ask`. Loop-bound.

import Bytes
import NATS
import NATSProtocol
import NIOCore
import NIOEmbedded

extension ScriptPlayer {
    private static let subjects = ["a", "b.c", "a.>", "*", "long.subject.with.tokens", "", "a b", "x..y", ">"]
    private static let fragments = [
        "MSG ", "HMSG ", "a ", "1 ", "2 ", "3 ", "12 ", "0\r\n", "\r\n", "PING\r\n", "PONG\r\n", "+OK\r\n",
        "INFO {}\r\n", "NATS/1.0 503\r\n\r\n", "MSG a 1 1\r\nx\r\n", "HMSG a 1 12 13\r\nNATS/1.0\r\n\r\ny\r\n",
        "INFO {\"ldm\":true,\"headers\":true}\r\n", "INFO {\"max_payload\":10}\r\n",
        "INFO {\"connect_urls\":[\"c:1\",\"d:2\"],\"headers\":true}\r\n", "-ERR 'Stale Connection'\r\n",
        "-ERR 'Slow Consumer'\r\n", "-ERR 'Authorization Violation'\r\n", "-ERR 'maximum connections exceeded'\r\n",
        "-ERR 'Permissions Violation for Publish to \"a\"'\r\n",
        "-ERR 'Permissions Violation for Subscription to \"a\"'\r\n",
        "-ERR 'Permissions Violation for Subscription to \"b.c\" using queue \"q\" (sid \"2\")'\r\n",
        "-ERR 'Unknown Protocol Operation'\r\n", "MSG a 1 5000\r\n", "99999999999999999999 ", "{", "'", "\u{e9}\r\n",
    ]

    func step(_ code: Int) {
        switch code % 24 {
        case 0, 1, 2: speakHonestly(script.below(4) + 1)
        case 3: server?.say([script.raw(script.below(40) + 1)])
        case 4:
            let pieces = (0...script.below(4)).map { _ in Array(Self.fragments[script.below(Self.fragments.count)].utf8)
            }
            server?.say(pieces)
        case 5, 6: deliver()
        case 7: answer()
        case 8: loop.run()
        case 9:
            let waits: [TimeAmount] = [
                .milliseconds(1), .milliseconds(100), .seconds(1), .seconds(2), .seconds(6), .seconds(40),
                .seconds(121),
            ]
            loop.advanceTime(by: script.pick(waits) ?? .zero)
        case 10: breakLink()
        case 11:
            if let server {
                server.channel.isWritable.toggle()
                server.channel.pipeline.syncOperations.fireChannelWritabilityChanged()
            }
        case 12: fault.countdown = script.below(3)
        case 13: reactions.append(script.byte())
        default: ask(code)
        }
    }

    private func speakHonestly(_ words: Int) {
        for _ in 0..<words {
            // PONG is an answer: the PING must have arrived.
            do throws(FuzzFailure) {
                try server?.listen()
            } catch {
                return witness.wrong(error.description)
            }
            guard let server, let word = server.honestWord() else { return }
            server.say([Array(word.utf8)])
        }
    }

    private func breakLink() {
        guard let server else { return }
        switch script.below(3) {
        case 0: server.channel.close(promise: nil)
        case 1: server.channel.pipeline.syncOperations.fireErrorCaught(ChannelError.ioOnClosedChannel)
        default:
            server.say([Array("MSG a 1 3\r\nx".utf8)])
            server.channel.close(promise: nil)
        }
    }

    /// One message for a subscription the server knows of, in one piece or two.
    private func deliver() {
        guard let server else { return }
        let sids = server.subscriptions.keys.sorted()
        guard let sid = script.pick(sids) else { return }
        let payload = String(repeating: "p", count: script.below(30))
        let shape = script.byte()
        let reply = shape & 1 == 0 ? "" : "re.ply "
        let frame =
            shape & 2 == 0
            ? "MSG a \(sid) \(reply)\(payload.utf8.count)\r\n\(payload)\r\n"
            : "HMSG a \(sid) \(reply)18 \(18 + payload.utf8.count)\r\nNATS/1.0\r\nA: b\r\n\r\n\(payload)\r\n"
        let bytes = Array(String(repeating: frame, count: shape >> 6 + 1).utf8)
        let cut = min(bytes.count, shape & 60)
        server.say([Array(bytes[..<cut]), Array(bytes[cut...])])
    }

    /// A reply to one of the requests, sometimes to one that has its reply already.
    private func answer() {
        guard let server else { return }
        do throws(FuzzFailure) {
            try server.listen()
        } catch {
            return witness.wrong(error.description)
        }
        let inbox = server.subscriptions.first { $0.value.subject.hasPrefix("_INBOX.") }
        guard let sid = inbox?.key, let reply = script.pick(Array(server.replies.suffix(200))) else { return }
        switch script.below(3) {
        case 0: server.say([Array("HMSG \(reply) \(sid) 16 16\r\nNATS/1.0 503\r\n\r\n\r\n".utf8)])
        case 1: server.say([Array("MSG \(reply) \(sid) 2\r\nok\r\nMSG \(reply) \(sid) 2\r\nok\r\n".utf8)])
        default: server.say([Array("MSG \(reply) \(sid) 0\r\n\r\n".utf8)])
        }
    }

    // MARK: - The owner

    /// What the owner does; also from inside of callbacks.
    func ask(_ code: Int) {
        switch code % 24 {
        case 14, 15, 0: publish()
        case 16, 1, 2: subscribe()
        case 17, 3, 4:
            if let subscription = script.pick(held) {
                connection.unsubscribe(subscription, after: [nil, 1, 2, 5][script.below(4)])
            }
        case 18, 5:
            if let subscription = script.pick(held) {
                drained.insert(subscription.sid)
                follow(connection.drain(subscription))
            }
        case 19, 6, 7:
            follow(
                connection.flush(
                    deadline: loop.now + .milliseconds(Int64(script.below(4)) * 500),
                    watching: [Self.subjects[script.below(3)]]
                )
            )
        case 20, 8, 9, 10: request()
        case 21, 11:
            if let (id, context) = script.pick(ids) { cancel(id, context) }
        case 22, 12: if script.below(8) == 0 { follow(connection.drain(timeout: .seconds(3))) }
        case 23, 13: if script.below(8) == 0 { connection.close() }
        default: follow(connection.connect())
        }
    }

    private func publish() {
        let subject = Array(Self.subjects[script.below(Self.subjects.count)].utf8)
        let shape = script.byte()
        var payload = Array("\(nextPublish()) ".utf8)
        if shape & 12 == 12 { payload += [UInt8](repeating: 10, count: shape & 128 == 0 ? 300 : 70_000) }
        let headers: NATSHeaders = shape & 1 == 0 ? [:] : ["A": "b"]
        let reply = shape & 2 == 0 ? [] : Array("re.ply".utf8)
        _ = subject.withUnsafeBytes { subject in
            reply.withUnsafeBytes { reply in
                headers.encoded().withUnsafeBytes { headers in
                    payload.withUnsafeBytes { payload in
                        connection.publish(subject: subject, reply: reply, headers: headers, payload: payload)
                    }
                }
            }
        }
    }

    private func subscribe() {
        let subject = Self.subjects[script.below(Self.subjects.count)]
        let queue = [nil, "q", "bad queue"][script.below(3)]
        if let made = try? connection.subscribe(subject: subject, queue: queue, handler: witness) { hold(made) }
    }

    private func request() {
        let subject = Array(Self.subjects[script.below(4)].utf8)
        let context = nextContext()
        let size = script.below(8) == 7 ? 70_000 : 2
        // A request may fail before the call returns: it counts from here on.
        witness.requests.started.insert(context)
        let start = subject.withUnsafeBytes { subject in
            [UInt8](repeating: 120, count: size).withUnsafeBytes { payload in
                connection.request(
                    subject: subject,
                    headers: .none,
                    payload: payload,
                    deadline: loop.now + .milliseconds(Int64(script.below(4)) * 700),
                    context: context,
                    sink: witness
                )
            }
        }
        switch start {
        case .refused:
            witness.check(witness.requests.open.contains(context), "a refused request was told to its sink")
            witness.requests.started.remove(context)
        case .started(let id): ids.append((id, context))
        }
    }

    private func cancel(_ id: NATSRequestID, _ context: UInt64) {
        if witness.requests.open.contains(context) { witness.requests.cancelled.insert(context) }
        connection.cancelRequest(id)
    }
}
