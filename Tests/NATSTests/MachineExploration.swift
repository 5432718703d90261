// Walks through every state that any order of events leads to, of a machine together with what a test has noted of it.

import Testing

/// A machine with what its driver has seen of it so far, as a value.
protocol Explorable {
    associatedtype Event
    associatedtype Key: Hashable

    /// Two with the same key have the same future.
    var key: Key { get }

    /// Everything that may happen now.
    var events: [Event] { get }

    /// What follows an event; checks what holds at each step.
    mutating func send(_ event: Event)
}

/// All states that some order of events leads to, the first one included. As the machine is a value, one look at each state is
/// as good as a look at every order of events, however long.
func everyState<World: Explorable>(from start: World, atMost limit: Int = 100_000) -> [World] {
    var known: Set<World.Key> = [start.key]
    var states = [start]
    var next = 0
    while next < states.count {
        let world = states[next]
        next += 1
        for event in world.events {
            var followed = world
            followed.send(event)
            guard known.insert(followed.key).inserted else { continue }
            states.append(followed)
            guard states.count < limit else {
                Issue.record("more than \(limit) states")
                return states
            }
        }
    }
    return states
}

/// A random order of events.
func randomWalk<World: Explorable>(from start: World, steps: Int, seed: UInt64) -> World {
    var generator = WalkGenerator(state: seed)
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

/// Numbers that are the same in every run (SplitMix64).
struct WalkGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
