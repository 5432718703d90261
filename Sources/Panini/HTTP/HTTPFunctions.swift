// Owns: the table of functions of `app.http`. The registration and the documentation come from it.

import LuaVM

extension HostFunctionEntry {
    /// Functions of `app.http`.
    static let http: [HostFunctionEntry] = []
}
