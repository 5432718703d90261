// Owns: one middleware that was added, and all of a script's with what is composed of them. Loop-bound values; knows
// nothing of how a chain runs.

import LuaVM

/// One middleware: functions of the script by kind, or one of the host.
struct MiddlewareLayer {
    let id: Int64
    /// By kind; a fallback stands for every kind it serves.
    var functions: [PaniniMiddlewareKind: LuaReference] = [:]
    var swiftMiddleware: SwiftMiddleware?

    func covers(_ kind: PaniniMiddlewareKind) -> Bool {
        functions[kind] != nil || swiftMiddleware?.kinds.contains(kind) == true
    }
}

/// A middleware in Swift, under the number its steps know it by.
struct SwiftMiddleware {
    let id: Int64
    let kinds: Set<PaniniMiddlewareKind>
}

/// A message that a middleware in Swift waits for the end of.
struct SwiftObservation {
    let token: Int64
    let middleware: any PaniniMiddleware
    let kind: PaniniMiddlewareKind
    let state: AnyObject?
    /// Of a send; a received message has it itself.
    let subject: [UInt8]
}
