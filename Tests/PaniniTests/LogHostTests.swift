// Log files from an embedder's side, and the codes of what is wrong with their configuration.

import Foundation
import Logging
import NATSBroker
import NIOPosix
import PaniniObservability
import ScriptRuntime
import Testing

@testable import Panini

private func folder(_ files: [String: String]) throws -> String {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("panini-\(UUID().uuidString)")
    for (name, text) in files {
        let file = folder.appendingPathComponent(name)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try text.write(to: file, atomically: true, encoding: .utf8)
    }
    return folder.path
}

private func messages(_ path: String) throws -> [String] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
        let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        return object?["message"] as? String ?? ""
    }
}

@Suite("Host logs")
struct LogHostTests {
    @Test("an embedder's records and its services' are in the same files")
    func embedder() async throws {
        let script = """
            local app = panini.app{ service_name = "shop" }
            app.on_start_task(function() app.logger.info("from Lua", { id = 7 }) end)
            app.on_stop(function() print("the end") end)
            """
        let folder = try folder(["shop.lua": script])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var free = EmbeddedBroker.Configuration()
        free.port = 0
        let broker = try await EmbeddedBroker.start(
            configuration: free,
            group: MultiThreadedEventLoopGroup.singleton,
            logger: quiet
        )
        // The console of this test is nobody's.
        let null = open("/dev/null", O_WRONLY)
        defer { close(null) }
        let logs = PaniniLogs(descriptor: null)
        var overrides = PaniniOverrides()
        overrides.set("servers", texts: [broker.url], origin: "test")
        var configuration = PaniniHostConfiguration(scripts: ["\(folder)/shop.lua"], overrides: overrides)
        configuration.logs = logs
        let logger = Logger(label: "embedder") { logs.makeHandler(label: $0) }
        let (ready, signal) = AsyncStream<Void>.makeStream()
        let host = PaniniHost(configuration: configuration, logger: logger) { _ in
            logger.info("from Swift")
            signal.finish()
        }
        let running = Task {
            defer { signal.finish() }
            try await host.run()
        }
        for await _ in ready {}
        host.stop()
        try await running.value
        logs.shutdown()
        await broker.stop()
        let own = try messages("\(folder)/logs/shop.log")
        #expect(own.contains("from Lua") && own.contains("the end") && !own.contains("from Swift"))
        let all = try messages("\(folder)/logs/app.log")
        #expect(all.contains("from Lua") && all.contains("the end") && all.contains("from Swift"))
        #expect(logs.dropped == 0 && logs.lost == 0)
    }

    @Test("without logs a host opens no files, and everything goes to its logger")
    func noLogs() throws {
        let folder = try folder(["shop.lua": "panini.app{ service_name = \"shop\" }"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        _ = try PaniniCheck.check(path: "\(folder)/shop.lua", logger: quiet)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["shop.lua"])
    }

    @Test("a wrong configuration file has a code of its own, and names the file")
    func wrongConfiguration() throws {
        let script = "panini.app{ service_name = \"shop\" }"
        for text in ["", "{", "[]1", #"{"handlers": 1}"#, #"{"root": {"level": "LOUD"}}"#] {
            let folder = try folder(["shop.lua": script, "config/log_config.json": text])
            defer { try? FileManager.default.removeItem(atPath: folder) }
            let error = #expect(throws: PaniniError.self) {
                try PaniniCheck.check(path: "\(folder)/shop.lua", logger: quiet)
            }
            #expect(error?.code == .logConfiguration)
            #expect(error?.message.hasPrefix("\(folder)/config/log_config.json: ") == true)
        }
        let folder = try folder(["shop.lua": script, "config/log_config.json/x": ""])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let error = #expect(throws: PaniniError.self) {
            try PaniniCheck.check(path: "\(folder)/shop.lua", logger: quiet)
        }
        #expect(error?.code == .logConfiguration)
    }
}

@Suite("Log configuration")
struct LogConfigurationTests {
    private func path(_ name: String) throws -> String {
        let names = LogConfiguration.Names(service: "shop", client: "box/../1", time: "2026-11-24_10-30-00")
        return try LogConfiguration(path: "log_config.json", folder: "/logs", names: names)
            .filePath(.string(name), "handlers.h.filename")
    }

    @Test("file names stay inside the folder unless they are absolute")
    func names() throws {
        #expect(try path("a.log") == "/logs/a.log")
        #expect(try path("sub/a..log") == "/logs/sub/a..log")
        #expect(try path("/var/log/a.log") == "/var/log/a.log")
        #expect(try path("%MS_NAME%-%DATETIME%.log") == "/logs/shop-2026-11-24_10-30-00.log")
        // A name is one part of a path, whatever it is made of.
        #expect(try path("%CLIENT_ID%") == "/logs/box_.._1")
        #expect(try path("100%.log") == "/logs/100%.log")
        #expect(try path("%%MS_NAME%") == "/logs/%shop")
    }

    @Test(
        "names that lead elsewhere are refused",
        arguments: ["", "..", "../a", "a/../b", "a/..", "a/", "a\0b", "a\nb", "%NAME%", "%ms%/../../a"]
    )
    func refused(_ name: String) {
        #expect(throws: OptionError.self) { try path(name) }
    }
}
