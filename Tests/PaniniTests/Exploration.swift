// Walks through every state that any order of events leads to, of a machine together with what a test has noted of it.

import Testing

/// A machine with what its driver has seen of it so far, as a value.
protocol Explorable: Hashable {
    associatedtype Event

    /// Everything that may happen now.
    var events: [Event] { get }

    /// What follows an event; checks what holds at each step.
    mutating func send(_ event: Event)
}

/// All states that some order of events leads to, the first one included. As the machine is a value, one look at each state is
/// as good as a look at every order of events, however long.
func everyState<World: Explorable>(from start: World, atMost limit: Int = 100_000) -> Set<World> {
    var known: Set<World> = [start]
    var frontier = [start]
    while let world = frontier.popLast() {
        for event in world.events {
            var next = world
            next.send(event)
            guard known.insert(next).inserted else { continue }
            frontier.append(next)
            guard known.count < limit else {
                Issue.record("more than \(limit) states")
                return known
            }
        }
    }
    return known
}

/// A random order of events.
func randomWalk<World: Explorable>(from start: World, steps: Int, seed: UInt64) -> World {
    var generator = SplitMix64(state: seed)
    var world = start
    for _ in 0..<steps {
        guard let event = world.events.randomElement(using: &generator) else { break }
        world.send(event)
    }
    return world
}

/// What holds at each of very many steps: only a failure costs anything.
func hold(_ condition: Bool, _ text: @autoclosure () -> String, location: SourceLocation = #_sourceLocation) {
    if !condition { Issue.record("\(text())", sourceLocation: location) }
}
