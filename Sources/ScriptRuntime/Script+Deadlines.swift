// Owns: the time limits of runs that wait: setting the alarms, and ending what is over its time. Worker's thread.

import LuaVM

extension Script {
    /// Puts a run that has begun to wait under its time limit.
    package func armDeadline(of suspendedRun: SuspendedRun, nanoseconds: Int64) {
        guard let worker = host?.worker else { return }
        let list = deadlineLists.list(nanoseconds: nanoseconds)
        list.script = self
        list.append(suspendedRun, now: worker.now)
        if list.alarm == nil { list.alarm = worker.schedule(WorkerAlarm(list), at: suspendedRun.deadline) }
    }

    /// Ends every run of the list whose time is over.
    package func expire(_ list: DeadlineList) {
        list.alarm = nil
        guard phase != .closed, let worker = host?.worker, let turn = host?.turn else { return }
        if depth == 0, turn.isWaiting { return self.defer(.expiry(list)) }
        let now = worker.now
        enter {
            while let suspendedRun = list.first, suspendedRun.deadline <= now {
                // Closing what is given up may take its time, too.
                if turn.isOver { return self.defer(.expiry(list)) }
                expire(suspendedRun, seconds: Double(list.nanoseconds) / 1e9)
            }
        }
        // What has ended may have been the last that the end of the script waited for.
        guard phase != .closed else { return }
        if let suspendedRun = list.first, list.alarm == nil {
            list.alarm = worker.schedule(WorkerAlarm(list), at: suspendedRun.deadline)
        }
        deadlineLists.removeIfUnused(list)
    }

    private func expire(_ suspendedRun: SuspendedRun, seconds: Double) {
        let activity = suspendedRun.activity
        abandon(suspendedRun, activity.owner.expired(activity, seconds: seconds))
        activity.owner.ended(activity)
    }
}

extension DeadlineList: Resumable {
    /// The first of them may have run out of time.
    package func goOn(_ token: UInt64) { script?.expire(self) }
}
