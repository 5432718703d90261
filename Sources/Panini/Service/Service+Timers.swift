// Owns: ticks of timers and the start of tasks. Loop-bound.

import Logging
import LuaVM

extension Service {
    /// Starts every task and timer of a script, once all subscriptions are in place. Of several workers the first runs
    /// them, but for timers that are for each.
    ///
    /// - Parameter before: The timers of the version before: one of the same name and interval keeps its beat.
    func startTasksAndTimers(of script: Script, before: [ServiceTimer] = []) {
        if worker.isFirst {
            for index in script.registrations.tasks.indices {
                if sync.isOn, sync.isBusy {
                    sync.append(.task(script, index))
                } else {
                    if sync.isOn { sync.isBusy = true }
                    script.defer(.task(index: index))
                }
            }
        }
        let now = worker.now
        var left: [TimerKey: FIFO<ServiceTimer>] = [:]
        for timer in before where timer.isOn { left[TimerKey(timer), default: FIFO()].append(timer) }
        for timer in script.registrations.timers where worker.isFirst || timer.eachWorker {
            timer.isOn = true
            if let old = left[TimerKey(timer)]?.popFirst() {
                // Its next tick in "delay" mode is set at the end of the one that runs.
                guard let due = timer.begin(after: old, now: now) else { continue }
                worker.schedule(.tick(self, timer), at: due)
            } else {
                worker.schedule(.tick(self, timer), at: timer.begin(now: now))
            }
        }
    }

    func runTask(_ index: Int, of script: Script) {
        script.enter { script.start(script.registrations.tasks[index].function, .task(index: index)) }
    }

    func tick(_ timer: ServiceTimer) {
        // An alarm keeps the timer alive, and not its script: that is there for as long as the timer is on.
        guard timer.isOn, state == .running else { return }
        if timer.script.depth == 0, !turn.isWaiting { timerDue(timer) } else { timer.script.defer(.tick(timer)) }
    }

    /// The alarm of a timer has gone off, and it may tick. Its next alarm is set here: while the service waits for its turn,
    /// a timer does not go off again.
    func timerDue(_ timer: ServiceTimer) {
        guard timer.isOn, state == .running else { return }
        if timer.mode == .rate {
            // Scheduled before the tick runs: a tick that takes long, or fails, cannot stop the timer.
            let next = timer.advance(now: worker.now)
            worker.schedule(.tick(self, timer), at: next)
        }
        guard !timer.isRunning, timer.predecessor?.isRunning != true else { return timer.countSkipped() }
        timer.predecessor = nil
        if sync.isOn {
            timer.isRunning = true
            sync.append(.tick(timer))
            if !sync.isBusy { timer.script.defer(.syncNext) }
            return
        }
        _ = runTick(timer)
    }

    /// False when the service has begun to stop meanwhile.
    func runTick(_ timer: ServiceTimer) -> Bool {
        guard timer.isOn, state == .running else {
            timer.isRunning = false
            return false
        }
        timer.isRunning = true
        let script = timer.script
        script.activeCount += 1
        script.enter { script.start(timer.function, .tick(timer)) }
        return true
    }

    func tickEnded(_ timer: ServiceTimer) {
        timer.isRunning = false
        guard timer.mode == .delay, state == .running else { return }
        // A reload while it ran: the beat is the new one's.
        let next = timer.isOn ? timer : timer.successor
        guard let next, next.isOn else { return }
        worker.schedule(.tick(self, next), at: next.restart(now: worker.now))
    }
}
