// Owns: the classes of panini.d.lua that are no tables of host functions: messages, requests, options, handles. Constants.
// The tests hold their fields against what a running script finds.

extension ScriptTypes {
    static let aliases = [
        "What `msg.data` is, and how a value is sent.\n@alias panini.DataType \"json\"|\"string\"|\"bytes\"",
        """
        What a handler returns is the answer of a request: a table goes out as JSON, a string as its bytes, `nil, err` as an
        error, nothing not at all.
        @alias panini.Handler fun(msg: panini.Message): ...
        """,
        "@alias panini.RouteHandler fun(req: panini.Request): ...",
        """
        Why a call or a message failed: a text is code 500.
        @alias panini.Refusal string|panini.Error|{ code: integer|string, message: string, errors?: panini.Violation[] }
        """,
    ]

    static let classes: [String] = [
        "JSON's null: `panini.null`.\n@class panini.Null: userdata",
        """
        What a call that failed returns beside nil; `tostring(err)` is the message.
        @class panini.Error
        @field code integer|string such as "timeout", "no_responders", "disconnected", or the number a service answered with
        @field message string the text for people
        @field data? any the body of the answer, when a service answered with an error
        @field errors? panini.Violation[] what is wrong with a message that failed its validator
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
        @class panini.TimerOptions
        @field name? string for logs and listings
        @field immediate? boolean false: the first run comes after one interval (true)
        @field jitter? number each tick comes later by a random part of so many seconds (0)
        @field mode? "rate"|"delay" "delay": the interval counts from the end of a run
        @field each_worker? boolean runs on every worker (false)
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
        """
        @class panini.Spawned
        @field wait fun(): ... waits for the function: its results, or nil and an error
        """,
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
        "@alias panini.LogLevel \"debug\"|\"info\"|\"warning\"|\"error\"",
        """
        @class panini.Logger
        @field name string
        @field debug fun(text: any, fields?: table)
        @field info fun(text: any, fields?: table)
        @field warning fun(text: any, fields?: table)
        @field error fun(text: any, fields?: table)
        @field exception fun(text: any, fields?: table) an error with the traceback of this place
        """,
        """
        @class panini.Field
        @field type "string"|"integer"|"number"|"boolean"|"array"|"object"|"any"|panini.Validator
        @field many? boolean an array of that type
        @field null? boolean panini.null is allowed
        @field default? any fills a missing key
        @field optional? boolean the key may be missing
        @field min? number bound of numbers, and of the length of strings and arrays
        @field max? number
        @field enum? any[] the allowed values
        @field pattern? string a Lua pattern that the whole string must match
        @field items? panini.Field what each element of an array must be
        @field check? fun(value: any): boolean?, string?
        """,
        """
        @class panini.ValidatorOptions
        @field unknown? "pass"|"refuse" what becomes of keys that are no fields
        @field max_violations? integer (100)
        @field pattern_steps? integer (1000000)
        """,
        """
        @class panini.Validator
        @field validate fun(self: panini.Validator, value: any): any, panini.Violation[]? the value, or nil and what is wrong
        @field json_schema fun(self: panini.Validator): table JSON Schema 2020-12
        """,
        """
        @class panini.Violation
        @field path string `items[3].id`
        @field code string
        @field message string
        """,
        """
        A request of the web server.
        @class panini.Request
        @field method string
        @field path string without the query
        @field params table<string, string> the path's parameters
        @field query table<string, string> the first value of each name
        @field query_all table<string, string[]>
        @field headers panini.Headers names in any case
        @field body string the bytes, "" without any
        @field cookies table<string, string>
        @field remote_address string
        @field context table a table of this request, for middlewares and handler
        @field json fun(): any the body decoded; raises what becomes a 400
        @field form fun(): table<string, string|panini.Upload>, table<string, (string|panini.Upload)[]> the fields of a form
        """,
        """
        @class panini.Upload
        @field filename string
        @field content_type string
        @field data string
        """,
        """
        @class panini.RouteOptions
        @field max_body? integer|string the largest body
        @field timeout? number seconds for the handler
        @field bytes? boolean path, query, headers and form are given as they are when they are no text, instead of 400 (false)
        @field validator? panini.Validator what the JSON body must be
        @field on_invalid? fun(req: panini.Request, violations: panini.Violation[]): ...
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.StaticOptions
        @field max_age? number seconds that answers may be kept
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.ResponseOptions
        @field status? integer (200)
        @field headers? table<string, string|string[]>
        @field text? string
        @field html? string
        @field json? any
        @field body? string bytes
        @field file? string a file of the script's folder
        @field stream? fun(write: fun(bytes: string): true|nil, panini.Error?): ...
        @field events? fun(send: fun(event: string|panini.ServerSentEvent): true|nil, panini.Error?): ...
        """,
        """
        A connection of a WebSocket.
        @class panini.WebSocket
        @field id integer no other connection of this process has or had it
        @field protocol? string the subprotocol that was agreed on
        @field context table a table of this connection
        @field receive fun(): string?, "text"|"binary"|panini.Error waits for a message; nil and an error at the end
        @field send fun(text: string, options?: { wait?: boolean }): true|nil, panini.Error?
        @field send_binary fun(bytes: string, options?: { wait?: boolean }): true|nil, panini.Error?
        @field close fun(code?: integer, reason?: string): boolean false when it was closed before
        """,
        """
        @class panini.WebSocketEvents
        @field open? fun(ws: panini.WebSocket, req: panini.Request): ...
        @field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
        @field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
        @field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of `open` when it comes over from a reload
        """,
        "@alias panini.WebSocketHandler (fun(ws: panini.WebSocket, req: panini.Request): ...)|panini.WebSocketEvents",
        """
        @class panini.WebSocketOptions
        @field max_message? integer|string ("1MB")
        @field max_queue? integer messages not received yet (64)
        @field max_unsent? integer|string ("16MB")
        @field ping_interval? number|false seconds of silence before a ping (30)
        @field idle_timeout? number seconds
        @field timeout? number seconds for a function of a table
        @field origins? string[] which pages may connect ({ "self" })
        @field protocols? string[] the subprotocols
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.BridgeOptions
        @field allow string[] the subjects that clients may subscribe to
        @field max_subscriptions? integer of one client
        @field max_message? integer|string ("64KB")
        @field max_unsent? integer|string ("1MB")
        @field ping_interval? number|false
        @field idle_timeout? number
        @field origins? string[]
        @field middlewares? panini.Middleware[]
        """,
        """
        @class panini.ServerSentEvent
        @field event? string
        @field data? any what is no string goes out as JSON
        @field id? string|integer
        @field retry? integer milliseconds
        """,
        """
        What `app.http.fetch` takes beside the URL: at most one of body, json and form.
        @class panini.FetchOptions
        @field method? string "GET"
        @field headers? table<string, string|number|string[]|false> `false` leaves out user-agent, accept or accept-encoding
        @field body? string
        @field json? any
        @field form? table<string, any>
        @field timeout? number seconds for everything (10)
        @field max_body? integer|string after decoding ("10MB")
        @field redirects? integer how many are followed (5); 0: the redirect itself is the answer
        @field stream? fun(piece: string, response: panini.Fetched): boolean? called with each piece; false ends the download
        @field ca_file? string certificates to trust instead of the system's (PEM)
        @field verify? boolean verify the server's certificate (true)
        """,
        """
        The answer of another server.
        @class panini.Fetched
        @field status integer
        @field headers panini.Headers
        @field body? string nil when it was streamed
        @field url string where it came from, after redirects
        @field json fun(): any, panini.Error? the body decoded
        """,
        "What a route returns: made by `panini.response{...}`.\n@class panini.Response",
    ]
}
