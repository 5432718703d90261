// Owns: finding the scripts of a folder: of the command line, or of a bundle's resources. Blocks; before a host runs.

import Glibc
import ScriptRuntime

extension PaniniHostConfiguration {
    /// Adds the scripts of a folder: every `*.lua` in it that is no test, in the order of their names.
    ///
    /// Those that make no app are modules of the others, and are left out when the host starts. A bundle's resources are such
    /// a folder:
    ///
    /// ```swift
    /// try configuration.addScripts(in: Bundle.module.resourcePath! + "/Scripts")
    /// ```
    ///
    /// - Parameter folder: The folder's path.
    /// - Throws: ``PaniniError`` with the code `script_not_found` when it is no folder, or has no scripts.
    public mutating func addScripts(in folder: String) throws(PaniniError) {
        guard let found = Self.scripts(in: folder) else {
            throw PaniniError(
                code: .scriptNotFound,
                message: "\(folder): \(access(folder, F_OK) == 0 ? "is no folder" : "no such folder")"
            )
        }
        guard !found.isEmpty else {
            throw PaniniError(code: .scriptNotFound, message: "\(folder): no scripts (*.lua) in this folder")
        }
        scripts += found
        optionalScripts.formUnion(found)
    }

    /// The scripts of a folder, in order; nil when it is none.
    package static func scripts(in path: String) -> [String]? {
        guard let folder = opendir(path) else { return nil }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".lua"), !name.hasPrefix("."), !isTest(name) { names.append(name) }
        }
        let base = path.hasSuffix("/") ? path : path + "/"
        return names.sorted().map { base + $0 }
    }

    /// The first two of the scripts that are one file, whatever their paths look like; nil when there are none.
    package static func repetition(in scripts: [String]) -> (first: String, again: String)? {
        var paths: [[UInt8]: String] = [:]
        for script in scripts {
            // What is not there is told by whoever loads it.
            guard let place = realPath(script), let first = paths.updateValue(script, forKey: place) else { continue }
            return (first, script)
        }
        return nil
    }

    /// Whether a file's name is that of a test: `orders_test.lua`.
    package static func isTest(_ name: String) -> Bool { name.hasSuffix("_test.lua") }
}
