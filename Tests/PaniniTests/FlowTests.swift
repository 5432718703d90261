// The values behind what waits and what is registered: numbers, names, and error replies that
// must fit.

import Logging
import LuaVM
import NATS
import ScriptRuntime
import Testing

@testable import Panini

@Suite("Numbers and names")
struct NumberTests {
    @Test("the lowest free number is next, whatever was given back in whatever order")
    func lowest() {
        var numbers = NumberPool()
        var taken: Set<Int> = []
        var generator = SystemRandomNumberGenerator()
        for step in 0..<4000 {
            if taken.isEmpty || Int.random(in: 0..<3, using: &generator) > (step / 1000) % 2 {
                let number = numbers.take()
                let lowest = (1...).first { !taken.contains($0) }
                #expect(number == lowest)
                taken.insert(number)
            } else if let number = taken.randomElement() {
                taken.remove(number)
                numbers.giveBack(number)
            }
            #expect(numbers.isUnused() == taken.isEmpty)
        }
    }

    @Test("equal names get numbers, which are free again with them")
    func names() {
        var names = EndpointNames()
        var made = ["a", "a", "b", "a"].map { names.make($0) }
        #expect(made == ["a", "a-2", "b", "a-3"])
        let isFree = names.take("a-4")
        #expect(isFree)
        let isTaken = names.take("b")
        #expect(!isTaken)
        made = [names.make("a")]
        #expect(made == ["a-5"])
        names.giveBack("a-2")
        names.giveBack("a")
        made = [names.make("a"), names.make("a"), names.make("a"), names.make("a-2")]
        #expect(made == ["a", "a-2", "a-6", "a-2-2"])
    }

    @Test("many equal names cost the same each")
    func manyNames() {
        var names = EndpointNames()
        for number in 1...50_000 {
            let name = names.make("room")
            #expect(name == (number == 1 ? "room" : "room-\(number)"))
        }
        for number in (2...50_000).reversed() { names.giveBack("room-\(number)") }
        let again = names.make("room")
        #expect(again == "room-2")
    }
}

@Suite("Error replies that must fit")
struct FittingErrorReplyTests {
    private func write(
        _ error: ReplyError,
        _ limit: Int,
        hasHeaders: Bool = true
    ) throws -> (
        headers: [UInt8], body: PlainValue?, size: Int, isShortened: Bool
    ) {
        let writer = ByteWriter()
        let (headers, isShortened) = ErrorReply.write(error, into: writer, limit: limit, hasHeaders: hasHeaders)
        let body = writer.count == 0 ? nil : try PlainValue(json: Array(writer.bytes))
        return (headers, body, headers.count + writer.count, isShortened)
    }

    private static let list: [UInt8] = {
        let entries = (0..<200).map { "{\"path\":\"/\($0)\",\"message\":\"[no, \\\"such\\\" ,{\\\\]\"}" }
        return Array("[\(entries.joined(separator: ","))]".utf8)
    }()

    @Test("what fits goes out as it is, to the byte")
    func whole() throws {
        var error = ReplyError(422, "many")
        error.errors = Self.list
        let whole = try write(error, .max)
        #expect(!whole.isShortened)
        let exact = try write(error, whole.size)
        #expect(!exact.isShortened && exact.size == whole.size)
        let less = try write(error, whole.size - 1)
        #expect(less.isShortened && less.size < whole.size)
    }

    @Test("every limit is kept, and the reply is JSON with its code", arguments: [true, false])
    func everyLimit(hasHeaders: Bool) throws {
        let texts = ["", "short", String(repeating: "ä\"\n\u{1}x", count: 2000)]
        for text in texts {
            for list in [[], Self.list] {
                var error = ReplyError(418, text)
                error.errors = list
                for limit in Array(120..<400) + stride(from: 400, to: 20_000, by: 397) {
                    let (headers, body, size, _) = try write(error, limit, hasHeaders: hasHeaders)
                    #expect(size <= limit)
                    #expect(headers.isEmpty == !hasHeaders)
                    guard case .object(let members) = body else {
                        Issue.record("no body at \(limit)")
                        continue
                    }
                    #expect(members.contains { $0.0 == "code" && $0.1 == .integer(418) })
                }
            }
        }
    }

    @Test("the end of the list goes first, whole entries only; then the end of the text")
    func parts() throws {
        var error = ReplyError(422, "many")
        error.errors = Self.list
        guard case .object(let members) = try write(error, 3000).body,
            case .array(let items)? = members.first(where: { $0.0 == "errors" })?.1
        else {
            Issue.record("no list")
            return
        }
        #expect(members.contains { $0.0 == "error" && $0.1 == .string("many") })
        #expect(items.count > 40)
        for (number, item) in items.enumerated() {
            #expect(item == .object([("message", .string("[no, \"such\" ,{\\]")), ("path", .string("/\(number)"))]))
        }
        let text = ErrorReply.escapedPrefix(of: "ab\"ä\n", room: 7)
        #expect(text.prefix == "ab\"…" && text.length == 7)
        #expect(ErrorReply.escapedPrefix(of: "ab\"ä\n", room: 8).prefix == "ab\"ä\n")
        #expect(ErrorReply.escapedPrefix(of: "abcdef", room: 2).prefix.isEmpty)
        #expect(ErrorReply.prefix(ofList: Array("[1,[2,3],4]".utf8), room: 10) == Array("[1,[2,3]]".utf8))
        #expect(ErrorReply.prefix(ofList: Array("[12345]".utf8), room: 5).isEmpty)
    }
}

@Suite("What the log says of a slow broker")
struct SlownessReportTests {
    private let second: UInt64 = 1_000_000_000

    @Test("the first time at once, and the end after that")
    func atOnce() {
        var report = SlownessReport()
        let before = report.look(at: 5 * second)
        #expect(before == nil && report.next == nil)
        report.begin(at: 5 * second)
        let told = report.look(at: 5 * second)
        #expect(told == 0 && report.next == 35 * second)
        let isTold = report.end()
        #expect(isTold && report.next == nil)
    }

    @Test("a second time within the interval only when it lasts")
    func later() {
        var report = SlownessReport()
        report.begin(at: 5 * second)
        _ = report.look(at: 5 * second)
        _ = report.end()
        // A short one: no line, and none about its end.
        report.begin(at: 7 * second)
        let short = report.look(at: 7 * second)
        let shortEnd = report.end()
        #expect(short == nil && !shortEnd)
        // A long one: told when the interval is over, and again after each further one.
        report.begin(at: 10 * second)
        let early = report.look(at: 10 * second)
        #expect(early == nil && report.next == 35 * second)
        let told = report.look(at: 35 * second)
        #expect(told == 25 * second && report.next == 65 * second)
        let again = report.look(at: 65 * second)
        #expect(again == 55 * second)
        let isTold = report.end()
        #expect(isTold)
    }

    @Test("nothing is said of a connection that is gone")
    func gone() {
        var report = SlownessReport()
        report.begin(at: 5 * second)
        _ = report.look(at: 5 * second)
        report.forget()
        let isTold = report.end()
        let none = report.look(at: 90 * second)
        #expect(!isTold && none == nil && report.next == nil)
    }
}
