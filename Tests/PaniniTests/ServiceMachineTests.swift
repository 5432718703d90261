// The life of a service on one worker: start, readiness, stop and failure in every order of events. Values; no loop.

import Testing

@testable import Panini

/// A service with what its driver has been told to do.
private struct ServiceWorld: Explorable {
    enum Event: CaseIterable {
        case start, connected, connectSucceeded, connectFailed, startTasksSucceeded, startTasksFailed
        case prepared, preparationFailed, subscribeSucceeded, subscribeFailed, subscriptionDenied, confirmed,
            unanswered, confirmationFailed
        case reconnected, activate, portOpened, portFailed, connectionRefused, connectionEnded, taskFailed
        case stop, intakeEnded, becameIdle, stopHooksEnded, deadline, timedOut
        case connectionDrained, abandon
    }

    var machine = ServiceMachine<String>()
    var isStarted = false
    var isActivated = false
    var isStopWanted = false
    var starts: [LifecycleOutcome<String>] = []
    var activations: [LifecycleOutcome<String>] = []
    var stops = 0
    /// What may be done once, and was done.
    var done = Done()

    struct Done: OptionSet, Hashable {
        let rawValue: UInt16

        static let connect = Done(rawValue: 1)
        static let runStartTasks = Done(rawValue: 2)
        static let subscribe = Done(rawValue: 4)
        static let report = Done(rawValue: 8)
        static let drain = Done(rawValue: 16)
        static let runStopHooks = Done(rawValue: 32)
        static let giveUp = Done(rawValue: 64)
        static let closeConnection = Done(rawValue: 128)
        static let shutDown = Done(rawValue: 256)
        static let prepare = Done(rawValue: 512)
    }

    var events: [Event] { Event.allCases }

    mutating func send(_ event: Event) {
        let before = machine.phase
        switch event {
        case .start:
            let actions = machine.start()
            if !actions.isEmpty { isStarted = true }
            carryOut(actions)
        case .connected: machine.connected()
        case .connectSucceeded: carryOut(machine.connectEnded(nil))
        case .connectFailed: carryOut(machine.connectEnded("no broker"))
        case .startTasksSucceeded: carryOut(machine.startTasksEnded(nil))
        case .startTasksFailed: carryOut(machine.startTasksEnded("start task"))
        case .prepared: carryOut(machine.prepared(nil))
        case .preparationFailed: carryOut(machine.prepared("no stream"))
        case .subscribeSucceeded: carryOut(machine.subscribed(nil))
        case .subscribeFailed: carryOut(machine.subscribed("subscribe"))
        case .subscriptionDenied: machine.subscriptionDenied("denied")
        case .confirmed: carryOut(machine.confirmationEnded(.confirmed))
        case .unanswered: carryOut(machine.confirmationEnded(.unanswered))
        case .confirmationFailed: carryOut(machine.confirmationEnded(.failed("flush")))
        case .reconnected: carryOut(machine.reconnected())
        case .activate: if machine.activate() { isActivated = true }
        case .portOpened: carryOut(machine.portOpened(nil))
        case .portFailed: carryOut(machine.portOpened("port"))
        case .connectionRefused: carryOut(machine.connectionRefused("credentials"))
        case .connectionEnded: carryOut(machine.connectionEnded("disconnected"))
        case .taskFailed: carryOut(machine.fail("task"))
        case .stop:
            // A second stop waits for the first one.
            guard !isStopWanted else { return }
            isStopWanted = true
            carryOut(machine.stop())
        case .intakeEnded: machine.intakeEnded()
        case .becameIdle: carryOut(machine.becameIdle())
        case .stopHooksEnded: carryOut(machine.stopHooksEnded())
        case .deadline: carryOut(machine.stopDeadlineReached())
        case .timedOut: machine.stopTimedOut("timeout")
        case .connectionDrained: carryOut(machine.connectionDrained())
        case .abandon: carryOut(machine.abandon())
        }
        check(event, before)
    }

    mutating func send(_ events: Event...) {
        for event in events { send(event) }
    }

    private mutating func carryOut(_ actions: [ServiceAction<String>]) {
        for action in actions {
            switch action {
            case .completeStart(let outcome): starts.append(outcome)
            case .completeActivation(let outcome): activations.append(outcome)
            case .completeStop: stops += 1
            case .confirmSubscriptions: hold(!done.contains(.shutDown), "no question behind the end")
            case .connect: note(.connect)
            case .runStartTasks: note(.runStartTasks)
            case .prepare: note(.prepare)
            case .subscribe: note(.subscribe)
            case .report: note(.report)
            case .drain: note(.drain)
            case .runStopHooks: note(.runStopHooks)
            case .giveUp(let runsStopHooks):
                note(.giveUp)
                if runsStopHooks { note(.runStopHooks) }
            case .closeConnection: note(.closeConnection)
            case .shutDown: note(.shutDown)
            }
        }
    }

    private mutating func note(_ what: Done) {
        hold(!done.contains(.shutDown), "\(what) behind the end")
        hold(done.insert(what).inserted, "\(what) twice")
    }

    private func check(_ event: Event, _ before: ServicePhase) {
        let after = machine.phase
        hold(starts.count <= (isStarted ? 1 : 0), "the start is answered once: \(event) in \(before)")
        hold(activations.count <= (isActivated ? 1 : 0), "the activation is answered once: \(event) in \(before)")
        hold(stops <= (isStopWanted ? 1 : 0), "the stop is answered once: \(event) in \(before)")
        // There is no way back, but for a connection that is lost before the broker has confirmed.
        hold(
            after >= before || (before == .awaitingReconnect && after == .confirming),
            "\(event) leads from \(before) back to \(after)"
        )
        hold(
            !machine.isServing || (starts == [.succeeded] && !done.contains(.drain)),
            "messages are taken between start and drain alone: \(event) in \(before)"
        )
        hold(
            machine.isStopping == (done.contains(.drain) && !machine.isStopped),
            "\(event) in \(before): stopping, and not drained"
        )
        hold(!done.contains(.report) || machine.failure != nil, "\(event) in \(before): nothing to report")
        guard machine.isStopped else { return }
        hold(done.contains(.shutDown), "\(event) in \(before): something is left open")
        hold(starts.count == (isStarted ? 1 : 0), "\(event) in \(before): somebody waits for the start")
        hold(activations.count == (isActivated ? 1 : 0), "\(event) in \(before): somebody waits for the activation")
        hold(stops == (isStopWanted ? 1 : 0), "\(event) in \(before): somebody waits for the stop")
    }
}

@Suite("The life of a service")
struct ServiceMachineTests {
    /// How a service comes into each phase.
    private static let ways: [(ServicePhase, [ServiceWorld.Event])] = [
        (.loaded, []),
        (.connecting, [.start]),
        (.preparing, [.start, .connected, .connectSucceeded]),
        (.runningStartTasks, [.start, .connectSucceeded, .prepared]),
        (.confirming, Array(subscribed.dropLast())),
        (.awaitingReconnect, Array(subscribed.dropLast()) + [.unanswered]),
        (.subscribed, subscribed),
        (.openingPort, subscribed + [.activate]),
        (.serving, serving),
        (.draining, serving + [.stop]),
        (.runningStopHooks, serving + [.stop, .intakeEnded, .becameIdle]),
        (.closing, serving + [.stop, .intakeEnded, .becameIdle, .stopHooksEnded]),
    ]

    private static let subscribed: [ServiceWorld.Event] = [
        .start, .connectSucceeded, .prepared, .startTasksSucceeded, .subscribeSucceeded, .confirmed,
    ]

    private static let serving = subscribed + [.activate, .portOpened]

    private func world(_ events: [ServiceWorld.Event]) -> ServiceWorld {
        var world = ServiceWorld()
        for event in events { world.send(event) }
        return world
    }

    @Test("it connects, runs its start tasks, subscribes, waits for the others and serves")
    func start() {
        var machine = ServiceMachine<String>()
        #expect(machine.start() == [.connect])
        #expect(machine.start() == [])
        machine.connected()
        #expect(machine.connectEnded(nil) == [.prepare])
        #expect(machine.prepared(nil) == [.runStartTasks])
        #expect(machine.startTasksEnded(nil) == [.subscribe])
        #expect(machine.subscribed(nil) == [.confirmSubscriptions])
        #expect(machine.isStarting && !machine.isServing)
        #expect(machine.confirmationEnded(.confirmed) == [.completeStart(.succeeded)])
        #expect(machine.phase == .subscribed && machine.isStarting)
        #expect(machine.activate() == true)
        #expect(machine.isServing && !machine.isStarting)
        #expect(machine.activate() == false)
        #expect(machine.portOpened(nil) == [.completeActivation(.succeeded)])
        #expect(machine.phase == .serving && machine.failure == nil)
    }

    @Test("it drains, runs on_stop, closes the connection and ends")
    func stop() {
        var machine = world(Self.serving).machine
        #expect(machine.stop() == [.drain])
        #expect(machine.stop() == [])
        #expect(machine.becameIdle() == [])
        #expect(!machine.waitsForIdle)
        machine.intakeEnded()
        #expect(machine.waitsForIdle)
        #expect(machine.becameIdle() == [.runStopHooks])
        #expect(machine.becameIdle() == [])
        #expect(machine.stopHooksEnded() == [.closeConnection])
        #expect(machine.stopDeadlineReached() == [])
        #expect(machine.connectionDrained() == [.shutDown, .completeStop])
        #expect(machine.isStopped && machine.failure == nil)
    }

    @Test("a start that fails at any step ends the service, and says why")
    func failedStart() {
        let steps: [(ServiceWorld.Event, [ServiceWorld.Event], String)] = [
            (.connectFailed, [.start], "no broker"),
            (.connectionRefused, [.start], "credentials"),
            (.preparationFailed, [.start, .connectSucceeded], "no stream"),
            (.connectionEnded, [.start, .connectSucceeded], "disconnected"),
            (.prepared, [.start, .connectSucceeded, .subscriptionDenied], "denied"),
            (.startTasksFailed, [.start, .connectSucceeded, .prepared], "start task"),
            (.subscribeFailed, [.start, .connectSucceeded, .prepared, .startTasksSucceeded], "subscribe"),
            (.confirmationFailed, Array(Self.subscribed.dropLast()), "flush"),
            (.connectionEnded, Array(Self.subscribed.dropLast()), "disconnected"),
            (.confirmed, Array(Self.subscribed.dropLast()) + [.subscriptionDenied], "denied"),
            (.startTasksSucceeded, [.start, .connectSucceeded, .prepared, .subscriptionDenied], "denied"),
        ]
        for (event, way, reason) in steps {
            var world = world(way)
            world.send(event)
            #expect(world.starts == [.failed(reason)], "\(event)")
            #expect(world.machine.isStopped && world.machine.failure == reason, "\(event)")
            // Nobody is told twice: whoever waits for the start reports it.
            #expect(!world.done.contains(.report))
        }
        var world = world(Self.subscribed + [.activate])
        world.send(.portFailed)
        #expect(world.activations == [.failed("port")] && world.machine.isStopped)
    }

    @Test("a broker that is lost before it has confirmed is asked again")
    func reconnect() {
        var machine = world(Array(Self.subscribed.dropLast())).machine
        for _ in 0..<3 {
            #expect(machine.confirmationEnded(.unanswered) == [])
            #expect(machine.reconnected() == [.confirmSubscriptions])
            #expect(machine.reconnected() == [])
        }
        #expect(machine.confirmationEnded(.confirmed) == [.completeStart(.succeeded)])
        #expect(machine.reconnected() == [])
    }

    @Test("credentials that are refused end a start, and a running service only through the connection's end")
    func refused() {
        var machine = world(Self.serving).machine
        #expect(machine.connectionRefused("credentials") == [])
        #expect(machine.connectionEnded("disconnected") == [.report("disconnected")])
        #expect(machine.connectionEnded("disconnected") == [])
        #expect(machine.isServing)
    }

    @Test("a failure while others still start is reported, as nobody waits any more")
    func failedBetween() {
        var world = world(Self.subscribed)
        world.send(.connectionEnded)
        #expect(world.done.contains(.report) && !world.machine.isStopped)
        world.send(.stop)
        #expect(world.machine.isStopped && world.machine.failure == "disconnected")
    }

    @Test("a stop in any phase ends, whether the rest answers or not")
    func stopAnywhere() {
        for (phase, way) in Self.ways {
            var world = world(way)
            #expect(world.machine.phase == phase)
            world.send(.stop)
            if !world.machine.isStopped { world.send(.deadline, .connectionDrained) }
            #expect(world.stops == 1, "\(phase)")
        }
    }

    @Test("the time for a stop may be over before and while on_stop runs")
    func deadline() {
        var machine = world(Self.serving + [.stop]).machine
        #expect(machine.stopDeadlineReached() == [.giveUp(runsStopHooks: true), .closeConnection])
        machine.stopTimedOut("timeout")
        #expect(machine.failure == "timeout")
        machine = world(Self.serving + [.stop, .intakeEnded, .becameIdle]).machine
        #expect(machine.stopDeadlineReached() == [.giveUp(runsStopHooks: false), .closeConnection])
        // The hook ends after all.
        #expect(machine.stopHooksEnded() == [])
    }

    @Test("a port that cannot be opened does not hold up a stop that has begun meanwhile")
    func portDuringStop() {
        var world = world(Self.subscribed + [.activate, .stop])
        #expect(world.activations == [.cancelled])
        world.send(.portFailed)
        #expect(world.machine.phase == .draining)
        world.send(.intakeEnded, .becameIdle, .stopHooksEnded, .connectionDrained)
        #expect(world.stops == 1 && world.machine.failure == nil)
    }

    @Test("a worker that is lost in any phase leaves nobody waiting")
    func abandoned() {
        for (phase, way) in Self.ways {
            var world = world(way)
            world.send(.abandon)
            #expect(world.machine.isStopped, "\(phase)")
            world.send(.abandon, .stop)
            #expect(world.stops == 1, "\(phase)")
        }
    }

    @Test("in every order of events each step is made once, and everybody is answered once")
    func everyOrder() {
        let states = everyState(from: ServiceWorld())
        #expect(states.count > 100)
        #expect(Set(states.map(\.machine.phase)).count == 14)
        for state in states {
            // Whatever has happened, a stop ends.
            var stopped = state
            stopped.send(.stop, .deadline, .connectionDrained)
            hold(stopped.machine.isStopped && stopped.stops == 1, "a stop does not end: \(state)")
            // And so does everything when the worker is lost.
            var lost = state
            lost.send(.abandon)
            hold(lost.machine.isStopped, "a lost worker does not end: \(state)")
        }
    }

    @Test("long random orders of events", arguments: 0..<50)
    func randomOrders(seed: Int) {
        var world = randomWalk(from: ServiceWorld(), steps: 400, seed: UInt64(seed))
        world.send(.stop, .deadline, .connectionDrained)
        #expect(world.machine.isStopped && world.stops == 1)
    }
}
