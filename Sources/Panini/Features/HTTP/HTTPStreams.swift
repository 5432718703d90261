// Owns: the functions that write the streamed responses of a route. Loop-bound.

import LuaVM
import PaniniHTTP
import ScriptRuntime

/// The streams of one route.
final class HTTPStreams: ActivityOwner {
    private unowned(unsafe) let route: HTTPRoute

    init(_ route: HTTPRoute) {
        self.route = route
        super.init(script: route.script)
    }

    /// Lets a function write to a request's stream, from the outermost level: the handler's coroutine goes back first.
    ///
    /// - Parameter kind: Which function it is given.
    func `defer`(_ function: LuaReference, kind: Int, _ request: HTTPRequest) {
        script.beginActivity()
        let token = UInt(UInt32(bitPattern: function.index)) << 8 | UInt(kind)
        script.defer(.begin(Activity(self, token: token, object: request)))
    }

    // MARK: - Its runs: what writes a streamed response, each

    override func traits(of activity: Activity) -> ActivityTraits { [.holdsStop, .hasOpenEnd] }

    override func begin(_ activity: Activity) {
        let function = LuaReference(index: CInt(bitPattern: UInt32(truncatingIfNeeded: activity.token >> 8)))
        script.startStream(function, activity, kind: CInt(activity.token & 0xFF))
    }

    override func returned(_ activity: Activity, _ L: OpaquePointer, _ count: CInt) {
        if count >= 2, let error = script.returnedError(L, count) { return failed(activity, error) }
        HTTPRoute.request(of: activity).endStream(isComplete: true)
    }

    override func failed(_ activity: Activity, _ error: LuaError) {
        script.service?.streamFailed(route, HTTPRoute.request(of: activity), error)
    }

    override func givenUp(_ activity: Activity, _ reason: ReplyError) -> Bool {
        let request = HTTPRoute.request(of: activity)
        request.connection?.endStream(request.number, isComplete: false)
        return false
    }

    override func ended(_ activity: Activity) {
        let request = HTTPRoute.request(of: activity)
        script.endWrites(to: request)
        script.http.close(request)
        script.endActivity()
        if script.isEnding { script.service?.endIfIdle(script) }
    }
}
