// Owns: ticks of timers and the start of tasks. Loop-bound.

import Logging
import LuaVM

extension Service {
    /// Starts every task and timer, once all subscriptions are in place.
    func startTasksAndTimers() {
        for index in script.registrations.tasks.indices {
            if sync.isOn, sync.isBusy {
                sync.append(.task(index))
            } else {
                if sync.isOn { sync.isBusy = true }
                runTask(index)
            }
        }
        let now = worker.now
        for timer in script.registrations.timers {
            worker.schedule(.tick(self, timer, generation: timerGeneration), at: timer.begin(now: now))
        }
    }

    func runTask(_ index: Int) {
        script.enter { script.start(script.registrations.tasks[index].function, .task(index: index)) }
    }

    func timerDue(_ timer: ServiceTimer, generation: Int) {
        guard generation == timerGeneration, state == .running else { return }
        if timer.mode == .rate {
            // Scheduled before the tick runs: a tick that takes long, or fails, cannot stop the timer.
            let next = timer.advance(now: worker.now)
            worker.schedule(.tick(self, timer, generation: generation), at: next)
        }
        guard !timer.isRunning else { return timer.countSkipped() }
        if sync.isOn {
            timer.isRunning = true
            sync.append(.tick(timer))
            if !sync.isBusy { script.defer(.syncNext) }
            return
        }
        _ = runTick(timer)
    }

    /// False when the service has begun to stop meanwhile.
    func runTick(_ timer: ServiceTimer) -> Bool {
        guard state == .running else {
            timer.isRunning = false
            return false
        }
        timer.isRunning = true
        activeCount += 1
        script.enter { script.start(timer.function, .tick(timer)) }
        return true
    }

    func tickEnded(_ timer: ServiceTimer) {
        timer.isRunning = false
        guard timer.mode == .delay, state == .running else { return }
        worker.schedule(.tick(self, timer, generation: timerGeneration), at: timer.restart(now: worker.now))
    }
}
