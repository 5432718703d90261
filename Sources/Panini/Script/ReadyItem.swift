// Owns: what waits for the outermost level of the worker: coroutines that may go on. Loop-bound values. It keeps a chain of
// completions (a spawned function that ends wakes its waiter, which ends and wakes its own ...) from nesting on the stack.

import LuaVM
import NIOCore
import PaniniHTTP

/// What a waiting coroutine gets.
enum Completion {
    case nothing
    case success
    case failure(CallError)
    /// A listener's handle, in the registry.
    case reference(LuaReference)
    /// The results kept in a spawn handle, in the registry.
    case spawnResults(LuaReference)
    case group(WaitGroup)
    /// A response of another server; without a body the head of a streamed one.
    case fetched(HTTPFetchHead, ByteBuffer?)
    /// A piece of a streamed response.
    case fetchedPiece(ByteBuffer)
}

enum ReadyItem {
    case start(LuaReference, SpawnRecord)
    case resume(UInt64, Completion)
    /// A listener has a free place for a waiting message.
    case pump(Listener)
    /// The next start under the "sync" strategy.
    case syncNext
    /// A request of the web server, with its place in the count of what runs.
    case request(HTTPRoute, HTTPRequest)
    /// The function that writes a stream, and which function it is given.
    case stream(LuaReference, HTTPRoute, HTTPRequest, CInt)
    /// A look at what is next for a WebSocket.
    case webSocket(WebSocketSession)
    case task(index: Int)
    /// A tick that is due.
    case tick(ServiceTimer)
    /// The hook of this index, of those that run.
    case hook(index: Int)
    /// Handlers whose time may be over.
    case expiry(DeadlineList)
    /// What Swift functions have left.
    case swift
}
