// Owns: running a test file written in Lua against services: brings a broker, runs the services on one host and the tests
// as a service of their own on another, and collects what they report. Any thread.

public import Logging
import LuaVM
public import Panini
import Synchronization

/// Tests in Lua, as `panini test` runs them.
///
/// ```lua
/// test("greets by name", function(t)
///     t.equal(t.request("greet", { name = "Ada" }), { message = "Hello, Ada!" })
/// end)
/// ```
public struct PaniniScriptTest: Sendable {
    /// How one test ended.
    public struct Outcome: Sendable, Equatable {
        /// What the test is called.
        public let name: String
        /// Why it failed, with file and line; nil when it passed or was skipped.
        public let failure: String?
        /// Why it was skipped; nil when it ran.
        public let skipped: String?
        /// How long it took.
        public let seconds: Double
    }

    /// The test file.
    public var path: String
    /// The scripts of the services under test.
    public var services: [String]
    /// Options for the services, from outside.
    public var overrides = PaniniOverrides()
    /// Only tests whose name contains this text.
    public var filter: String?
    /// Seconds that one test may take.
    public var timeout = 10.0
    /// Changes the services' host before it is made: modules and middlewares in Swift.
    public var configure: @Sendable (inout PaniniHostConfiguration) -> Void = { _ in }

    /// Prepares a test file.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - services: The scripts of the services under test.
    public init(path: String, services: [String]) {
        self.path = path
        self.services = services
    }

    /// Runs the tests of the file, one after another.
    ///
    /// - Parameters:
    ///   - logger: Where the services and the tests log.
    ///   - report: Called for each test as it ends, on the thread of the tests.
    /// - Returns: How each test ended, in the order of the file.
    /// - Throws: ``PaniniError`` when a service or the test file does not load or start, or a service does not end in order.
    public func run(
        logger: Logger,
        report: @escaping @Sendable (Outcome) -> Void = { _ in }
    ) async throws -> [Outcome] {
        let source = try readText(path)
        let broker = try await PaniniTestBroker.start(logger: logger)
        do {
            let outcomes = try await run(source, on: broker, logger: logger, report)
            await broker.stop()
            return outcomes
        } catch {
            await broker.stop()
            throw error
        }
    }

    private func run(
        _ source: [UInt8],
        on broker: PaniniTestBroker,
        logger: Logger,
        _ report: @escaping @Sendable (Outcome) -> Void
    ) async throws -> [Outcome] {
        var configuration = PaniniHostConfiguration(scripts: services, overrides: overrides)
        configuration.isStrict = true
        configure(&configuration)
        configuration.overrides.useOnly(broker: broker.url, origin: "the test's broker")
        let services = configuration.scripts.isEmpty ? nil : try await RunningHost.start(configuration, logger: logger)
        let outcomes: Result<[Outcome], any Error>
        do {
            outcomes = .success(try await runTests(source, on: broker, logger: logger, report))
        } catch {
            outcomes = .failure(error)
        }
        let end = await services?.stop()
        let result = try outcomes.get()
        if let end { throw end }
        return result
    }

    private func runTests(
        _ source: [UInt8],
        on broker: PaniniTestBroker,
        logger: Logger,
        _ report: @escaping @Sendable (Outcome) -> Void
    ) async throws -> [Outcome] {
        let folder = self.path.lastIndex(of: "/").map { String(self.path[...$0]) } ?? ""
        let runner = folder + "(panini test)"
        var overrides = PaniniOverrides()
        overrides.useOnly(broker: broker.url, origin: "the test's broker")
        var configuration = PaniniHostConfiguration(scripts: [runner], overrides: overrides)
        configuration.texts[runner] = TestRunner.source
        let outcomes = Mutex<[Outcome]>([])
        let (ended, end) = AsyncStream<Void>.makeStream()
        let (path, filter, timeout) = (path, filter ?? "", timeout)
        configuration.module("panini.test") { module in
            module.constant("path", path)
            module.constant("source", source)
            module.constant("filter", filter)
            module.constant("timeout", timeout)
            module.function("report") { (name: String, failure: String?, skipped: String?, seconds: Double) in
                let outcome = Outcome(name: name, failure: failure, skipped: skipped, seconds: seconds)
                outcomes.withLock { $0.append(outcome) }
                report(outcome)
            }
            module.function("finish") { () in
                end.yield()
                end.finish()
            }
        }
        let tests = try await RunningHost.start(configuration, logger: logger)
        // The host ends by itself when the runner fails: then nobody calls finish.
        let watch = Task {
            _ = await tests.end()
            end.finish()
        }
        for await _ in ended { break }
        let problem = await tests.stop()
        await watch.value
        if let problem { throw problem }
        return outcomes.withLock { $0 }
    }

    private func readText(_ path: String) throws(PaniniError) -> [UInt8] {
        try readBytes(path, maximum: 16 << 20)
    }
}
