// Owns: what the plain functions of `panini` say of themselves: environment, clocks, identifiers, JSON, base64, hashes. A
// constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// Functions that need no service: `panini.env`, `panini.json` and their like.
    static let library = Feature(
        tables: [
            Table("panini.json", type: "panini.JSON", annotation: "The JSON codec of messages."),
            Table("panini.base64", type: "panini.Base64", annotation: "Base64 (RFC 4648, section 4)."),
            Table("panini.hash", type: "panini.Hash", annotation: "Hashes, as hexadecimal digits."),
        ],
        functions: libraryFunctions + codecFunctions,
        values: [
            Value("panini.null", type: "panini.Null JSON's null") { script, L, _ in script.vm.pushNull(L) }
        ],
        types: ["JSON's null: `panini.null`.\n@class panini.Null: userdata"]
    )

    /// In the table `panini`.
    private static let libraryFunctions: [Function] = [
        Function(
            table: "panini",
            entry: HostFunctionEntry(name: "env", signature: "panini.env(name [, default]) -> text | default") {
                hostCall($0, $1, "panini.env", takes: 2) { call throws(UsageError) in try call.script.environment(call)
                }
            },
            annotation: """
                A variable of the environment.
                @param name string
                @param default? any what it is when there is no such variable
                @return any text
                """,
            replaces: (library: "os", name: "getenv")
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(name: "array", signature: "panini.array(t) -> t, marked as a JSON array") {
                hostCall($0, $1, "panini.array", takes: 1) { call throws(UsageError) in try call.script.array(call) }
            },
            annotation: """
                Marks a table as a JSON array, which an empty one needs; without an argument, a new one.
                @generic T: table
                @param t? T
                @return T t
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(name: "uuid", signature: "panini.uuid() -> a random UUID (version 4)") {
                hostCall($0, $1, "panini.uuid", takes: 0) { call in call.script.uuid(call) }
            },
            annotation: """
                A random UUID (version 4).
                @return string uuid
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(name: "now", signature: "panini.now() -> seconds since 1970, wall clock") {
                hostCall($0, $1, "panini.now", takes: 0) { call in call.script.now(call) }
            },
            annotation: """
                Seconds since 1970, with fractions.
                @return number seconds
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(
                name: "monotonic",
                signature: "panini.monotonic() -> seconds of a clock that never goes back"
            ) {
                hostCall($0, $1, "panini.monotonic", takes: 0) { call in call.script.monotonic(call) }
            },
            annotation: """
                Seconds of a clock that never goes back: for measuring.
                @return number seconds
                """
        ),
    ]

    /// In the tables that it makes.
    private static let codecFunctions: [Function] = [
        Function(
            table: "panini.json",
            entry: HostFunctionEntry(name: "encode", signature: "panini.json.encode(value) -> text") {
                hostCall($0, $1, "panini.json.encode", takes: 1) { call throws(UsageError) in
                    try call.script.jsonEncode(call)
                }
            },
            annotation: """
                The JSON text of a value. Raises for what has no JSON form.
                @param value any
                @return string text
                """
        ),
        Function(
            table: "panini.json",
            entry: HostFunctionEntry(name: "decode", signature: "panini.json.decode(text) -> value | nil, err") {
                hostCall($0, $1, "panini.json.decode", takes: 1) { call throws(UsageError) in
                    try call.script.jsonDecode(call)
                }
            },
            annotation: """
                The value of a JSON text.
                @param text string
                @return any value
                @return panini.Error? err
                """
        ),
        Function(
            table: "panini.base64",
            entry: HostFunctionEntry(name: "encode", signature: "panini.base64.encode(bytes) -> text") {
                hostCall($0, $1, "panini.base64.encode", takes: 1) { call throws(UsageError) in
                    try call.script.base64Encode(call)
                }
            },
            annotation: """
                @param bytes string
                @return string text
                """
        ),
        Function(
            table: "panini.base64",
            entry: HostFunctionEntry(name: "decode", signature: "panini.base64.decode(text) -> bytes | nil, err") {
                hostCall($0, $1, "panini.base64.decode", takes: 1) { call throws(UsageError) in
                    try call.script.base64Decode(call)
                }
            },
            annotation: """
                @param text string
                @return string? bytes
                @return panini.Error? err
                """
        ),
        Function(
            table: "panini.hash",
            entry: HostFunctionEntry(name: "sha256", signature: "panini.hash.sha256(text) -> hexadecimal digits") {
                hostCall($0, $1, "panini.hash.sha256", takes: 1) { call throws(UsageError) in
                    try call.script.sha256(call)
                }
            },
            annotation: """
                @param text string
                @return string digits 64 hexadecimal digits
                """
        ),
        Function(
            table: "panini.hash",
            entry: HostFunctionEntry(
                name: "hmac_sha256",
                signature: "panini.hash.hmac_sha256(key, text) -> hexadecimal digits"
            ) {
                hostCall($0, $1, "panini.hash.hmac_sha256", takes: 2) { call throws(UsageError) in
                    try call.script.hmacSHA256(call)
                }
            },
            annotation: """
                @param key string
                @param text string
                @return string digits 64 hexadecimal digits
                """
        ),
    ]
}
