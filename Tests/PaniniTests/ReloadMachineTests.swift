// Reloads of a service over its workers, in every order of events: requests, lost workers, failures, stops. Values; no loop.

import Testing

@testable import Panini

private typealias Machine = ReloadMachine<Int, String>
private typealias Action = ReloadAction<Int, String>

/// The reloads of a service with what the controller has been told to do.
private struct ReloadWorld: Explorable {
    enum Event: Hashable {
        case request(isRescue: Bool, isReplacing: Bool)
        case requestHeld
        case loaded(Machine.Workers)
        case loadFailed, loadSuperseded
        case firstStaged, allStaged
        case stagingFailed(ReloadProblem<String>)
        case committed, workerLost, stop
        case proceed(isReplacing: Bool)
    }

    /// What the controller has in hand of the reload that goes on.
    struct Run: Hashable {
        var hasLoaded = false
        var isStaged = false
        var isSuperseded = false
        var hasCommitted = false
        var isWithdrawn = false
    }

    /// More than these never ask, so that there is an end of states.
    static let mostWaiters = 3

    var machine: Machine
    var run: Run?
    var isStopping = false
    var asked = 0
    var answered: [Int] = []

    init() {
        machine = Machine()
        machine.started()
    }

    var events: [Event] {
        var all: [Event] = [
            .loaded(.same), .loaded(.changed), .loaded(.none), .loadFailed, .loadSuperseded, .firstStaged, .allStaged,
            .stagingFailed(.superseded), .stagingFailed(.workerLost("lost")), .stagingFailed(.failed("start task")),
            .stagingFailed(.stopped), .committed, .workerLost, .stop, .proceed(isReplacing: false),
            .proceed(isReplacing: true),
        ]
        if asked < Self.mostWaiters {
            all += [
                .request(isRescue: false, isReplacing: false), .request(isRescue: true, isReplacing: false),
                .request(isRescue: false, isReplacing: true), .requestHeld,
            ]
        }
        return all
    }

    mutating func send(_ event: Event) {
        switch event {
        case .request(let isRescue, let isReplacing):
            asked += 1
            carryOut(machine.request(by: asked, isRescue: isRescue, heldWorker: nil, isReplacing: isReplacing))
        case .requestHeld:
            asked += 1
            carryOut(machine.request(by: asked, isRescue: false, heldWorker: 1, isReplacing: false))
        case .loaded(let workers):
            guard machine.phase == .loading else { return }
            run?.hasLoaded = true
            carryOut(machine.loaded(workers: workers))
        case .loadFailed: carryOut(machine.loadFailed(.failed("syntax")))
        case .loadSuperseded: carryOut(machine.loadFailed(.superseded))
        case .firstStaged: carryOut(machine.firstStaged())
        case .allStaged: carryOut(machine.allStaged())
        case .stagingFailed(let problem): carryOut(machine.stagingFailed(problem))
        case .committed: carryOut(machine.committed())
        case .workerLost:
            if machine.phase == .stagingFirst || machine.phase == .stagingOthers { run?.isSuperseded = true }
            carryOut(machine.workerLost())
        case .stop:
            isStopping = true
            carryOut(machine.stop())
        case .proceed(let isReplacing): carryOut(machine.proceed(isReplacing: isReplacing))
        }
        hold(machine.isIdle == (run == nil), "\(event): a reload that nobody knows of")
        hold(Set(answered).count == answered.count, "\(event): answered twice")
        hold(answered.allSatisfy { (1...max(asked, 1)).contains($0) }, "\(event): answered, and never asked")
    }

    mutating func send(_ events: Event...) {
        for event in events { send(event) }
    }

    private mutating func carryOut(_ actions: [Action]) {
        for action in actions {
            switch action {
            case .load:
                hold(run == nil, "two reloads at a time")
                hold(!isStopping, "a reload begins in a stop")
                run = Run()
            case .discardLoaded: run?.hasLoaded = false
            case .adopt: serves()
            case .stageFirst:
                hold(run?.hasLoaded == true && run?.isStaged == false, "nothing to make ready")
                run?.isStaged = true
            case .stageOthers:
                hold(run?.hasLoaded == true && run?.isSuperseded == false, "nothing to make ready")
                run?.hasLoaded = false
            case .supersedeStaged:
                hold(run?.isStaged == true && run?.hasCommitted == false, "nothing to give up")
                run?.isSuperseded = true
            case .withdrawStaged:
                hold(run?.isStaged == true && run?.hasCommitted == false, "a version that serves is taken back")
                run?.isWithdrawn = true
            case .commit:
                hold(run?.isStaged == true && run?.isWithdrawn == false, "a version serves that is not ready")
                hold(run?.isSuperseded == false, "a version serves that some workers may have given up")
                hold(!isStopping, "a version is switched to in a stop")
                serves()
            case .succeed(let waiters):
                hold(run?.hasCommitted == true, "reported, and it does not serve")
                answered += waiters
            case .fail(let waiters, _):
                hold(run?.hasCommitted == false, "the version before does not serve on")
                answered += waiters
            case .reportGivenUp: hold(run?.hasCommitted == false, "given up, and it serves")
            case .refuse(let waiters, _): answered += waiters
            case .fillVacancies:
                // The end of a reload.
                hold(run != nil && run?.hasLoaded == false, "scripts that were loaded are left over")
                hold(
                    run?.hasCommitted == true || run?.isStaged == false || run?.isWithdrawn == true,
                    "what was made ready is left over"
                )
                run = nil
            }
        }
    }

    private mutating func serves() {
        hold(run?.hasCommitted == false, "a version is switched to twice")
        run?.hasCommitted = true
        run?.hasLoaded = false
    }

    /// Everything ends as it does when workers and loader answer and the service stops.
    mutating func end() {
        send(.stop, .loaded(.same), .firstStaged, .allStaged, .committed, .proceed(isReplacing: false))
    }

    /// The same while the service serves on.
    mutating func settle() {
        for _ in 0...Self.mostWaiters {
            send(.loaded(.same), .firstStaged, .allStaged, .committed, .proceed(isReplacing: false))
        }
    }
}

@Suite("The reloads of a service")
struct ReloadMachineTests {
    private func machine(_ asked: Int = 1) -> Machine {
        var machine = Machine()
        machine.started()
        for waiter in 1..<(asked + 1) {
            _ = machine.request(by: waiter, isRescue: false, heldWorker: nil, isReplacing: false)
        }
        return machine
    }

    @Test("loading, one worker first, the others, the switch")
    func course() {
        var machine = Machine()
        machine.started()
        #expect(machine.request(by: 1, isRescue: true, heldWorker: nil, isReplacing: false) == [.load])
        #expect(machine.isRescue)
        #expect(machine.loaded(workers: .same) == [.stageFirst])
        #expect(machine.firstStaged() == [.stageOthers])
        #expect(machine.allStaged() == [.commit])
        #expect(machine.committed() == [.succeed([1]), .fillVacancies])
        #expect(machine.isIdle)
        #expect(machine.proceed(isReplacing: false) == [])
    }

    @Test("a service that does not run, and one whose worker is held, cannot be reloaded")
    func refused() {
        var machine = Machine()
        #expect(
            machine.request(by: 1, isRescue: false, heldWorker: nil, isReplacing: false) == [.refuse([1], .notRunning)]
        )
        machine.started()
        #expect(
            machine.request(by: 2, isRescue: false, heldWorker: 3, isReplacing: false) == [.refuse([2], .workerHeld(3))]
        )
    }

    @Test("those who ask meanwhile are answered together by the next one")
    func queue() {
        var machine = machine(3)
        _ = machine.loaded(workers: .same)
        _ = machine.firstStaged()
        _ = machine.allStaged()
        #expect(machine.committed() == [.succeed([1]), .fillVacancies])
        #expect(machine.proceed(isReplacing: false) == [.load])
        #expect(
            machine.loadFailed(.failed("syntax")) == [
                .discardLoaded, .fail([2, 3], .failed("syntax")), .fillVacancies,
            ]
        )
    }

    @Test("newer content takes the place of what waits in its start tasks, and its answer is that of the other")
    func superseded() {
        var machine = machine()
        _ = machine.loaded(workers: .same)
        #expect(machine.request(by: 2, isRescue: false, heldWorker: nil, isReplacing: false) == [.supersedeStaged])
        #expect(machine.request(by: 3, isRescue: false, heldWorker: nil, isReplacing: false) == [])
        #expect(
            machine.stagingFailed(.superseded)
                == [.discardLoaded, .withdrawStaged, .reportGivenUp(.superseded), .fillVacancies]
        )
        #expect(machine.proceed(isReplacing: false) == [.load])
        _ = machine.loaded(workers: .same)
        _ = machine.firstStaged()
        _ = machine.allStaged()
        #expect(machine.committed() == [.succeed([2, 3, 1]), .fillVacancies])
    }

    @Test("a worker that was ready before it heard of newer content does not switch alone")
    func supersededTooLate() {
        var first = machine()
        _ = first.loaded(workers: .same)
        _ = first.request(by: 2, isRescue: false, heldWorker: nil, isReplacing: false)
        #expect(
            first.firstStaged() == [.discardLoaded, .withdrawStaged, .reportGivenUp(.superseded), .fillVacancies]
        )
        var all = machine()
        _ = all.loaded(workers: .same)
        _ = all.firstStaged()
        _ = all.request(by: 2, isRescue: false, heldWorker: nil, isReplacing: false)
        #expect(all.allStaged() == [.withdrawStaged, .reportGivenUp(.superseded), .fillVacancies])
    }

    @Test("a failure on one worker takes it back on all, and the version before serves on")
    func failure() {
        var machine = machine()
        _ = machine.loaded(workers: .same)
        _ = machine.firstStaged()
        #expect(
            machine.stagingFailed(.failed("start task"))
                == [.withdrawStaged, .fail([1], .failed("start task")), .fillVacancies]
        )
        #expect(machine.allStaged() == [])
    }

    @Test("a worker that is lost while loading, staging and switching")
    func lost() {
        var loading = machine()
        #expect(loading.workerLost() == [])
        #expect(loading.loaded(workers: .changed) == [.discardLoaded, .reportGivenUp(.superseded), .fillVacancies])
        // First its place is filled, with the version that serves.
        #expect(loading.proceed(isReplacing: true) == [])
        #expect(loading.proceed(isReplacing: false) == [.load])

        var staging = machine()
        _ = staging.loaded(workers: .same)
        _ = staging.firstStaged()
        #expect(staging.workerLost() == [.supersedeStaged])
        #expect(
            staging.stagingFailed(.workerLost("lost"))
                == [.withdrawStaged, .reportGivenUp(.workerLost("lost")), .fillVacancies]
        )
        #expect(staging.proceed(isReplacing: false) == [.load])

        var switching = machine()
        _ = switching.loaded(workers: .same)
        _ = switching.firstStaged()
        _ = switching.allStaged()
        #expect(switching.workerLost() == [])
        #expect(switching.committed() == [.succeed([1]), .fillVacancies])
    }

    @Test("without a worker that serves the version is what the next one starts with")
    func adopted() {
        var machine = machine()
        #expect(machine.loaded(workers: .none) == [.discardLoaded, .adopt])
        #expect(machine.committed() == [.succeed([1]), .fillVacancies])
    }

    @Test("a request waits while a lost worker's place is filled")
    func replacing() {
        var machine = Machine()
        machine.started()
        #expect(machine.request(by: 1, isRescue: false, heldWorker: nil, isReplacing: true) == [])
        #expect(machine.proceed(isReplacing: true) == [])
        #expect(machine.proceed(isReplacing: false) == [.load])
    }

    @Test("a stop answers everybody, in any phase")
    func stop() {
        var waiting = Machine()
        waiting.started()
        _ = waiting.request(by: 1, isRescue: false, heldWorker: nil, isReplacing: true)
        #expect(waiting.stop() == [.refuse([1], .stopping)])

        var loading = machine(2)
        #expect(loading.stop() == [])
        #expect(loading.loaded(workers: .same) == [.discardLoaded, .fail([1], .stopping), .fillVacancies])
        #expect(loading.proceed(isReplacing: false) == [.refuse([2], .stopping)])

        var staging = machine()
        _ = staging.loaded(workers: .same)
        #expect(staging.stop() == [])
        #expect(
            staging.stagingFailed(.stopped) == [.discardLoaded, .withdrawStaged, .fail([1], .stopped), .fillVacancies]
        )

        // It was ready everywhere in the moment of the stop.
        var ready = machine()
        _ = ready.loaded(workers: .same)
        _ = ready.firstStaged()
        _ = ready.stop()
        #expect(ready.allStaged() == [.withdrawStaged, .fail([1], .stopped), .fillVacancies])
    }

    @Test(
        "in every order of events one reload goes on at a time, all workers switch or none, and everybody is answered"
    )
    func everyOrder() {
        let states = everyState(from: ReloadWorld())
        #expect(states.count > 100)
        for state in states {
            var stopped = state
            stopped.end()
            hold(stopped.machine.isIdle && stopped.answered.count == stopped.asked, "somebody waits for ever: \(state)")
            var settled = state
            settled.settle()
            hold(settled.machine.isIdle && settled.answered.count == settled.asked, "somebody waits for ever: \(state)")
        }
    }

    @Test("long random orders of events", arguments: 0..<50)
    func randomOrders(seed: Int) {
        var world = randomWalk(from: ReloadWorld(), steps: 200, seed: UInt64(seed))
        world.end()
        #expect(world.machine.isIdle && world.answered.count == world.asked)
    }
}
