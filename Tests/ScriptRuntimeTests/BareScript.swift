// Owns: a script with nothing around it: no service, no broker, no web server, no feature but those of a test.

import Logging
import LuaVM

@testable import ScriptRuntime

/// No file is there.
struct NoFiles: ModuleFiles {
    func exists(_ path: String) -> Bool { false }

    func read(_ path: String, maximum: Int) throws(FileError) -> [UInt8] {
        throw FileError(message: "\(path): no such file")
    }
}

extension Script {
    static func bare(features: [ScriptFeature.Type] = []) throws -> Script {
        var place = ScriptPlace()
        place.features = features
        let script = try Script(
            path: "test.lua",
            settings: ScriptSettings(modules: ModuleSettings(files: NoFiles())),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            place: place
        )
        script.phase = .live
        return script
    }

    /// Keeps a function of the text.
    func function(_ text: String) throws -> LuaReference { try vm.load(text, path: path) }
}
