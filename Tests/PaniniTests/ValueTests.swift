// The pure values of the host: subjects, filters, queues, timers, error replies.

import Logging
import LuaVM
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Subjects")
struct SubjectTests {
    @Test("named tokens become wildcards and keep their positions")
    func named() throws {
        let pattern = try SubjectPattern("orders.{id}.items.{item_no}")
        #expect(pattern.subject == "orders.*.items.*")
        #expect(pattern.parameters.map(\.name) == ["id", "item_no"])
        #expect(pattern.parameters.map(\.index) == [1, 3])
    }

    @Test(
        "what may be listened to",
        arguments: ["a", "a.b", "*", ">", "a.*.b", "a.>", "a.{x}", "ä.b", "a*b", "$SRV.PING"]
    )
    func accepted(text: String) throws {
        _ = try SubjectPattern(text)
    }

    @Test(
        "what may not",
        arguments: [
            "", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\r\nb", "a.>.b", ">.a", "a.{}", "a.{1x}", "a.{x", "a.x}",
            "a.{x}.{x}",
            "a.{x-y}", "a\u{0}b", String(repeating: "a", count: 2000),
        ]
    )
    func refused(text: String) {
        #expect(throws: SubjectPattern.Invalid.self) { try SubjectPattern(text) }
    }

    @Test("a message goes to one exact subject", arguments: ["a.*", ">", "a.>", "*.a", "", "a..b", "a b"])
    func publishing(text: String) {
        #expect(throws: SubjectPattern.Invalid.self) { try SubjectPattern.checkPublishable(text) }
    }

    @Test("error texts stay on one line")
    func oneLine() {
        do {
            _ = try SubjectPattern("a\r\nPUB x 0")
            Issue.record("accepted")
        } catch {
            #expect(!error.message.contains("\n") && !error.message.contains("\r"))
        }
    }

    @Test(
        "filters look for parts of the text",
        arguments: [
            (["ord"], [String](), "orders.new", true), (["ord"], [], "payments", false),
            ([], ["pay"], "payments", false),
            ([], ["pay"], "orders", true), (["o"], ["orders"], "orders", false), ([], [], "anything", true),
        ]
    )
    func filters(include: [String], exclude: [String], subject: String, isAdmitted: Bool) {
        #expect(SubjectFilters(include: include, exclude: exclude).admits(subject) == isAdmitted)
    }
}

@Suite("Waiting messages")
struct PendingMessageTests {
    private func message(_ text: String) -> StoredMessage {
        var text = text
        return text.withUTF8 { bytes in
            let raw = UnsafeRawBufferPointer(bytes)
            return StoredMessage(
                subject: raw,
                reply: emptyBytes,
                headers: emptyBytes,
                payload: raw,
                subjectIndex: 0,
                arrived: 0
            )
        }
    }

    @Test("keeps order and all parts through growth and shrinking")
    func order() {
        var pending = PendingMessages()
        var next = 0
        var expected = 0
        for round in 0..<50 {
            for _ in 0..<(round % 7 * 100) {
                pending.append(message("m\(next)"))
                next += 1
            }
            for _ in 0..<(round % 5 * 120) {
                guard let first = pending.popFirst() else { break }
                first.withParts { subject, reply, headers, payload in
                    #expect(String(decoding: subject, as: UTF8.self) == "m\(expected)")
                    #expect(String(decoding: payload, as: UTF8.self) == "m\(expected)")
                    #expect(reply.isEmpty && headers.isEmpty)
                }
                expected += 1
            }
            #expect(pending.count == next - expected)
        }
        while pending.popFirst() != nil { expected += 1 }
        #expect(expected == next && pending.isEmpty && pending.byteCount == 0)
    }

    @Test("is bounded in messages and in bytes")
    func bounds() {
        var pending = PendingMessages()
        #expect(pending.hasRoom(for: 10, messages: 1, bytes: 10))
        #expect(!pending.hasRoom(for: 11, messages: 1, bytes: 10))
        pending.append(message("12345"))
        #expect(!pending.hasRoom(for: 1, messages: 1, bytes: 100))
        #expect(!pending.hasRoom(for: 1, messages: 2, bytes: 10))
        #expect(pending.hasRoom(for: 1, messages: 2, bytes: 11))
    }
}

@Suite("Timers")
struct ServiceTimerTests {
    private let script: Script

    init() throws { script = try Script(path: "a.lua", overrides: PaniniOverrides(), logger: Logger(label: "test")) }

    private func timer(
        _ name: String? = nil,
        interval: UInt64,
        immediate: Bool = true,
        mode: ServiceTimer.Mode = .rate
    ) -> ServiceTimer {
        script.vm.pushString(script.vm.state, "x" as StaticString)
        return ServiceTimer(
            index: 0,
            script: script,
            name: name,
            intervalNanoseconds: interval,
            isImmediate: immediate,
            jitterNanoseconds: 0,
            mode: mode,
            eachWorker: false,
            function: script.vm.makeReference(script.vm.state),
            origin: "a.lua:1"
        )
    }

    @Test("ticks keep their phase, and late ones are skipped")
    func rate() throws {
        let timer = timer(interval: 100)
        #expect(timer.begin(now: 1000) == 1000)
        #expect(timer.advance(now: 1000) == 1100)
        #expect(timer.advance(now: 1105) == 1200)
        #expect(timer.advance(now: 1450) == 1500)
        #expect(timer.skipped == 2)
        // A tick that falls due exactly now is in the past of the next.
        #expect(timer.advance(now: 1600) == 1700)
    }

    @Test("delay counts from the end, immediate = false waits first")
    func delay() throws {
        let timer = timer(interval: 100, immediate: false, mode: .delay)
        #expect(timer.begin(now: 1000) == 1100)
        #expect(timer.restart(now: 1234) == 1334)
    }

    @Test("the next version's timer of the same name, interval and mode keeps the beat")
    func continues() {
        let old = timer("beat", interval: 100)
        _ = old.begin(now: 1000)
        _ = old.advance(now: 1000)
        let next = timer("beat", interval: 100)
        #expect(TimerKey(next) == TimerKey(old))
        #expect(next.begin(after: old, now: 1050) == 1100)
        #expect(next.predecessor == nil)
        for other in [timer("beat", interval: 99), timer(interval: 100), timer("beat", interval: 100, mode: .delay)] {
            #expect(TimerKey(other) != TimerKey(old))
        }
    }

    @Test("a tick that still runs is known to the next version's timer, over two reloads as well")
    func predecessor() {
        let old = timer(interval: 100, mode: .delay)
        _ = old.begin(now: 1000)
        old.isRunning = true
        let next = timer(interval: 100, mode: .delay)
        // Its end says when the next one begins.
        #expect(next.begin(after: old, now: 1050) == nil)
        #expect(old.successor === next && next.predecessor === old)
        let last = timer(interval: 100, mode: .delay)
        #expect(last.begin(after: next, now: 1060) == nil)
        #expect(last.predecessor === old && old.successor === last)
    }
}

@Suite("Time limits")
struct DeadlineListTests {
    @Test("jobs leave from anywhere, and the first is always the earliest")
    func links() throws {
        let script = try Script(path: "a.lua", overrides: PaniniOverrides(), logger: Logger(label: "test"))
        defer { script.close() }
        let owner = ActivityOwner(script: script)
        let list = DeadlineList(nanoseconds: 10)
        let jobs = (0..<6).map { SuspendedRun(activity: Activity(owner, token: UInt($0)), coroutine: UInt64($0)) }
        for (index, job) in jobs.enumerated() { list.append(job, now: UInt64(index)) }
        #expect(list.first === jobs[0] && jobs[3].deadline == 13)
        for (removed, first) in [(0, 1), (2, 1), (1, 3), (5, 3), (3, 4)] {
            list.remove(jobs[removed])
            list.remove(jobs[removed])
            #expect(list.first === jobs[first])
        }
        list.remove(jobs[4])
        #expect(list.first == nil)
        list.append(jobs[2], now: 100)
        #expect(list.first === jobs[2] && jobs[2].deadline == 110)
        list.remove(jobs[2])
    }
}

@Suite("Error replies")
struct ErrorReplyTests {
    @Test(
        "codes of our own calls become the number that says the same",
        arguments: [
            (LuaError.Code.integer(404), 404), (.integer(400), 400), (.integer(599), 599), (.integer(200), 500),
            (.integer(600), 500), (.integer(-1), 500), (.string("timeout"), 504), (.string("no_responders"), 503),
            (.string("disconnected"), 503), (.string("closed"), 503), (.string("too_large"), 500), (.string("x"), 500),
        ]
    )
    func codes(code: LuaError.Code, number: Int) {
        #expect(ReplyError(code: code, message: "m").code == number)
    }

    @Test("a text without a code is 500")
    func noCode() {
        #expect(ReplyError(code: nil, message: "m").code == 500)
    }

    @Test("headers are one line each, and bounded")
    func headers() {
        let text = String(decoding: ErrorReply.headers(ReplyError(404, "no\r\nsuch\u{1} order")), as: UTF8.self)
        #expect(
            text == "NATS/1.0\r\nNats-Service-Error: no such  order\r\nNats-Service-Error-Code: 404\r\n\r\n"
                || text == "NATS/1.0\r\nNats-Service-Error: no  such  order\r\nNats-Service-Error-Code: 404\r\n\r\n"
        )
        let long = ErrorReply.headers(ReplyError(500, String(repeating: "ä", count: 5000)))
        #expect(long.count < 700 && String(validating: long, as: UTF8.self) != nil)
        let empty = String(decoding: ErrorReply.headers(ReplyError(500, "")), as: UTF8.self)
        #expect(empty.contains("Nats-Service-Error: error\r\n"))
    }

    @Test("the body is JSON, whatever the text holds")
    func body() throws {
        let writer = ByteWriter()
        ErrorReply.writeBody(ReplyError(500, "a\"b\\c\nd\te\u{1}ä"), into: writer)
        let value = try PlainValue(json: Array(writer.bytes))
        #expect(
            value
                == .object([
                    ("code", .integer(500)), ("error", .string("a\"b\\c\nd\te\u{1}ä")), ("success", .boolean(false)),
                ])
        )
    }
}
