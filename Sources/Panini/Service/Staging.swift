// Owns: a script while it is made ready beside the one that serves, and what of the old one it will take over. A value of
// a Service; loop-bound.

import Bytes
import LuaVM
import NATSProtocol
import NIOCore
import PaniniHTTP
import ScriptRuntime

/// The next version of a service, before its turn.
struct Staging {
    let script: Script
    let options: AppOptions
    /// The port that another worker has bound.
    let webPort: Int?
    /// What on_reload of the serving version handed over.
    var state = LuaSnapshot.none
    /// The broker is to confirm subscriptions that were made for it.
    var hasSubscribed = false
    var web = WebChange.none
    let promise: EventLoopPromise<Void>
}

/// What becomes of the web server at the switch.
enum WebChange {
    case none
    /// The same port, with other limits or certificates.
    case reconfigure(() -> Void)
    /// A new server, bound already; the old one ends.
    case open(HTTPServer, port: Int?)
    case close
}

/// What a switch has changed, on one worker.
struct SwitchReport: Sendable {
    /// Subjects of listeners, routes and timers together.
    var added: [String] = []
    var removed: [String] = []
    var changed: [String] = []
    /// What still ran on the old version.
    var inFlight = 0
    /// Where the web server listens now.
    var webPort: Int?
}
