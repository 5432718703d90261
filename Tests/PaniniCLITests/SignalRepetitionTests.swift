// When a second signal is a second wish.

import Testing

@testable import PaniniCLI

@Suite struct SignalRepetitionTests {
    /// Which of these are echoes.
    private func echoes(_ signals: [(number: CInt, sender: CInt?, time: Double)]) -> [Bool] {
        var repetition = SignalRepetition()
        return signals.map { repetition.isEcho($0.number, from: $0.sender, at: $0.time) }
    }

    @Test("the same signal from the same process at once is an echo, as timeout sends it")
    func echo() {
        #expect(echoes([(15, 7, 1), (15, 7, 1.0001)]) == [false, true])
    }

    @Test("another signal, another sender, a key and a later signal are wishes of their own")
    func wishes() {
        for (number, sender, time) in [(2, 7, 1.0001), (15, 8, 1.0001), (15, nil, 1.0001), (15, 7, 1.01)]
            as [(CInt, CInt?, Double)]
        {
            #expect(echoes([(15, 7, 1), (number, sender, time)]) == [false, false])
        }
    }

    @Test("keys at the terminal are never echoes of each other")
    func keys() {
        #expect(echoes([(2, nil, 1), (2, nil, 1.0001)]) == [false, false])
    }

    @Test("the window does not move on with each echo")
    func stream() {
        let stream = (0..<10).map { (CInt(15), CInt?(7), 1 + 0.0006 * Double($0)) }
        #expect(echoes(stream) == [false, true, true, true, false, true, true, true, false, true])
    }
}
