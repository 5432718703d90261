// Owns: what a feature says of its part in scripts: tables, functions and other values, with what editors know of each.
// Values; any thread.

import ScriptRuntime

extension Feature {
    /// Pushes one value onto the stack of a script that is being made or loaded.
    ///
    /// `table` is where the table that it is for lies: what the script gets, not what fills it.
    typealias Push = @Sendable (_ script: Script, _ L: OpaquePointer, _ table: CInt) -> Void

    /// A table of functions.
    struct Table: Sendable {
        /// The hint for an assignment when the table has no better one.
        static let ownVariables = "keep values of your own in variables of your own"

        /// What scripts write: `app.http`.
        let path: String
        /// Its class for editors: `panini.HTTP`.
        let type: String
        /// What editors say of the class.
        let annotation: String
        /// What they say of it in the table that it stands in.
        let summary: String
        /// What the error of an assignment to the table says: how to do it instead.
        let hint: String

        init(
            _ path: String,
            type: String,
            annotation: String,
            summary: String = "",
            hint: String = ownVariables
        ) {
            self.path = path
            self.type = type
            self.annotation = annotation
            self.summary = summary
            self.hint = hint
        }
    }

    /// A function that scripts call.
    struct Function: Sendable {
        /// The path of the table that it stands in.
        let table: String
        let entry: HostFunctionEntry
        /// What editors know of it: LuaCATS annotations, one per line.
        let annotation: String
        /// Pushes the value that the table gets, when that is not the entry's function itself.
        let push: Push?
        /// The function of Lua's own library that it replaces in all scripts but trusted ones.
        let replaces: (library: String, name: String)?

        init(
            table: String = "app",
            entry: HostFunctionEntry,
            annotation: String,
            push: Push? = nil,
            replaces: (library: String, name: String)? = nil
        ) {
            self.table = table
            self.entry = entry
            self.annotation = annotation
            self.push = push
            self.replaces = replaces
        }
    }

    /// What stands in a table and is no function: a number, a logger.
    struct Value: Sendable {
        /// What scripts write: `panini.worker`.
        let path: String
        /// Its type for editors, and what they say of it.
        let type: String
        let push: Push

        init(_ path: String, type: String, push: @escaping Push) {
            self.path = path
            self.type = type
            self.push = push
        }
    }
}
