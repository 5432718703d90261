// Owns: what the host can say about itself. Constants; any thread.

import CLuaShim
import LuaVM
import NIOCore

/// Facts about the running host.
public enum PaniniRuntime {
    /// The Lua that runs the scripts, such as `Lua 5.4.4`.
    public static var luaVersion: String { LuaVM.luaVersion }

    /// How many processors there are for this process.
    package static var processors: Int { System.coreCount }

    /// Has the C library give large blocks back to the system when they are freed, so that what a script had at its worst
    /// does not stay with the process. For programs whose first concern is to run scripts; once, before other threads exist.
    public static func settleAllocator() { panini_settle_allocator() }
}
