// How a command fails: one line for people, and an exit code. Plain value.

/// An error that ends the program.
struct CommandError: Error {
    /// The program's exit codes; 0 is done, and a second signal during the stop gives 128 plus the signal's number.
    enum Code: Int32 {
        /// The command could not do what it was asked to.
        case failed = 1
        /// The command line, the environment or a configuration file is wrong.
        case usage = 2
        /// Scripts hold so many threads that the program cannot go on.
        case stuck = 70
    }

    /// One line, without the program's name.
    let message: String
    let exitCode: Code
    /// Further lines, such as a traceback.
    let details: String?

    init(_ message: String, exitCode: Code = .failed, details: String? = nil) {
        self.message = message
        self.exitCode = exitCode
        self.details = details
    }

    /// What the help says about exit codes.
    static let help = "Exit codes: 0 done, 1 failed, 2 wrong usage."
}
