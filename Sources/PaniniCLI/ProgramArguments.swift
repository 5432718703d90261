// Owns: the program's arguments as texts. The standard library repairs what is no UTF-8, so that a message would be another one
// than was given: such arguments are refused instead. Main thread, at the start.

import Glibc

/// What the program was called with.
enum ProgramArguments {
    /// The arguments without the program's name.
    ///
    /// - Throws: when one of them is no UTF-8.
    static func all() throws(CommandError) -> [String] {
        var result: [String] = []
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[index] else { break }
            guard let text = String(validatingCString: argument) else {
                throw refusal(of: index, command: result.first)
            }
            result.append(text)
        }
        return result
    }

    private static func refusal(of index: Int, command: String?) -> CommandError {
        guard let command, ["publish", "request"].contains(command) else {
            return CommandError("argument \(index) is no UTF-8", exitCode: .usage)
        }
        return CommandError(
            """
            argument \(index) of \(command) is no UTF-8; a payload of any bytes is given on standard input: \
            printf ... | panini \(command) SUBJECT -
            """,
            exitCode: .usage
        )
    }
}
