// Owns: the turns under `app_strategy = "sync"`: one handler, task or tick at a time, each to its end. Loop-bound.

import NATS
import ScriptRuntime

extension Service {
    /// What had the turn has ended: the next one begins.
    func syncEnded(_ script: Script) {
        sync.isBusy = false
        if !sync.isEmpty { deferTurn() }
        if script.isEnding { endIfIdle(script) }
    }

    /// Begins a run as soon as it may: in its turn under "sync", and otherwise at the outermost level of the script, when the
    /// service has its turn. Its owner calls ``runDidEnd(of:)`` when it has ended.
    func admit(_ activity: Activity, in script: Script) {
        if sync.isOn {
            sync.append(activity)
            if !sync.isBusy { deferTurn(on: script) }
        } else {
            script.defer(.begin(activity))
        }
        noteWork()
    }

    /// A run that was admitted has ended: the next one may begin, and whoever waits for the end of the script goes on.
    func runDidEnd(of script: Script) {
        if sync.isOn { syncEnded(script) } else { endIfAwaited(script) }
    }

    /// Begins what has the next turn, from the outermost level of a script.
    func deferTurn(on script: Script? = nil) {
        (script ?? self.script).defer(.goOn(self, ServiceWork.turn.rawValue))
    }

    /// The broker takes messages again.
    func turnsGoOn() {
        guard sync.isHeldByBroker else { return }
        sync.isHeldByBroker = false
        if !sync.isBusy, !sync.isEmpty { deferTurn() }
    }

    func beginTurns() {
        while !sync.isBusy {
            guard !connection.isCongested else {
                sync.isHeldByBroker = true
                return
            }
            if turn.isOver, !sync.isEmpty { return deferTurn() }
            guard let start = sync.popFirst() else { return }
            sync.isBusy = true
            if !start.owner.beginTurn(start) { sync.isBusy = false }
        }
    }
}
