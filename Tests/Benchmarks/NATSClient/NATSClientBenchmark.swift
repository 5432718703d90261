// The client benchmark's program in Swift: publishes or receives 16-byte messages with NATSClient as its documentation
// shows it, and prints one JSON object. Run by scripts/bench-client; its twin in Go lies in scripts/bench.d/client.

import Glibc
import NATS
import Synchronization

private let subject = "bench.client"

/// Prints a line at once: who reads it waits for it.
private func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// The wall clock, the process's CPU clock, and what was allocated so far, if somebody counts.
private struct Moment {
    let wall: Double
    let cpu: Double
    let allocations: UInt64?

    init() {
        wall = Self.read(CLOCK_MONOTONIC)
        cpu = Self.read(CLOCK_PROCESS_CPUTIME_ID)
        allocations = Self.counter.map { $0() }
    }

    private static func read(_ clock: clockid_t) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
    }

    private static let counter: (@Sendable @convention(c) () -> UInt64)? = dlsym(nil, "bench_allocations").map {
        unsafeBitCast($0, to: (@Sendable @convention(c) () -> UInt64).self)
    }

    func report(_ count: Int, to end: Moment) {
        var text = "{\"messages\":\(count),\"seconds\":\((end.wall - wall) / 1e9),\"cpu_ns\":\(Int(end.cpu - cpu))"
        if let before = allocations, let after = end.allocations {
            text += ",\"allocations\":\(after - before)"
        }
        say(text + "}")
    }
}

/// What the callback counts.
private final class Seen: Sendable {
    let count = Atomic<Int>(0)
    let first = Mutex<Moment?>(nil)
}

@main
enum NATSClientBenchmark {
    static func main() async throws {
        guard CommandLine.arguments.count == 3, let count = Int(CommandLine.arguments[2]),
            let url = getenv("NATS_URL").map({ String(cString: $0) })
        else { fatalError("usage: NATS_URL=... NATSClientBenchmark publish|receive|stream COUNT") }
        let client = try await NATSClient.connect(to: url)
        switch CommandLine.arguments[1] {
        case "publish": try await publish(client, count)
        case "receive": try await receive(client, count)
        case "stream": try await stream(client, count)
        default: fatalError("unknown: \(CommandLine.arguments[1])")
        }
        await client.close()
    }

    private static func publish(_ client: NATSClient, _ count: Int) async throws {
        try await send(client, count / 10)
        let begin = Moment()
        try await send(client, count)
        begin.report(count, to: Moment())
    }

    private static func send(_ client: NATSClient, _ count: Int) async throws {
        let payload = Array("0123456789abcdef".utf8)
        var left = count
        while left > 0 {
            left = try publish(left, of: payload, client)
            // Either done, or faster than the server reads.
            try await client.flush()
        }
    }

    /// Publishes until all is said or the buffer is full; returns how many are left.
    private static func publish(_ count: Int, of payload: [UInt8], _ client: NATSClient) throws(NATSError) -> Int {
        for number in 0..<count {
            do throws(NATSError) {
                try client.publish(payload, to: subject)
            } catch {
                guard error.code == .bufferExceeded else { throw error }
                return count - number
            }
        }
        return 0
    }

    private static func receive(_ client: NATSClient, _ count: Int) async throws {
        let seen = Seen()
        let (ends, continuation) = AsyncStream.makeStream(of: Void.self)
        _ = try await client.subscribe(subject) { _ in
            let number = seen.count.wrappingAdd(1, ordering: .relaxed).newValue
            if number == count / 10 {
                seen.first.withLock { $0 = Moment() }
            } else if number == count {
                continuation.yield()
            }
        }
        try await client.flush()
        say("ready")
        for await _ in ends { break }
        seen.first.withLock { $0?.report(count - count / 10, to: Moment()) }
    }

    private static func stream(_ client: NATSClient, _ count: Int) async throws {
        let messages = try await client.subscribe(subject, bufferLimit: .max, byteLimit: .max)
        try await client.flush()
        say("ready")
        var seen = 0
        var begin: Moment?
        for try await _ in messages {
            seen += 1
            if seen == count / 10 {
                begin = Moment()
            } else if seen == count {
                begin?.report(count - count / 10, to: Moment())
                break
            }
        }
    }
}
