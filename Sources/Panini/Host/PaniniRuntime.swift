// Owns: what the host can say about itself. Constants; any thread.

import LuaVM

/// Facts about the running host.
public enum PaniniRuntime {
    /// The Lua that runs the scripts, such as `Lua 5.4.4`.
    public static var luaVersion: String { LuaVM.luaVersion }
}
