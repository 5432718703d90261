// The script that commands take when none is named: the project's.

import ArgumentParser
import Glibc

enum ProjectScript {
    static let usual = "main.lua"

    /// The script of the project in the current directory.
    static func path() throws(ValidationError) -> String {
        guard access(usual, F_OK) == 0 else {
            throw ValidationError("Which script? No FILE is named, and there is no \(usual) here.")
        }
        return usual
    }
}
