// Owns: what messaging says of itself: the functions by which scripts listen, publish and request, and what editors know of
// messages. A constant; any thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.listen`, `app.publish`, `app.request` and what belongs to them.
    static let messaging = Feature(
        ScriptMessaging.self,
        ServiceMessaging.self,
        middlewareKinds: PaniniMiddlewareKind.messaging,
        functions: messagingFunctions,
        types: messagingTypes
    )

    /// In the table `app`.
    private static let messagingFunctions: [Function] = [
        Function(
            entry: HostFunctionEntry(
                name: "listen",
                signature: "app.listen(subject | {subjects}, [options,] handler) -> handle"
            ) {
                hostCall($0, $1, "app.listen", takes: 3) { call throws(UsageError) in try call.script.listen(call) }
            },
            annotation: """
                Listens to a subject or to several. `*` stands for one token, `>` for all that follow, `{name}` for one token
                that is then in `msg.params`. What the handler returns is the answer. Later than at load time it waits for the
                broker, and returns `nil, err` when the broker denies it.
                @param subject string|string[]
                @param options panini.ListenOptions
                @param handler panini.Handler
                @return panini.Listener handle
                @return panini.Error? err
                @overload fun(subject: string|string[], handler: panini.Handler): panini.Listener, panini.Error?
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "unsubscribe",
                signature: "app.unsubscribe(subject) -> number of listeners ended"
            ) {
                hostCall($0, $1, "app.unsubscribe", takes: 1) { call throws(UsageError) in
                    try call.script.unsubscribe(call)
                }
            },
            annotation: """
                Ends all listeners of a subject. What has arrived before is still handled.
                @param subject string as it was given to `app.listen`
                @return integer ended how many listeners that were
                """
        ),
        Function(
            entry: .publish,
            annotation: """
                Publishes a message; waits only while the broker takes less than is sent. A table goes out as JSON, a string as its bytes.
                @param subject string
                @param message any
                @param options? panini.PublishOptions
                @return true|nil sent
                @return panini.Error? err
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "publish_sync",
                signature: "app.publish_sync(subject, message [, options]) -> true | nil, err"
            ) {
                hostCall($0, $1, "app.publish_sync", takes: 3) { call throws(UsageError) in
                    try call.script.publish(call, force: true)
                }
            },
            annotation: """
                Publishes a message and waits until the broker has it.
                @param subject string
                @param message any
                @param options? panini.PublishOptions
                @return true|nil sent
                @return panini.Error? err
                """
        ),
        Function(
            entry: .request,
            annotation: """
                Asks, and waits for the answer; only the calling coroutine waits.
                @param subject string
                @param message any
                @param options? panini.RequestOptions
                @return any data the answer, decoded; nil for an empty one and for a failure
                @return panini.Error? err
                @return panini.Message? msg the whole answer, with its headers
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "request_sync",
                signature: "app.request_sync: the same call as app.request"
            ) {
                hostCall($0, $1, "app.request_sync", takes: 3) { call throws(UsageError) in
                    try call.script.request(call)
                }
            },
            annotation: """
                The same call as `app.request`, under another name.
                @param subject string
                @param message any
                @param options? panini.RequestOptions
                @return any data
                @return panini.Error? err
                @return panini.Message? msg
                """
        ),
        Function(
            entry: HostFunctionEntry(name: "flush", signature: "app.flush([timeout]) -> true | nil, err") {
                hostCall($0, $1, "app.flush", takes: 1) { call throws(UsageError) in try call.script.flush(call) }
            },
            annotation: """
                Waits until the broker has seen everything sent so far.
                @param timeout? number seconds (10)
                @return true|nil done
                @return panini.Error? err
                """
        ),
        Function(
            entry: HostFunctionEntry(
                name: "add_filters",
                signature: "app.add_filters{ include = {...}, exclude = {...} }"
            ) {
                hostCall($0, $1, "app.add_filters", takes: 1) { call throws(UsageError) in
                    try call.script.addFilters(call)
                }
            },
            annotation: """
                Keeps only the load-time listeners whose subject contains one of `include` and none of `exclude`.
                @param filters panini.Filters
                """
        ),
    ]

    /// Messages, what calls take, and what handlers return.
    private static let messagingTypes = [
        """
        What `msg.data` is, and how a value is sent.
        @alias panini.DataType "json"|"string"|"bytes"
        """,
        """
        What a handler returns is the answer of a request: a table goes out as JSON, a string as its bytes, `nil, err` as an
        error, nothing not at all.
        @alias panini.Handler fun(msg: panini.Message): ...
        """,
        """
        Why a call or a message failed: a text is code 500.
        @alias panini.Refusal string|panini.Error|{ code: integer|string, message: string, errors?: panini.Violation[] }
        """,
        """
        A received message.
        @class panini.Message
        @field subject string the concrete subject
        @field reply string where an answer goes; "" for a one-way message
        @field data any the payload as the listener's data_type says, decoded on first use; nil for an empty one
        @field raw string the payload's bytes
        @field size integer their number
        @field headers panini.Headers
        @field params table<string, string> the named tokens of the subject
        @field tokens string[] all tokens of the subject
        @field context table a table of this message, for middlewares and handler
        @field respond fun(value: any, options?: panini.RespondOptions): true|nil, panini.Error? answers now
        """,
        """
        Headers by name, the first value of each.
        @class panini.Headers
        @field [string] string
        @field all fun(self: panini.Headers, name: string): string[] every value of a header
        """,
        """
        @class panini.RespondOptions
        @field headers? table<string, string|string[]>
        @field data_type? panini.DataType
        """,
        """
        @class panini.ListenOptions
        @field queue? string|false queue group; false: none, every process gets the message
        @field each_worker? boolean true: every worker gets each message, not one of them
        @field data_type? panini.DataType what `msg.data` is ("json")
        @field validator? panini.Validator refuses messages that are not as they should be, with 422
        @field on_invalid? fun(msg: panini.Message, violations: panini.Violation[]): ... answers those itself
        @field concurrency? integer how many handlers may be under way (1024); 1: one after another
        @field timeout? number seconds a handler may take
        @field middlewares? panini.Middleware[]
        @field name? string for listings
        @field metadata? table<string, string> for listings
        @field reply? boolean false: never answers (true)
        """,
        """
        @class panini.PublishOptions
        @field reply_to? string where an answer goes
        @field headers? table<string, string|string[]>
        @field data_type? panini.DataType forces one
        @field force? boolean also waits until the broker has it (false)
        """,
        """
        @class panini.RequestOptions
        @field timeout? number seconds (10)
        @field headers? table<string, string|string[]>
        @field data_type? panini.DataType forces one
        @field response_data_type? panini.DataType what the answer is ("json")
        """,
        """
        @class panini.Filters
        @field include? string|string[]
        @field exclude? string|string[]
        """,
        """
        @class panini.Listener
        @field unsubscribe fun(): boolean ends the listener; false when it had ended before
        """,
    ]
}

/// Those that Swift code calls, too.
extension HostFunctionEntry {
    /// `app.publish`.
    static let publish = HostFunctionEntry(
        name: "publish",
        signature: "app.publish(subject, message [, options]) -> true | nil, err"
    ) {
        hostCall($0, $1, "app.publish", takes: 3) { call throws(UsageError) in
            try call.script.publish(call, force: false)
        }
    }

    /// `app.request`.
    static let request = HostFunctionEntry(
        name: "request",
        signature: "app.request(subject, message [, options]) -> data, nil, msg | nil, err"
    ) {
        hostCall($0, $1, "app.request", takes: 3) { call throws(UsageError) in try call.script.request(call) }
    }
}
