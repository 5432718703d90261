// Owns: the servers, which one to try next, and when. Servers come from the configuration (seeds) and from what servers tell of
// their cluster (discovered). A value without clock, I/O or randomness of its own, so tests see every decision.

import Bytes
import NATSProtocol
import NIOCore

/// Walks the servers: one after the other without a wait, then a wait after each lap, growing from lap to lap up to a
/// maximum. The server in use, or the one being tried, is the first.
struct ServerPool {
    struct Settings: Sendable {
        /// How often a server may fail in a row before it is dropped; negative without limit.
        var maximumAttempts = -1
        var wait = TimeAmount.seconds(2)
        var maximumWait = TimeAmount.seconds(8)
        var jitter = TimeAmount.zero
        /// Instead of the growing wait: asked with the number of laps, from 1.
        var delay: (@Sendable (Int) -> TimeAmount)?
        var isRandomized = false
        /// How many servers that are not configured are kept.
        var maximumDiscovered = 128
    }

    /// What came of a server's words about its cluster.
    struct Discovery: Equatable {
        /// The servers that were never heard of before, as `host:port`.
        var news: [String] = []
        /// How many were left out: beyond the limit, or no addresses.
        var ignored = 0
    }

    /// The longest name that DNS has.
    static let maximumHostLength = 253

    struct Server: Hashable {
        let address: NATSServerAddress
        /// Not configured: leaves again when the cluster does not name it any more.
        var isDiscovered = false
        /// Failures since the last success.
        var attempts = 0
        var isTriedInLap = false
        /// Since when it has refused the credentials, nil when it did not the last time.
        var refusedSince: NIODeadline?
    }

    enum Decision: Equatable {
        case connect(after: TimeAmount)
        /// Every server was dropped.
        case giveUp
    }

    private let settings: Settings
    private(set) var servers: [Server]
    /// The name that certificates of servers known by their IP address carry, unless a seed's own address has one.
    private let tlsName: String?
    /// Whom `Discovery.news` has told of. Forgets all but the present ones when there are too many of them.
    private var announced: Set<ExactText> = []
    /// How many servers failed since the last success.
    private(set) var failures = 0
    /// How many laps over all servers have failed since the last success.
    private(set) var laps = 0
    /// How many connections in a row were lost right after they were made.
    private var shortLives = 0

    /// A connection that was lost sooner was never of use.
    static let shortLife = TimeAmount.milliseconds(250)
    /// The pause before the second of such attempts, which doubles up to ``longestRest``, whatever the settings' wait is.
    static let shortestRest = TimeAmount.milliseconds(50)
    static let longestRest = TimeAmount.milliseconds(800)

    init(_ seeds: [NATSServerAddress], _ settings: Settings, using generator: inout some RandomNumberGenerator) {
        self.settings = settings
        tlsName = seeds.lazy.compactMap { $0.tlsName ?? (isIPAddress($0.host) ? nil : $0.host) }.first
        var seen: Set<ExactText> = []
        servers = seeds.filter { seen.insert($0.key).inserted }.map { Server(address: $0) }
        announced = seen
        if settings.isRandomized {
            servers.shuffle(using: &generator)
        }
    }

    /// How many names are remembered as told; for tests of the bound.
    var announcedCount: Int { announced.count }

    /// The server in use or being tried; nil when all were dropped.
    var current: NATSServerAddress? { servers.first?.address }

    /// Whom to turn to when the current server asks its clients to leave, best first.
    var others: [NATSServerAddress] { servers.dropFirst().map(\.address) }

    // MARK: - Attempts

    /// The current server could not be used.
    mutating func failed(using generator: inout some RandomNumberGenerator) -> Decision {
        guard !servers.isEmpty else { return .giveUp }
        failures += 1
        var server = servers.removeFirst()
        server.attempts += 1
        server.isTriedInLap = true
        if settings.maximumAttempts < 0 || server.attempts < settings.maximumAttempts {
            servers.append(server)
        }
        if let next = servers.firstIndex(where: { !$0.isTriedInLap }) {
            servers.insert(servers.remove(at: next), at: 0)
            return .connect(after: .zero)
        }
        laps += 1
        if servers.isEmpty { return .giveUp }
        for index in servers.indices {
            servers[index].isTriedInLap = false
        }
        let pause = wait(lap: laps, using: &generator)
        // Without a wait of its own it would knock as often as the system lets it.
        return .connect(after: settings.wait == .zero && settings.delay == nil ? max(pause, rest(laps)) : pause)
    }

    /// An established connection was lost: the others come first now, in a new order, so that the clients of a server
    /// that died do not all turn to the same one. The first try comes at once, unless the connection had hardly lived:
    /// servers that accept and drop clients must not be hammered.
    ///
    /// - Parameter lived: nil when the client itself gave the connection up.
    mutating func disconnected(lived: TimeAmount?, using generator: inout some RandomNumberGenerator) -> Decision {
        if settings.maximumAttempts == 0 || servers.isEmpty { return .giveUp }
        let last = servers.removeFirst()
        if settings.isRandomized {
            servers.shuffle(using: &generator)
        }
        servers.append(last)
        guard let lived else {
            restart()
            shortLives = 0
            return .connect(after: .zero)
        }
        shortLives = lived < Self.shortLife ? min(shortLives + 1, 16) : 0
        let pause = lived < settings.wait ? wait(lap: 1, using: &generator) : .zero
        return .connect(after: max(pause, rest(shortLives)))
    }

    /// The least pause after so many attempts that were good for nothing: none after the first.
    private func rest(_ attempts: Int) -> TimeAmount {
        guard attempts > 1 else { return .zero }
        let grown = Self.shortestRest.nanoseconds << Int64(min(attempts - 2, 16))
        return .nanoseconds(min(grown, Self.longestRest.nanoseconds, max(0, settings.maximumWait.nanoseconds)))
    }

    /// A handshake succeeded: what failed before is forgotten.
    mutating func succeeded() {
        restart()
    }

    /// Waits and counts begin anew, as after a success.
    mutating func restart() {
        failures = 0
        laps = 0
        for index in servers.indices {
            servers[index].attempts = 0
            servers[index].isTriedInLap = false
            servers[index].refusedSince = nil
        }
    }

    /// The current server refused the credentials. Before `failed` or `disconnected`.
    ///
    /// - Returns: for how long it has done so.
    mutating func authorizationFailed(at now: NIODeadline) -> TimeAmount {
        guard !servers.isEmpty else { return .zero }
        let since = servers[0].refusedSince ?? now
        servers[0].refusedSince = since
        return now - since
    }

    /// How much of `time`, for which a server may refuse the credentials, the current one has left.
    ///
    /// - Returns: nil when it did not refuse them the last time.
    func authorizationTimeLeft(of time: TimeAmount, at now: NIODeadline) -> TimeAmount? {
        guard let since = servers.first?.refusedSince else { return nil }
        return max(.zero, time - (now - since))
    }

    /// The current server could not be used for another reason.
    mutating func authorizationDidNotFail() {
        guard !servers.isEmpty else { return }
        servers[0].refusedSince = nil
    }

    /// A connection to `address`, one of `others`, took the place of the current one, whose server comes last now.
    mutating func moved(to address: NATSServerAddress) {
        guard let index = servers.firstIndex(where: { $0.address == address }), index > 0 else { return }
        let left = servers.removeFirst()
        servers.insert(servers.remove(at: index - 1), at: 0)
        servers.append(left)
    }

    private func wait(lap: Int, using generator: inout some RandomNumberGenerator) -> TimeAmount {
        if let delay = settings.delay { return delay(lap) }
        let doublings = min(max(lap - 1, 0), 16)
        let (product, overflow) = settings.wait.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let grown = overflow ? settings.maximumWait.nanoseconds : product
        let bounded = max(settings.wait.nanoseconds, min(grown, settings.maximumWait.nanoseconds))
        let random = Double.random(in: 0..<1, using: &generator)
        return .nanoseconds(bounded + Int64(Double(settings.jitter.nanoseconds) * random))
    }

    // MARK: - Discovery

    /// Takes over what a server says of its cluster; an empty list says nothing.
    mutating func discovered(
        _ texts: [String],
        using generator: inout some RandomNumberGenerator
    ) -> Discovery {
        var discovery = Discovery()
        guard !texts.isEmpty, let current else { return discovery }
        var known = Set(servers.lazy.filter { !$0.isDiscovered }.map(\.address.key))
        var listed: Set<ExactText> = []
        var found: [NATSServerAddress] = []
        for (index, text) in texts.enumerated() {
            // What is no address costs time, too.
            guard listed.count < settings.maximumDiscovered, index < 8 * settings.maximumDiscovered else {
                discovery.ignored += texts.count - index
                break
            }
            guard let address = discoveredAddress(text, like: current) else {
                discovery.ignored += 1
                continue
            }
            if !known.contains(address.key), listed.insert(address.key).inserted { found.append(address) }
        }
        servers = servers.enumerated().filter { index, server in
            index == 0 || !server.isDiscovered || listed.contains(server.address.key)
        }.map(\.element)
        known = Set(servers.map(\.address.key))
        for address in found {
            if known.insert(address.key).inserted {
                let place = settings.isRandomized ? Int.random(in: 1...servers.count, using: &generator) : servers.count
                servers.insert(Server(address: address, isDiscovered: true), at: place)
            }
            if announced.insert(address.key).inserted {
                discovery.news.append("\(address)")
            }
        }
        if announced.count > servers.count + 8 * settings.maximumDiscovered {
            announced = known
        }
        return discovery
    }

    /// A server known as `host:port` only, spoken to as the one that told of it; nil when it is no address.
    private func discoveredAddress(_ text: String, like current: NATSServerAddress) -> NATSServerAddress? {
        guard var address = try? NATSServerAddress(parsing: text),
            address.host.utf8.count <= Self.maximumHostLength
        else { return nil }
        address.scheme = current.scheme
        address.path = current.path
        address.user = current.user
        address.password = current.password
        if isIPAddress(address.host) {
            address.tlsName = current.tlsName ?? (isIPAddress(current.host) ? nil : current.host) ?? tlsName
        }
        return address
    }
}

/// Two pools are equal when they have come equally far; the settings are not looked at, since they never change, nor is how long
/// the next pause will be.
extension ServerPool: Hashable {
    static func == (one: ServerPool, other: ServerPool) -> Bool {
        one.servers == other.servers && one.announced == other.announced && one.failures == other.failures
            && one.laps == other.laps
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(servers)
        hasher.combine(failures)
        hasher.combine(laps)
    }
}

extension NATSServerAddress {
    /// What makes two addresses the same server.
    fileprivate var key: ExactText { ExactText("\(host.inLowerASCII):\(port)") }
}
