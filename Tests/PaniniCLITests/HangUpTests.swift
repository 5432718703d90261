// What SIGHUP means.

import Testing

@testable import PaniniCLI

@Suite("SIGHUP")
struct HangUpTests {
    @Test(
        "The terminal is gone, or somebody wants a reload",
        arguments: [
            // At a terminal.
            (true, false, true, true, true, .stop), (true, false, true, false, true, .stop),
            (true, false, false, true, true, .stop),
            (true, false, false, false, true, .reload), (true, false, true, true, false, .stop),
            (true, false, false, false, false, .stop),
            // Under nohup it outlives the terminal, and can still be told to reload.
            (true, true, true, true, true, .nothing), (true, true, false, true, true, .nothing),
            (true, true, false, false, true, .reload),
            (true, true, true, true, false, .nothing), (true, true, false, false, false, .nothing),
            // As a service, without a terminal.
            (false, false, false, false, true, .reload), (false, false, true, false, true, .reload),
            (false, true, false, false, true, .reload),
            (false, false, false, false, false, .stop),
        ] as [(Bool, Bool, Bool, Bool, Bool, HangUp.Meaning)]
    )
    func meaning(
        hasTerminal: Bool,
        isIgnored: Bool,
        isFromSystem: Bool,
        isTerminalGone: Bool,
        canReload: Bool,
        meaning: HangUp.Meaning
    ) {
        let hangUp = HangUp(hasTerminal: hasTerminal, isIgnored: isIgnored)
        #expect(
            hangUp.meaning(isFromSystem: isFromSystem, isTerminalGone: isTerminalGone, canReload: canReload) == meaning
        )
    }
}
