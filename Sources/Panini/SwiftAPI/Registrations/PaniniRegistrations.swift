// Owns: what a Swift program registers beside a script, as a value: listeners, timers and routes with their options. Any
// thread; each version of a script makes its own registrations from it (Script+SwiftRegistrations.swift).

/// Listeners, timers and routes in Swift, as a part of a service.
///
/// They go the way of what scripts register: the same middlewares, limits, time limits, counters and error replies, once on
/// each worker, and they stay when the script is reloaded.
///
/// ```swift
/// configuration.service("orders.lua") { service in
///     service.listen("orders.count") { message in await store.count() }
///     service.timer(every: .seconds(60)) { await store.tidy() }
///     service.route(.get, "/health") { request in "fine" }
/// }
/// ```
///
/// A handler that is not async runs on the worker's thread and holds up all of its messages, so it must not block; an async
/// one runs in a task of its own, which is cancelled when the handler's time is over or the service stops.
public struct PaniniRegistrations: Sendable {
    var listeners: [SwiftListener] = []
    var timers: [SwiftTimer] = []
    var routes: [SwiftRoute] = []

    /// Nothing yet.
    public init() {}

    /// Whether nothing is registered.
    public var isEmpty: Bool { listeners.isEmpty && timers.isEmpty && routes.isEmpty }
}

/// One listener.
struct SwiftListener: Sendable {
    let subjects: [String]
    let options: PaniniListenerOptions
    /// Whether the handler takes the message's data beside the message.
    let takesData: Bool
    let body: EmbeddedBody
}

/// One timer.
struct SwiftTimer: Sendable {
    let interval: Duration
    let options: PaniniTimerOptions
    let body: EmbeddedBody
}

/// One route of the web server.
struct SwiftRoute: Sendable {
    let method: PaniniHTTPMethod
    let path: String
    let options: PaniniRouteOptions
    /// Whether the handler takes the JSON of the request's body beside the request.
    let takesBody: Bool
    let body: EmbeddedBody
}
