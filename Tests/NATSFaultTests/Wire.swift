// Reads what a client sent, strictly: whole commands as the protocol has them, nothing else. For looking at recordings.

import Testing

/// One command of a client.
enum WireCommand: Equatable {
    case connect(String)
    case ping
    case pong
    case subscribe(subject: String, queue: String?, sid: Int)
    case unsubscribe(sid: Int, maximum: Int?)
    case publish(subject: String, reply: String?, headers: [UInt8], payload: [UInt8])
}

/// The commands on one connection.
struct Wire {
    private(set) var commands: [WireCommand] = []
    /// What stands behind the last whole command: the beginning of one that was cut.
    private(set) var rest: ArraySlice<UInt8>
    /// What is not a command, nil when everything is one.
    private(set) var fault: String?

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
        while fault == nil, let command = next() {
            commands.append(command)
        }
        // The beginning of a command must be one, too.
        let head = rest.prefix { $0 != 32 && $0 != 13 }
        let names = ["CONNECT", "PING", "PONG", "SUB", "UNSUB", "PUB", "HPUB"]
        if fault == nil, !names.contains(where: { $0.utf8.starts(with: head) }) {
            fault = "the rest begins with \(String(decoding: rest.prefix(40), as: UTF8.self))"
        }
    }

    /// The numbers that were published as payloads to `subject`.
    func numbers(to subject: String) -> [Int] {
        commands.compactMap { command in
            guard case .publish(subject, _, _, let payload) = command else { return nil }
            return Int(String(decoding: payload, as: UTF8.self))
        }
    }

    func count(where matches: (WireCommand) -> Bool) -> Int {
        commands.count(where: matches)
    }

    /// Nil at the end, or at a fault, with `rest` where it was.
    private mutating func next() -> WireCommand? {
        guard let end = rest.indices.first(where: { rest[$0...].starts(with: [13, 10]) }) else { return nil }
        let line = String(decoding: rest[..<end], as: UTF8.self)
        let words = line.split(separator: " ").map(String.init)
        var after = rest[(end + 2)...]
        var command: WireCommand?
        switch (words.first, words.count) {
        case ("CONNECT", _) where line.hasPrefix("CONNECT {") && line.hasSuffix("}"): command = .connect(line)
        case ("PING", 1): command = .ping
        case ("PONG", 1): command = .pong
        case ("SUB", 3...4):
            if let sid = Int(words.last ?? "") {
                command = .subscribe(subject: words[1], queue: words.count == 4 ? words[2] : nil, sid: sid)
            }
        case ("UNSUB", 2...3):
            if let sid = Int(words[1]), words.count == 2 || Int(words[2]) != nil {
                command = .unsubscribe(sid: sid, maximum: words.count == 3 ? Int(words[2]) : nil)
            }
        case ("PUB", 3...4), ("HPUB", 4...5):
            let hasHeaders = words[0] == "HPUB"
            guard let total = Int(words[words.count - 1]),
                let headers = hasHeaders ? Int(words[words.count - 2]) : 0, headers <= total
            else { break }
            guard after.count >= total + 2 else { return nil }
            let body = after.prefix(total)
            guard after.dropFirst(total).prefix(2).elementsEqual([13, 10]) else { break }
            after = after.dropFirst(total + 2)
            command = .publish(
                subject: words[1],
                reply: words.count == (hasHeaders ? 5 : 4) ? words[2] : nil,
                headers: Array(body.prefix(headers)),
                payload: Array(body.dropFirst(headers))
            )
        default: break
        }
        guard let command else {
            fault = "not a command: \(line.prefix(120))"
            return nil
        }
        rest = after
        return command
    }
}

/// Parses each connection; every byte must belong to a command, and only the last command of a connection that was cut
/// may be incomplete.
func wires(_ recordings: [[UInt8]], sourceLocation: SourceLocation = #_sourceLocation) -> [Wire] {
    recordings.map { bytes in
        let wire = Wire(bytes)
        #expect(wire.fault == nil, sourceLocation: sourceLocation)
        return wire
    }
}
