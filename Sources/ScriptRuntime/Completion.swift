// Owns: what a coroutine gets that goes on after a wait. Values; loop-bound.

import CLuaVM
package import LuaVM

/// A result that knows how to become Lua values.
package protocol CompletionValue {
    /// Pushes it; returns the number of values.
    func push(onto L: OpaquePointer, in script: Script) -> CInt

    /// Nobody waits for it any more: gives back what it holds in the state.
    func release(in script: Script)
}

extension CompletionValue {
    package func release(in script: Script) {}
}

/// What a waiting coroutine gets.
package enum Completion {
    case nothing
    case success
    case failure(CallError)
    /// A value in the registry; its reference is released when it is pushed.
    case reference(LuaReference)
    case value(any CompletionValue)
}

extension Script {
    /// Gives back what a completion holds when nobody waits for it any more.
    package func release(_ completion: Completion) {
        switch completion {
        case .nothing, .success, .failure: break
        case .reference(let reference): vm.release(reference)
        case .value(let value): value.release(in: self)
        }
    }

    package func push(_ completion: Completion, onto L: OpaquePointer) -> CInt {
        switch completion {
        case .nothing: return 0
        case .success:
            lua_pushboolean(L, 1)
            return 1
        case .failure(let error):
            lua_pushnil(L)
            push(error, onto: L)
            return 2
        case .reference(let reference):
            vm.push(reference, onto: L)
            vm.release(reference)
            return 1
        case .value(let value): return value.push(onto: L, in: self)
        }
    }
}
