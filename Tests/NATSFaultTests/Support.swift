// What the fault tests share: clients that come back fast, what a client has told, waiting with a deadline, and what the
// process holds.

import Foundation
import Glibc
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import NATS

enum Faults {
    static let logger = Logger(label: "faults") { _ in SwiftLogNoOpLogHandler() }

    /// Settings for quick returns, with times that a busy machine can keep.
    static func configuration(
        _ port: Int,
        _ change: (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) -> NATSConnectionConfiguration {
        var configuration = NATSConnectionConfiguration(servers: [NATSServerAddress(host: "127.0.0.1", port: port)])
        configuration.connectTimeout = .seconds(20)
        configuration.reconnectWait = .milliseconds(20)
        configuration.reconnectWaitMaximum = .milliseconds(50)
        configuration.reconnectJitter = .milliseconds(5)
        change(&configuration)
        return configuration
    }

    static func connect(
        _ port: Int,
        _ change: (inout NATSConnectionConfiguration) -> Void = { _ in }
    ) async throws -> NATSClient {
        try await NATSClient.connect(configuration(port, change), logger: logger)
    }

    /// Waits until the connection works, whatever happened to it before.
    static func flush(_ client: NATSClient, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await until("the connection works", sourceLocation: sourceLocation) {
            (try? await client.flush(timeout: .seconds(20))) != nil
        }
    }

    /// How many requests wait for a reply.
    static func pendingRequests(_ client: NATSClient) async throws -> Int {
        try await client.eventLoop.submit { client.bound.value.connection.pendingRequests }.get()
    }

    /// How many flushes and barriers wait for a PONG.
    static func waitingPongs(_ client: NATSClient) async throws -> Int {
        try await client.eventLoop.submit { client.bound.value.connection.pongs.count }.get()
    }

    /// The error `body` throws; nil when it throws none.
    static func code(_ body: () async throws(NATSError) -> Void) async -> NATSError.Code? {
        do throws(NATSError) {
            try await body()
            return nil
        } catch {
            return error.code
        }
    }

    /// Open descriptors of this process.
    static func descriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    /// What this process keeps in memory, in bytes.
    static func residentBytes() throws -> Int {
        let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
        return (Int(fields[1]) ?? 0) * sysconf(Int32(_SC_PAGESIZE))
    }
}

/// Waits until `condition` holds; a minute is what only something broken needs.
func until(
    _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(2))
    }
    Issue.record("not within a minute: \(what)", sourceLocation: sourceLocation)
    throw CancellationError()
}

/// Writes down a client's events with their times, from its making to the client's end.
final class EventDiary: Sendable {
    private let entries = NIOLockedValueBox<[(event: NATSEvent, time: ContinuousClock.Instant)]>([])

    init(_ client: NATSClient) {
        let events = client.events
        Task { [entries] in
            for await event in events {
                let now = ContinuousClock.now
                entries.withLockedValue { $0.append((event, now)) }
            }
        }
    }

    var events: [NATSEvent] { entries.withLockedValue { $0.map(\.event) } }

    /// Each loss: why, and when.
    var losses: [(code: NATSError.Code?, time: ContinuousClock.Instant)] {
        entries.withLockedValue { entries in
            entries.compactMap { entry in
                guard case .disconnected(let error) = entry.event else { return nil }
                return (error?.code, entry.time)
            }
        }
    }

    var reconnects: Int {
        events.count { if case .reconnected = $0 { true } else { false } }
    }

    /// The error the client ended with; nil as long as it has not.
    var end: NATSError.Code? {
        events.lazy.compactMap { event in
            guard case .closed(let error) = event else { return nil }
            return error?.code
        }.first
    }
}

/// Numbers or texts that callbacks collect.
final class Collected<Element: Sendable>: Sendable {
    private let values = NIOLockedValueBox<[Element]>([])

    func append(_ value: Element) {
        values.withLockedValue { $0.append(value) }
    }

    var all: [Element] { values.withLockedValue { $0 } }
    var count: Int { values.withLockedValue { $0.count } }
}
