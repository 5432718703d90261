// Owns: where the modules of a script may lie, and which file a name is. A value; worker's thread. Checks work on bytes, and on
// paths without dots and, for untrusted scripts, without links.

import Bytes
import Glibc
package import LuaVM

/// The folders of a script's modules.
package struct ModuleSearch {
    /// The largest script or module accepted, in bytes.
    package static let maximumScriptBytes = 16 << 20

    /// What `require` and `package.searchpath` look at of `package.path`; a script may make it as long as it likes.
    package static let mostTemplates = 200

    /// The script's folder, as its path has it.
    private let directory: String
    private let settings: ModuleSettings
    /// The folders that modules may come from, plain and absolute.
    private var folders: [String] = []
    /// What `package.path` begins with: the script's own folder, its tree of LuaRocks, and what was given outside.
    package private(set) var templates = [
        "./?.lua", "./?/init.lua", "./lua_modules/share/lua/5.4/?.lua", "./lua_modules/share/lua/5.4/?/init.lua",
    ]

    package init(directory: String, settings: ModuleSettings) {
        self.directory = directory
        self.settings = settings
        folders = [Self.absolute(directory)]
        templates += add(settings.folders)
        // It is meant for every Lua program of the user, and not for untrusted scripts; Lua itself reads it for trusted ones.
        guard settings.mayRead == nil, !settings.isTrusted, let environment = Self.luaPath() else { return }
        templates += add(environment.parts(between: UInt8(ascii: ";")).map(String.init))
    }

    /// `LUA_PATH`, as Lua 5.4 reads it.
    private static func luaPath() -> String? {
        (getenv("LUA_PATH_5_4") ?? getenv("LUA_PATH")).map { String(cString: $0) }
    }

    /// Allows further folders, or templates with a `?`; relative ones are relative to the current folder.
    ///
    /// - Returns: Their templates, for `package.path`.
    package mutating func add(_ entries: [String]) -> [String] {
        var added: [String] = []
        for entry in entries where !entry.isEmpty {
            let path = Self.absolute(entry)
            if let mark = path.utf8.firstIndex(of: UInt8(ascii: "?")) {
                let slash = path.utf8[..<mark].lastIndex(of: UInt8(ascii: "/")) ?? path.utf8.startIndex
                folders.append(slash == path.utf8.startIndex ? "/" : String(path[..<slash]))
                added.append(path)
            } else {
                folders.append(path)
                added += ["\(path)/?.lua", "\(path)/?/init.lua"]
            }
        }
        return added
    }

    // MARK: - Looking

    /// `require "a.b"`: the first of the templates' files that is there, `a/b.lua`, `a/b/init.lua` and so on.
    package func module(_ name: String, path: String) -> LuaModuleAnswer<LuaModule> {
        let parts = Array(name.utf8).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && !$0.contains(UInt8(ascii: "/")) && !$0.contains(0) }) else {
            return .missing([
                "no file for '\(name)': names of modules lead out of no folder; module_path names further ones"
            ])
        }
        let file = String(decoding: Array(parts.joined(separator: [UInt8(ascii: "/")])), as: UTF8.self)
        return find(file, path: path) { found in
            do throws(FileError) {
                let source = try settings.files.read(found, maximum: Self.maximumScriptBytes)
                return .success(LuaModule(path: Self.shown(found), source: source))
            } catch {
                return .failure(error)
            }
        }
    }

    /// `package.searchpath`: the path of the first file that is there.
    package func file(_ file: String, path: String) -> LuaModuleAnswer<String> {
        find(file, path: path) { .success(Self.shown($0)) }
    }

    private func find<Found>(
        _ file: String,
        path: String,
        _ take: (String) -> Result<Found, FileError>
    ) -> LuaModuleAnswer<Found> {
        var lines: [String] = []
        let templates = path.utf8.split(separator: UInt8(ascii: ";"))
        for template in templates.prefix(Self.mostTemplates) {
            for place in places(Self.filled(template, file)) {
                let line = "no file '\(Self.shown(place))'"
                guard mayLookAt(place) else {
                    lines.append("\(line) (not in a folder for modules: \(wayOut))")
                    continue
                }
                guard settings.files.exists(place) else {
                    lines.append(line)
                    continue
                }
                guard mayRead(place) else {
                    lines.append("\(line) (a link leads out of the folders for modules: \(wayOut))")
                    continue
                }
                switch take(place) {
                case .success(let found): return .found(found)
                case .failure(let problem): lines.append("\(line) (\(problem.message))")
                }
            }
        }
        if templates.count > Self.mostTemplates {
            lines.append("no more than \(Self.mostTemplates) places of package.path are looked at")
        }
        if !settings.isTrusted { lines.append("no module in C: they are closed to scripts (--trust opens them)") }
        return .missing(lines)
    }

    private var wayOut: String {
        settings.mayRead == nil ? "the option module_path adds one" : "--module-path and --allow-read add one"
    }

    /// The paths that a filled template stands for. A relative one is relative to the script's folder; a script that takes the
    /// folder from its own path, as `debug.getinfo` gives it, means the current one.
    private func places(_ path: String) -> [String] {
        guard path.utf8.first != UInt8(ascii: "/") else { return [path] }
        var rest = path[...]
        while rest.begins(with: "./") { rest = Substring(rest.utf8.dropFirst(2)) }
        guard directory != "." else { return [String(rest)] }
        let own = directory == "/" ? "/\(rest)" : "\(directory)/\(rest)"
        return isInside(String(rest)) ? [own, String(rest)] : [own]
    }

    private func mayLookAt(_ path: String) -> Bool {
        settings.isTrusted || isInside(path) || settings.mayRead?(path) == true
    }

    /// Called for a file that exists. An untrusted script may load a module through a link that leads out of the folders only
    /// when it may read that path; all others always may.
    private func mayRead(_ path: String) -> Bool {
        guard let mayRead = settings.mayRead, !mayRead(path) else { return true }
        guard let real = realPath(path) else {
            // A module that the embedding program gives as text has no file.
            return access(path, F_OK) != 0
        }
        return folders.contains { folder in realPath(folder).map { Self.contains($0[...], real[...]) } ?? false }
    }

    private func isInside(_ path: String) -> Bool {
        let plain = Self.absolute(path)
        return folders.contains { Self.contains($0.utf8[...], plain.utf8[...]) }
    }

    // MARK: - Paths

    private static func contains<Path: Collection<UInt8>>(_ folder: Path, _ path: Path) -> Bool {
        guard !folder.elementsEqual("/".utf8) else { return true }
        guard path.starts(with: folder) else { return false }
        return path.dropFirst(folder.count).first == UInt8(ascii: "/")
    }

    /// Without `.`, `..` and double slashes, from the root.
    package static func absolute(_ path: String) -> String {
        var parts: [Substring.UTF8View] = []
        var whole = path
        if path.utf8.first != UInt8(ascii: "/") {
            guard let current = getcwd(nil, 0) else { return "/" + path }
            defer { free(current) }
            whole = String(cString: current) + "/" + path
        }
        for part in whole.utf8.split(separator: UInt8(ascii: "/")) {
            if part.elementsEqual("..".utf8) {
                _ = parts.popLast()
            } else if !part.elementsEqual(".".utf8) {
                parts.append(part)
            }
        }
        return "/" + parts.map { Substring($0) }.joined(separator: "/")
    }

    private static func filled(_ template: Substring.UTF8View, _ file: String) -> String {
        var bytes: [UInt8] = []
        for byte in template {
            if byte == UInt8(ascii: "?") { bytes += file.utf8 } else { bytes.append(byte) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func shown(_ path: String) -> String {
        path.begins(with: "./") ? String(Substring(path.utf8.dropFirst(2))) : path
    }
}
