// Owns: which signals are one and the same wish. A value; whoever waits for signals tells it of each.

/// Tells a second wish from the echo of the first.
///
/// A second SIGTERM ends the program at once. `timeout` and some supervisors send a signal to the process and right after it to the
/// process group, which is the same wish said twice.
struct SignalRepetition {
    /// Seconds within which the same signal from the same sender is an echo. `timeout` takes some hundredths of a millisecond; a
    /// program that waits for the first line of the stop and decides anew takes longer.
    static let window = 0.002

    private var number: CInt = 0
    private var sender: CInt = 0
    private var time = -Double.infinity

    /// True when a signal repeats the one before it.
    ///
    /// - Parameters:
    ///   - number: The signal.
    ///   - sender: The process that sent it; `nil` when the kernel did, as for a key at the terminal.
    ///   - time: When it was taken, in seconds of a clock that goes forward.
    mutating func isEcho(_ number: CInt, from sender: CInt?, at time: Double) -> Bool {
        guard let sender else { return false }
        let isEcho = number == self.number && sender == self.sender && time - self.time < Self.window
        // The window begins with the first of them: a stream of signals is no echo for ever.
        if !isEcho {
            self.number = number
            self.sender = sender
            self.time = time
        }
        return isEcho
    }
}
