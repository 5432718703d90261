// Owns: what the shared store says of itself: the table `app.shared`, and what editors know of it. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.shared`.
    static let sharedStore = Feature(
        ScriptSharedStore.self,
        ServiceSharedStore.self,
        shared: [{ SharedStore() }],
        tables: [
            Table(
                "app.shared",
                type: "panini.Shared",
                annotation: "Values that all workers have in common, kept over reloads.",
                summary: "what the workers have in common",
                hint: "app.shared.set(key, value) stores a value for all workers, app.shared.get(key) reads it"
            )
        ],
        functions: sharedFunctions
    )

    /// In the table `app.shared`.
    private static let sharedFunctions: [Function] = [
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(name: "get", signature: "app.shared.get(key) -> value | nil") {
                hostCall($0, $1, "app.shared.get", takes: 1) { call throws(UsageError) in
                    try call.script.sharedGet(call)
                }
            },
            annotation: """
                The value of a key.
                @param key string
                @return boolean|number|string|table|nil value
                """
        ),
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(name: "set", signature: "app.shared.set(key, value [, ttl]) -> true | nil, err") {
                hostCall($0, $1, "app.shared.set", takes: 3) { call throws(UsageError) in
                    try call.script.sharedSet(call)
                }
            },
            annotation: """
                Sets a key; nil deletes it.
                @param key string
                @param value boolean|number|string|table|nil
                @param ttl? number seconds it stays
                @return true|nil done
                @return panini.Error? err
                """
        ),
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(
                name: "add",
                signature: "app.shared.add(key, value [, ttl]) -> true | false | nil, err"
            ) {
                hostCall($0, $1, "app.shared.add", takes: 3) { call throws(UsageError) in
                    try call.script.sharedAdd(call)
                }
            },
            annotation: """
                Sets a key that does not exist.
                @param key string
                @param value boolean|number|string|table
                @param ttl? number seconds it stays
                @return boolean? added false when the key exists
                @return panini.Error? err
                """
        ),
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(
                name: "incr",
                signature: "app.shared.incr(key [, by [, initial]]) -> number | nil, err"
            ) {
                hostCall($0, $1, "app.shared.incr", takes: 3) { call throws(UsageError) in
                    try call.script.sharedIncrement(call)
                }
            },
            annotation: """
                Adds to a number; the key is made when it does not exist.
                @param key string
                @param by? number (1)
                @param initial? number what a new key begins with (0)
                @return number? value the number after that
                @return panini.Error? err
                """
        ),
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(name: "delete", signature: "app.shared.delete(key) -> true | false") {
                hostCall($0, $1, "app.shared.delete", takes: 1) { call throws(UsageError) in
                    try call.script.sharedDelete(call)
                }
            },
            annotation: """
                Removes a key.
                @param key string
                @return boolean removed false when there was none
                """
        ),
        Function(
            table: "app.shared",
            entry: HostFunctionEntry(name: "keys", signature: "app.shared.keys([prefix]) -> list of keys") {
                hostCall($0, $1, "app.shared.keys", takes: 1) { call throws(UsageError) in
                    try call.script.sharedKeys(call)
                }
            },
            annotation: """
                The keys, all or those that begin with a text.
                @param prefix? string
                @return string[] keys
                """
        ),
    ]
}
