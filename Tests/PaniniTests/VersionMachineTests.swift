// The life of one version on one worker, in every order of events: staged, serving, draining, retired. Values; no loop.

import Testing

@testable import Panini

/// A version with what its service has been told to do.
private struct VersionWorld: Explorable {
    enum Event: CaseIterable {
        case stage, stageRescue, handedOver, handOverFailed, startTasksSucceeded, startTasksFailed
        case prepared, preparationFailed, subscribeSucceeded, subscribeFailed, portOpened, portOpenedWithoutSubjects,
            portFailed
        case subscriptionDenied, confirmed, confirmationFailed, giveUp, serve, commit, replaced
        case subscriptionEnds, subscriptionEnded, becameIdle, stopHooksEnded, deadline, closed
    }

    var machine = VersionMachine<String>()
    var isAwaited = false
    var hasServed = false
    var isServiceStopped = false
    var outcomes: [LifecycleOutcome<String>] = []
    var endingSubscriptions = 0
    var hookRuns = 0
    var withdrawals = 0
    var closes = 0

    var events: [Event] { Event.allCases }

    mutating func send(_ event: Event) {
        let before = machine.phase
        switch event {
        case .stage, .stageRescue:
            let actions = machine.stage(isRescue: event == .stageRescue)
            if !actions.isEmpty { isAwaited = true }
            carryOut(actions)
        case .handedOver: carryOut(machine.handedOver(nil))
        case .handOverFailed: carryOut(machine.handedOver("on_reload"))
        case .startTasksSucceeded: carryOut(machine.startTasksEnded(nil))
        case .startTasksFailed: carryOut(machine.startTasksEnded("start task"))
        case .prepared: carryOut(machine.prepared(nil))
        case .preparationFailed: carryOut(machine.prepared("no stream"))
        case .subscribeSucceeded: carryOut(machine.subscribed(nil))
        case .subscribeFailed: carryOut(machine.subscribed("subscribe"))
        case .portOpened: carryOut(machine.portOpened(nil, addsSubjects: true))
        case .portOpenedWithoutSubjects: carryOut(machine.portOpened(nil, addsSubjects: false))
        case .portFailed: carryOut(machine.portOpened("port", addsSubjects: true))
        case .subscriptionDenied: machine.subscriptionDenied("denied")
        case .confirmed: carryOut(machine.confirmationEnded(nil))
        case .confirmationFailed: carryOut(machine.confirmationEnded("flush"))
        case .giveUp: carryOut(machine.giveUp(.cancelled))
        case .serve: machine.serve()
        case .commit:
            let serves = machine.commit()
            hold(serves == (before == .ready), "\(before) is switched to")
        case .replaced: machine.replaced()
        case .subscriptionEnds:
            guard endingSubscriptions < 2, machine.isDraining else { return }
            endingSubscriptions += 1
            machine.subscriptionEnds()
        case .subscriptionEnded:
            guard endingSubscriptions > 0 else { return }
            endingSubscriptions -= 1
            machine.subscriptionEnded()
        case .becameIdle: carryOut(machine.becameIdle())
        case .stopHooksEnded: carryOut(machine.stopHooksEnded())
        case .deadline: carryOut(machine.drainDeadlineReached())
        case .closed:
            // The service gives up what is staged before it closes anything.
            guard !machine.isStaged || machine.phase == .loaded else { return }
            isServiceStopped = true
            machine.closed()
        }
        if machine.phase == .serving { hasServed = true }
        check(event, before)
    }

    mutating func send(_ events: Event...) {
        for event in events { send(event) }
    }

    private mutating func carryOut(_ actions: [VersionAction<String>]) {
        for action in actions {
            switch action {
            case .handOver, .reportLoss, .runStartTasks, .prepare, .subscribe, .openPort, .confirmSubscriptions:
                hold(machine.isStaged && closes + withdrawals == 0, "\(action) behind the switch or the end")
            case .completeStaging(let outcome): outcomes.append(outcome)
            case .withdraw:
                hold(!hasServed, "a version that has served is withdrawn")
                withdrawals += 1
            case .runStopHooks: hookRuns += 1
            case .giveUp(let runsStopHooks): if runsStopHooks { hookRuns += 1 }
            case .close: closes += 1
            }
        }
    }

    private func check(_ event: Event, _ before: VersionPhase) {
        let after = machine.phase
        hold(after >= before, "\(event) leads from \(before) back to \(after)")
        hold(outcomes.count <= (isAwaited ? 1 : 0), "the staging is answered once: \(event) in \(before)")
        hold(hookRuns <= 1, "on_stop runs twice: \(event) in \(before)")
        hold(withdrawals + closes <= 1, "closed twice: \(event) in \(before)")
        hold(hookRuns == 0 || hasServed, "on_stop of a version that has never served: \(event) in \(before)")
        if machine.waitsForIdle { hold(endingSubscriptions == 0, "messages may still be on their way") }
        switch after {
        case .ready: hold(outcomes == [.succeeded], "ready, and nobody knows: \(event) in \(before)")
        case .retired where !isServiceStopped:
            hold(withdrawals + closes == 1, "\(event) in \(before): it stays in memory")
            hold(hasServed == (closes == 1), "\(event) in \(before): ended the wrong way")
            hold(outcomes.count == (isAwaited ? 1 : 0), "\(event) in \(before): somebody waits for the staging")
        default: break
        }
    }
}

@Suite("The life of a version")
struct VersionMachineTests {
    private static let ready: [VersionWorld.Event] = [
        .stage, .handedOver, .prepared, .startTasksSucceeded, .subscribeSucceeded, .portOpened, .confirmed,
    ]

    private func world(_ events: some Sequence<VersionWorld.Event>) -> VersionWorld {
        var world = VersionWorld()
        for event in events { world.send(event) }
        return world
    }

    @Test("it is made ready, serves, drains and is retired")
    func course() {
        var machine = VersionMachine<String>()
        #expect(machine.stage(isRescue: false) == [.handOver])
        #expect(machine.handedOver(nil) == [.prepare])
        #expect(machine.prepared(nil) == [.runStartTasks])
        #expect(machine.startTasksEnded(nil) == [.subscribe])
        #expect(machine.subscribed(nil) == [.openPort])
        #expect(machine.portOpened(nil, addsSubjects: true) == [.confirmSubscriptions])
        #expect(machine.confirmationEnded(nil) == [.completeStaging(.succeeded)])
        #expect(machine.isStaged)
        #expect(machine.commit() == true)
        #expect(!machine.isStaged && !machine.isDraining)
        machine.replaced()
        #expect(machine.isDraining)
        machine.subscriptionEnds()
        #expect(machine.becameIdle() == [])
        machine.subscriptionEnded()
        #expect(machine.becameIdle() == [.runStopHooks])
        #expect(machine.becameIdle() == [] && machine.isDraining)
        #expect(machine.stopHooksEnded() == [.close])
        #expect(machine.phase == .retired)
    }

    @Test("without new subjects the broker is not asked")
    func noSubjects() {
        var machine = world(Self.ready.prefix(5)).machine
        #expect(machine.portOpened(nil, addsSubjects: false) == [.completeStaging(.succeeded)])
        machine = world(Array(Self.ready.prefix(5)) + [.subscriptionDenied]).machine
        #expect(machine.portOpened(nil, addsSubjects: false) == [.completeStaging(.failed("denied")), .withdraw])
    }

    @Test("a step that fails leaves nothing of it, and the other version serves on")
    func failures() {
        let steps: [(VersionWorld.Event, String)] = [
            (.handOverFailed, "on_reload"), (.preparationFailed, "no stream"), (.startTasksFailed, "start task"),
            (.subscribeFailed, "subscribe"), (.portFailed, "port"), (.confirmationFailed, "flush"),
        ]
        for (count, (event, reason)) in steps.enumerated() {
            var world = world(Self.ready.prefix(count + 1))
            world.send(event)
            #expect(world.outcomes == [.failed(reason)] && world.withdrawals == 1, "\(event)")
            world.send(.commit)
            #expect(!world.hasServed)
        }
    }

    @Test("a subscription that is denied while it is made ready is the reason, whatever comes after")
    func denied() {
        var world = world(Self.ready.dropLast())
        world.send(.subscriptionDenied, .confirmationFailed)
        #expect(world.outcomes == [.failed("denied")])
    }

    @Test("what a version that is out of memory cannot hand over does not stop the next one")
    func rescue() {
        var machine = VersionMachine<String>()
        #expect(machine.stage(isRescue: true) == [.handOver])
        #expect(machine.handedOver("on_reload") == [.reportLoss("on_reload"), .prepare])
    }

    @Test("it may be given up until the switch, and not after it")
    func givenUp() {
        for count in 1..<Self.ready.count {
            var world = world(Self.ready.prefix(count))
            world.send(.giveUp)
            #expect(world.outcomes == [.cancelled] && world.withdrawals == 1)
        }
        var ready = world(Self.ready)
        ready.send(.giveUp, .commit)
        #expect(ready.outcomes == [.succeeded] && ready.withdrawals == 1 && !ready.hasServed)
        var serving = world(Self.ready + [.commit])
        serving.send(.giveUp)
        #expect(serving.machine.phase == .serving && serving.withdrawals == 0)
    }

    @Test("when the time for its end is over it ends, and on_stop has run once")
    func deadline() {
        var draining = world(Self.ready + [.commit, .replaced]).machine
        #expect(draining.drainDeadlineReached() == [.giveUp(runsStopHooks: true), .close])
        var retiring = world(Self.ready + [.commit, .replaced, .becameIdle]).machine
        #expect(retiring.drainDeadlineReached() == [.giveUp(runsStopHooks: false), .close])
        #expect(retiring.stopHooksEnded() == [])
        var serving = world(Self.ready + [.commit]).machine
        #expect(serving.drainDeadlineReached() == [])
    }

    @Test("in every order of events it is answered once and closed once, and its end comes")
    func everyOrder() {
        let states = everyState(from: VersionWorld())
        #expect(Set(states.map(\.machine.phase)).count == 12)
        for state in states {
            var world = state
            // The switch, the next switch, and the time that is over.
            if world.machine.isStaged { world.send(.stage, .giveUp) }
            world.send(.replaced, .deadline)
            hold(world.machine.phase == .retired, "it does not end: \(state)")
        }
    }

    @Test("long random orders of events", arguments: 0..<50)
    func randomOrders(seed: Int) {
        var world = randomWalk(from: VersionWorld(), steps: 400, seed: UInt64(seed))
        if world.machine.isStaged { world.send(.stage, .giveUp) }
        world.send(.replaced, .deadline)
        #expect(world.machine.phase == .retired)
    }
}
