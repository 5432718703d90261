// Owns: ticks of timers. Loop-bound.

import Logging
import LoopTools
import LuaVM
import ScriptRuntime

extension Service {
    /// Starts every timer of a script, once all subscriptions are in place. Of several workers the first runs them, but for
    /// those that are for each.
    ///
    /// - Parameter before: The timers of the version before: one of the same name and interval keeps its beat.
    func startTimers(of script: Script, before: [ServiceTimer]) {
        let now = worker.now
        var left: [TimerKey: FIFO<ServiceTimer>] = [:]
        for timer in before where timer.isOn { left[TimerKey(timer), default: FIFO()].append(timer) }
        for timer in script.timers.all where worker.isFirst || timer.eachWorker {
            timer.isOn = true
            if let old = left[TimerKey(timer)]?.popFirst() {
                // Its next tick in "delay" mode is set at the end of the one that runs.
                guard let due = timer.begin(after: old, now: now) else { continue }
                worker.schedule(WorkerAlarm(timer), at: due)
            } else {
                worker.schedule(WorkerAlarm(timer), at: timer.begin(now: now))
            }
        }
    }

    func tick(_ timer: ServiceTimer) {
        guard timer.isOn, lifecycle.isServing else { return }
        if timer.script.depth == 0, !turn.isWaiting {
            timerDue(timer)
        } else {
            timer.script.defer(.begin(Activity(timer)))
        }
    }

    /// The alarm of a timer has gone off, and it may tick. Its next alarm is set here: while the service waits for its turn,
    /// a timer does not go off again.
    func timerDue(_ timer: ServiceTimer) {
        guard timer.isOn, lifecycle.isServing else { return }
        if timer.mode == .rate {
            // Scheduled before the tick runs: a tick that takes long, or fails, cannot stop the timer.
            let next = timer.advance(now: worker.now)
            worker.schedule(WorkerAlarm(timer), at: next)
        }
        guard !timer.isRunning, timer.predecessor?.isRunning != true else { return timer.countSkipped() }
        timer.predecessor = nil
        if sync.isOn {
            timer.isRunning = true
            sync.append(Activity(timer))
            if !sync.isBusy { deferTurn(on: timer.script) }
            return
        }
        _ = runTick(timer)
    }

    /// False when the service has begun to stop meanwhile.
    func runTick(_ timer: ServiceTimer) -> Bool {
        guard timer.isOn, lifecycle.isServing else {
            timer.isRunning = false
            return false
        }
        timer.isRunning = true
        let script = timer.script
        script.beginActivity()
        script.enter { script.start(timer.function, Activity(timer)) }
        noteWork()
        return true
    }

    func tickEnded(_ timer: ServiceTimer) {
        timer.isRunning = false
        guard timer.mode == .delay, lifecycle.isServing else { return }
        // A reload while it ran: the beat is the new one's.
        let next = timer.isOn ? timer : timer.successor
        guard let next, next.isOn else { return }
        worker.schedule(WorkerAlarm(next), at: next.restart(now: worker.now))
    }
}
