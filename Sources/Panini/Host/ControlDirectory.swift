// Owns: the folder of control sockets: where it is, and that nobody else can put anything there. Any thread.

import Glibc

/// Where running programs of a user are found.
package enum ControlDirectory {
    /// The folder for a program that starts.
    package static var usual: String { ControlPlaces().usual }

    /// The folders in which programs of the user may be found.
    package static var all: [String] { ControlPlaces().all }

    /// Makes the folder when it is not there, for its user alone.
    package static func prepare(_ path: String) throws(ControlError) {
        // The longest name of a socket that the system takes, with room for the process' number (unix(7)).
        guard path.utf8.count <= 90 else {
            throw ControlError(
                message: "\(path) is too long for a socket; set PANINI_CONTROL_DIR to a shorter folder"
            )
        }
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw ControlError(message: "\(path) cannot be made: \(String(cString: strerror(errno)))")
        }
        try check(path)
    }

    /// Refuses a folder in which somebody else could answer in a program's place.
    package static func check(_ path: String) throws(ControlError) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            throw ControlError(message: "\(path): \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw ControlError(message: "\(path) is no folder") }
        guard status.st_uid == getuid(), status.st_mode & 0o022 == 0 else {
            throw ControlError(message: "\(path) belongs to somebody else, or others may write there")
        }
    }
}

/// Where the folder may be. A value that looks at the system; the tests give it another one.
struct ControlPlaces {
    var temporary = "/tmp"
    var runtime = "/run/user/\(getuid())"
    var variable: (String) -> String? = { name in
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    /// `PANINI_CONTROL_DIR`, or one in `XDG_RUNTIME_DIR`, or one in the user's run-time folder, or one of the user's own in the
    /// temporary folder.
    var usual: String {
        if let named { return named }
        if Self.isUsable(inTemporary) || !Self.exists(inTemporary) { return inTemporary }
        // Somebody else has taken the name: anybody may, there. Nobody can guess the next one.
        return ownInTemporary.first ?? makeInTemporary() ?? inTemporary
    }

    /// Those that belong to the user alone, where anybody may make some.
    var all: [String] {
        if let named { return [named] }
        return [inTemporary].filter(Self.isUsable) + ownInTemporary
    }

    /// The folder that was named by whoever started the program or the session; nil: it is in the temporary folder.
    private var named: String? {
        if let own = variable("PANINI_CONTROL_DIR") { return own }
        if let runtime = variable("XDG_RUNTIME_DIR") { return runtime + "/panini" }
        return Self.isUsable(runtime) ? runtime + "/panini" : nil
    }

    private var name: String { "panini-\(getuid())" }
    private var inTemporary: String { "\(temporary)/\(name)" }

    /// Folders of the user's own whose names have a random part.
    private var ownInTemporary: [String] {
        guard let folder = opendir(temporary) else { return [] }
        defer { closedir(folder) }
        var found: [String] = []
        while let entry = readdir(folder) {
            let file = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if file.hasPrefix(name + "-"), Self.isUsable("\(temporary)/\(file)") {
                found.append("\(temporary)/\(file)")
            }
        }
        return found.sorted()
    }

    private func makeInTemporary() -> String? {
        var template = Array("\(inTemporary)-XXXXXX".utf8CString)
        return mkdtemp(&template).map { String(cString: $0) }
    }

    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    private static func isUsable(_ path: String) -> Bool { (try? ControlDirectory.check(path)) != nil }
}
