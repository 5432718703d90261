// Owns: what middlewares say of themselves: `app.add_middleware`, the table `panini.middleware`, and what editors know of them.
// A constant; any thread.

import CScriptObjects
import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.add_middleware` and `panini.middleware`.
    static let middlewares = Feature(
        ScriptMiddlewares.self,
        tables: [
            Table(
                "panini.middleware",
                type: "panini.BuiltInMiddlewares",
                annotation: "Middlewares that the host brings; no Lua runs on their path."
            )
        ],
        functions: middlewareFunctions + builtInFunctions,
        types: middlewareTypes
    )

    /// In the table `app`.
    private static let middlewareFunctions: [Function] = [
        Function(
            entry: .addMiddleware,
            annotation: """
                Wraps sends and received messages. The last one added is the outermost. A function is called with the further
                arguments and returns the middleware.
                @param middleware panini.Middleware|fun(...): panini.Middleware
                @param ... any
                @return panini.MiddlewareHandle handle
                """,
            // It calls functions that make middlewares, and drops the app before them.
            push: { script, L, app in
                lua_pushvalue(L, app)
                panini_middleware_push_adder(
                    L,
                    HostFunctionEntry.addMiddleware.function,
                    Unmanaged.passUnretained(script).toOpaque()
                )
            }
        ),
        Function(
            entry: HostFunctionEntry(
                name: "remove_middleware",
                signature: "app.remove_middleware(handle) -> true | false"
            ) {
                hostCall($0, $1, "app.remove_middleware", takes: 1) { call throws(UsageError) in
                    try call.script.removeMiddleware(call)
                }
            },
            annotation: """
                Takes a middleware away again.
                @param handle panini.MiddlewareHandle
                @return boolean removed false when it was removed before
                """
        ),
    ]

    /// In the table `panini.middleware`.
    private static let builtInFunctions: [Function] = [
        Function(
            table: "panini.middleware",
            entry: HostFunctionEntry(
                name: "timeout",
                signature: "panini.middleware.timeout{ subject =, seconds =, ... } -> middleware"
            ) {
                hostCall($0, $1, "panini.middleware.timeout", takes: 1) { call throws(UsageError) in
                    try call.script.timeoutMiddleware(call)
                }
            },
            annotation: """
                Limits requests, and reports what took too long to a subject.
                @param options panini.TimeoutMiddlewareOptions
                @return panini.Middleware middleware
                """
        ),
        Function(
            table: "panini.middleware",
            entry: HostFunctionEntry(
                name: "error",
                signature: "panini.middleware.error{ on_error =, codes =, ... } -> middleware"
            ) {
                hostCall($0, $1, "panini.middleware.error", takes: 1) { call throws(UsageError) in
                    try call.script.errorMiddleware(call)
                }
            },
            annotation: """
                Is told of failures, and may put something in their place.
                @param options? panini.ErrorMiddlewareOptions
                @return panini.Middleware middleware
                """
        ),
        Function(
            table: "panini.middleware",
            entry: HostFunctionEntry(
                name: "debug",
                signature: "panini.middleware.debug{ level =, logger =, ... } -> middleware"
            ) {
                hostCall($0, $1, "panini.middleware.debug", takes: 1) { call throws(UsageError) in
                    try call.script.debugMiddleware(call)
                }
            },
            annotation: """
                Logs each message and each answer.
                @param options? panini.DebugMiddlewareOptions
                @return panini.Middleware middleware
                """
        ),
        Function(
            table: "panini.middleware",
            entry: HostFunctionEntry(
                name: "cors",
                signature: "panini.middleware.cors{ origins = {...}, ... } -> middleware"
            ) {
                hostCall($0, $1, "panini.middleware.cors", takes: 1) { call throws(UsageError) in
                    try call.script.cors(call)
                }
            },
            annotation: """
                Answers browsers whose pages come from elsewhere. For the app as a whole.
                @param options panini.CORSOptions
                @return panini.Middleware middleware
                """
        ),
    ]

    /// Middlewares, and the options of those that the host brings.
    private static let middlewareTypes = [
        """
        @class panini.MiddlewareHandle
        @field remove fun(): boolean false when it was removed before
        """,
        """
        A middleware: any of these. Not calling what is handed in stops the message there.
        @class panini.Middleware
        @field listen_publish? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
        @field listen_request? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
        @field listen_any? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
        @field send_publish? fun(subject: string, message: any, publish: panini.Sender, opts: table): ...
        @field send_request? fun(subject: string, message: any, request: panini.Sender, opts: table): ...
        @field send_any? fun(subject: string, message: any, send: panini.Sender, opts: table): ...
        @field http_request? fun(req: panini.Request, callback: fun(req?: panini.Request): ...): ...
        """,
        "@alias panini.Sender fun(subject?: string, message?: any, opts?: table): ...",
        """
        @class panini.TimeoutMiddlewareOptions
        @field subject? string where reports go
        @field seconds? number the limit of requests without one of their own
        @field codes? (integer|string)[] which failures are reported
        @field sends? boolean
        @field listens? boolean
        """,
        """
        @class panini.ErrorMiddlewareOptions
        @field on_error? fun(err: panini.Error, info: { kind: string, subject: string, msg?: panini.Message, message?: any }): ...
        @field codes? (integer|string)[] only these
        @field level? panini.LogLevel ("error")
        @field logger? string ("panini")
        @field sends? boolean
        @field listens? boolean
        """,
        """
        @class panini.DebugMiddlewareOptions
        @field level? panini.LogLevel ("debug")
        @field logger? string ("panini")
        @field max_bytes? integer what is shown of a payload (300)
        @field sends? boolean
        @field listens? boolean
        """,
        """
        @class panini.CORSOptions
        @field origins string[]|"*"
        @field methods? string[]
        @field headers? string[]
        @field expose? string[]
        @field credentials? boolean
        @field max_age? number seconds (600)
        """,
    ]
}

extension HostFunctionEntry {
    /// What the function in the table calls.
    fileprivate static let addMiddleware = HostFunctionEntry(
        name: "add_middleware",
        signature: "app.add_middleware(middleware | function [, arguments...]) -> handle with .remove()"
    ) {
        hostCall($0, $1, "app.add_middleware", takes: 1) { call throws(UsageError) in
            try call.script.addMiddleware(call)
        }
    }
}
