// Owns: the folder of control sockets: where it is, and that nobody else can put anything there. Any thread.

import Glibc

/// Where running programs of a user are found.
package enum ControlDirectory {
    /// The folder: `PANINI_CONTROL_DIR`, or one in `XDG_RUNTIME_DIR`, or one of the user's own in the temporary folder.
    package static var usual: String {
        if let own = variable("PANINI_CONTROL_DIR") { return own }
        if let runtime = variable("XDG_RUNTIME_DIR") { return runtime + "/panini" }
        return "/tmp/panini-\(getuid())"
    }

    private static func variable(_ name: String) -> String? {
        guard let value = getenv(name), value.pointee != 0 else { return nil }
        return String(cString: value)
    }

    /// Makes the folder when it is not there, for its user alone.
    package static func prepare(_ path: String) throws(ControlProblem) {
        // The longest name of a socket that the system takes, with room for the process' number (unix(7)).
        guard path.utf8.count <= 90 else {
            throw ControlProblem(
                message: "\(path) is too long for a socket; set PANINI_CONTROL_DIR to a shorter folder"
            )
        }
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw ControlProblem(message: "\(path) cannot be made: \(String(cString: strerror(errno)))")
        }
        try check(path)
    }

    /// Refuses a folder in which somebody else could answer in a program's place.
    package static func check(_ path: String) throws(ControlProblem) {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            throw ControlProblem(message: "\(path): \(String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw ControlProblem(message: "\(path) is no folder") }
        guard status.st_uid == getuid(), status.st_mode & 0o022 == 0 else {
            throw ControlProblem(message: "\(path) belongs to somebody else, or others may write there")
        }
    }
}
