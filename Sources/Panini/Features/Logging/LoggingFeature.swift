// Owns: what logging says of itself: `app.logger` and `panini.get_logger`, and what editors know of them. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.logger` and `panini.get_logger`.
    static let logging = Feature(
        ScriptLogging.self,
        functions: [
            Function(
                table: "panini",
                entry: HostFunctionEntry(name: "get_logger", signature: "panini.get_logger(name) -> logger") {
                    hostCall($0, $1, "panini.get_logger", takes: 1) { call throws(UsageError) in
                        try call.script.getLogger(call)
                    }
                },
                annotation: """
                    A logger under another name.
                    @param name? string ("panini")
                    @return panini.Logger logger
                    """
            )
        ],
        values: [
            Value("app.logger", type: "panini.Logger the service's log") { script, L, _ in
                script.pushLogger(script.options?.serviceName ?? "", L)
            }
        ],
        types: loggingTypes
    )

    /// Loggers.
    private static let loggingTypes = [
        """
        @alias panini.LogLevel "debug"|"info"|"warning"|"error"
        """,
        """
        @class panini.Logger
        @field name string
        @field debug fun(text: any, fields?: table)
        @field info fun(text: any, fields?: table)
        @field warning fun(text: any, fields?: table)
        @field error fun(text: any, fields?: table)
        @field exception fun(text: any, fields?: table) an error with the traceback of this place
        """,
    ]
}
