// Owns: giving memory back after a burst. Loop-bound. Lua's collector only runs while a script allocates, so a service
// that has become quiet would keep the garbage of its busiest moment for as long as it lives.

import CLuaVM
import LuaVM
import NIOCore
import ScriptRuntime

/// When the memory of a service was looked at last, and what was found.
struct Housekeeping {
    /// An alarm is set; there is none while the service is idle.
    var isArmed = false
    var isCollecting = false
    /// Messages had moved since the last look.
    var isBusy = false
    /// Bytes in use after the last collection.
    var live = 0
    /// Cycles of the collector that are still to run. The first one may have begun before.
    var cycles = 0
    var bytesBefore = 0
    /// Whether it takes nearly all of its worker's time.
    var saturation = SaturationMonitor()
}

extension Service {
    private static let interval: UInt64 = 1_000_000_000
    /// Below this there is nothing worth giving back.
    private static let smallHeap = 4 << 20
    /// How long the collector may hold the loop at a time, in nanoseconds.
    private static let slice: UInt64 = 500_000

    /// Called at the end of each read; two tests while an alarm is set.
    @inline(__always)
    func readBurstEnded() {
        turn.leave(nil)
        noteWork()
    }

    /// The service has worked: called for whatever makes it work.
    @inline(__always)
    func noteWork() {
        // What ends behind the script, a connection or a fault, still says so.
        guard script.phase != .closed else { return }
        housekeeping.isBusy = true
        panini_tune_collector(panini_vm_of(script.vm.state))
        if !housekeeping.isArmed { armHousekeeping() }
    }

    private func armHousekeeping() {
        guard lifecycle.isStarting || lifecycle.isServing else { return }
        housekeeping.isArmed = true
        worker.schedule(alarm(.housekeeping), at: worker.now &+ Self.interval)
    }

    /// Looks whether there is memory to give back, and whether episodes of faults are over.
    func performHousekeeping() {
        housekeeping.isArmed = false
        guard lifecycle.isServing, !housekeeping.isCollecting else { return }
        let wasBusy = housekeeping.isBusy
        housekeeping.isBusy = false
        var looksAgain = wasBusy
        for feature in features.all where feature.housekeep() { looksAgain = true }
        if losses.isOpen {
            settleLosses()
            looksAgain = true
        }
        script.writer.removeAll()
        let bytes = script.vm.memoryInUse
        let hasCalmedDown = script.suspendedPeak > 500 && script.suspendedCount * 2 < script.suspendedPeak
        if bytes > Self.smallHeap, bytes > housekeeping.live + housekeeping.live / 2 || hasCalmedDown {
            housekeeping.isCollecting = true
            housekeeping.cycles = 2
            housekeeping.bytesBefore = bytes
            collect()
        }
        // It looks once more after the last message, and then not before the next one.
        if looksAgain { armHousekeeping() }
    }

    /// Runs the collector in slices, so that messages are served in between.
    func collect() {
        guard script.phase != .closed else { return }
        let end = worker.now &+ Self.slice
        repeat {
            if panini_collect_step(script.vm.state) != 0 { housekeeping.cycles -= 1 }
        } while housekeeping.cycles > 0 && worker.now < end
        guard housekeeping.cycles <= 0 else {
            return turn.later(self, ServiceWork.collection.rawValue)
        }
        housekeeping.isCollecting = false
        housekeeping.live = script.vm.memoryInUse
        script.suspendedPeak = script.suspendedCount
        // The allocator keeps freed pages unless told; only worth its time when there is much to give back.
        if housekeeping.bytesBefore - housekeeping.live > Self.smallHeap { panini_release_free_memory(script.vm.state) }
    }
}
