---@meta panini
-- What a Panini service script can use, for editors that understand LuaCATS annotations (lua-language-server and
-- its kin). Made by `panini types` from the program's own tables: do not edit; a new program, a new file.

---What a call that failed returns beside nil; `tostring(err)` is the message.
---@class panini.Error
---@field code integer|string such as "timeout", "no_responders", "disconnected", or the number a service answered with
---@field message string the text for people
---@field data? any the body of the answer, when a service answered with an error
---@field errors? panini.Violation[] what is wrong with a message that failed its validator

---@class panini.Spawned
---@field wait fun(): ... waits for the function: its results, or nil and an error

---JSON's null: `panini.null`.
---@class panini.Null: userdata

---What `msg.data` is, and how a value is sent.
---@alias panini.DataType "json"|"string"|"bytes"

---What a handler returns is the answer of a request: a table goes out as JSON, a string as its bytes, `nil, err` as an
---error, nothing not at all.
---@alias panini.Handler fun(msg: panini.Message): ...

---Why a call or a message failed: a text is code 500.
---@alias panini.Refusal string|panini.Error|{ code: integer|string, message: string, errors?: panini.Violation[] }

---A received message.
---@class panini.Message
---@field subject string the concrete subject
---@field reply string where an answer goes; "" for a one-way message
---@field data any the payload as the listener's data_type says, decoded on first use; nil for an empty one
---@field raw string the payload's bytes
---@field size integer their number
---@field headers panini.Headers
---@field params table<string, string> the named tokens of the subject
---@field tokens string[] all tokens of the subject
---@field context table a table of this message, for middlewares and handler
---@field respond fun(value: any, options?: panini.RespondOptions): true|nil, panini.Error? answers now

---Headers by name, the first value of each.
---@class panini.Headers
---@field [string] string
---@field all fun(self: panini.Headers, name: string): string[] every value of a header

---@class panini.RespondOptions
---@field headers? table<string, string|string[]>
---@field data_type? panini.DataType

---@class panini.ListenOptions
---@field queue? string|false queue group; false: none, every process gets the message
---@field each_worker? boolean true: every worker gets each message, not one of them
---@field data_type? panini.DataType what `msg.data` is ("json")
---@field validator? panini.Validator refuses messages that are not as they should be, with 422
---@field on_invalid? fun(msg: panini.Message, violations: panini.Violation[]): ... answers those itself
---@field concurrency? integer how many handlers may be under way (1024); 1: one after another
---@field timeout? number seconds a handler may take
---@field middlewares? panini.Middleware[]
---@field name? string for listings
---@field metadata? table<string, string> for listings
---@field reply? boolean false: never answers (true)

---@class panini.PublishOptions
---@field reply_to? string where an answer goes
---@field headers? table<string, string|string[]>
---@field data_type? panini.DataType forces one
---@field force? boolean also waits until the broker has it (false)

---@class panini.RequestOptions
---@field timeout? number seconds (10)
---@field headers? table<string, string|string[]>
---@field data_type? panini.DataType forces one
---@field response_data_type? panini.DataType what the answer is ("json")

---@class panini.Filters
---@field include? string|string[]
---@field exclude? string|string[]

---@class panini.Listener
---@field unsubscribe fun(): boolean ends the listener; false when it had ended before

---@class panini.TimerOptions
---@field name? string for logs and listings
---@field immediate? boolean false: the first run comes after one interval (true)
---@field jitter? number each tick comes later by a random part of so many seconds (0)
---@field mode? "rate"|"delay" "delay": the interval counts from the end of a run
---@field each_worker? boolean runs on every worker (false)

---@alias panini.RouteHandler fun(req: panini.Request): ...

---A request of the web server.
---@class panini.Request
---@field method string
---@field path string without the query
---@field params table<string, string> the path's parameters
---@field query table<string, string> the first value of each name
---@field query_all table<string, string[]>
---@field headers panini.Headers names in any case
---@field body string the bytes, "" without any
---@field cookies table<string, string>
---@field remote_address string
---@field context table a table of this request, for middlewares and handler
---@field json fun(): any the body decoded; raises what becomes a 400
---@field form fun(): table<string, string|panini.Upload>, table<string, (string|panini.Upload)[]> the fields of a form

---@class panini.Upload
---@field filename string
---@field content_type string
---@field data string

---@class panini.RouteOptions
---@field max_body? integer|string the largest body
---@field timeout? number seconds for the handler
---@field bytes? boolean path, query, headers and form are given as they are when they are no text, instead of 400 (false)
---@field validator? panini.Validator what the JSON body must be
---@field on_invalid? fun(req: panini.Request, violations: panini.Violation[]): ...
---@field middlewares? panini.Middleware[]

---@class panini.StaticOptions
---@field max_age? number seconds that answers may be kept
---@field middlewares? panini.Middleware[]

---@class panini.ResponseOptions
---@field status? integer (200)
---@field headers? table<string, string|string[]>
---@field text? string
---@field html? string
---@field json? any
---@field body? string bytes
---@field file? string a file of the script's folder
---@field stream? fun(write: fun(bytes: string): true|nil, panini.Error?): ...
---@field events? fun(send: fun(event: string|panini.ServerSentEvent): true|nil, panini.Error?): ...

---What a route returns: made by `panini.response{...}`.
---@class panini.Response

---@class panini.ServerSentEvent
---@field event? string
---@field data? any what is no string goes out as JSON
---@field id? string|integer
---@field retry? integer milliseconds

---@class panini.MiddlewareHandle
---@field remove fun(): boolean false when it was removed before

---A middleware: any of these. Not calling what is handed in stops the message there.
---@class panini.Middleware
---@field listen_publish? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
---@field listen_request? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
---@field listen_any? fun(msg: panini.Message, callback: fun(msg?: panini.Message): ...): ...
---@field send_publish? fun(subject: string, message: any, publish: panini.Sender, opts: table): ...
---@field send_request? fun(subject: string, message: any, request: panini.Sender, opts: table): ...
---@field send_any? fun(subject: string, message: any, send: panini.Sender, opts: table): ...
---@field http_request? fun(req: panini.Request, callback: fun(req?: panini.Request): ...): ...

---@alias panini.Sender fun(subject?: string, message?: any, opts?: table): ...

---@class panini.TimeoutMiddlewareOptions
---@field subject? string where reports go
---@field seconds? number the limit of requests without one of their own
---@field codes? (integer|string)[] which failures are reported
---@field sends? boolean
---@field listens? boolean

---@class panini.ErrorMiddlewareOptions
---@field on_error? fun(err: panini.Error, info: { kind: string, subject: string, msg?: panini.Message, message?: any }): ...
---@field codes? (integer|string)[] only these
---@field level? panini.LogLevel ("error")
---@field logger? string ("panini")
---@field sends? boolean
---@field listens? boolean

---@class panini.DebugMiddlewareOptions
---@field level? panini.LogLevel ("debug")
---@field logger? string ("panini")
---@field max_bytes? integer what is shown of a payload (300)
---@field sends? boolean
---@field listens? boolean

---@class panini.CORSOptions
---@field origins string[]|"*"
---@field methods? string[]
---@field headers? string[]
---@field expose? string[]
---@field credentials? boolean
---@field max_age? number seconds (600)

---What `app.http.fetch` takes beside the URL: at most one of body, json and form.
---@class panini.FetchOptions
---@field method? string "GET"
---@field headers? table<string, string|number|string[]|false> `false` leaves out user-agent, accept or accept-encoding
---@field body? string
---@field json? any
---@field form? table<string, any>
---@field timeout? number seconds for everything (10)
---@field max_body? integer|string after decoding ("10MB")
---@field redirects? integer how many are followed (5); 0: the redirect itself is the answer
---@field stream? fun(piece: string, response: panini.Fetched): boolean? called with each piece; false ends the download
---@field ca_file? string certificates to trust instead of the system's (PEM)
---@field verify? boolean verify the server's certificate (true)

---The answer of another server.
---@class panini.Fetched
---@field status integer
---@field headers panini.Headers
---@field body? string nil when it was streamed
---@field url string where it came from, after redirects
---@field json fun(): any, panini.Error? the body decoded

---A connection of a WebSocket.
---@class panini.WebSocket
---@field id integer no other connection of this process has or had it
---@field protocol? string the subprotocol that was agreed on
---@field context table a table of this connection
---@field receive fun(): string?, "text"|"binary"|panini.Error waits for a message; nil and an error at the end
---@field send fun(text: string, options?: { wait?: boolean }): true|nil, panini.Error?
---@field send_binary fun(bytes: string, options?: { wait?: boolean }): true|nil, panini.Error?
---@field close fun(code?: integer, reason?: string): boolean false when it was closed before

---An open connection.
---@class panini.WebSocket
---@field id integer no other connection of this process has it
---@field protocol? string the subprotocol that was agreed on
---@field context table a table of this connection
---@field receive fun(): string?, "text"|"binary"|panini.Error waits; nil and an error once it has ended
---@field send fun(text: string, options?: { wait?: boolean }): true?, panini.Error? waits while the client is slow
---@field send_binary fun(bytes: string, options?: { wait?: boolean }): true?, panini.Error?
---@field close fun(code?: integer, reason?: string): boolean false when it was closed before

---@class panini.WebSocketEvents
---@field open? fun(ws: panini.WebSocket, req: panini.Request): ...
---@field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
---@field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
---@field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of `open` when it comes over from a reload

---@class panini.WebSocketHandlers
---@field open? fun(ws: panini.WebSocket, req: panini.Request): ...
---@field message? fun(ws: panini.WebSocket, data: string, kind: "text"|"binary"): ...
---@field close? fun(ws: panini.WebSocket, code: integer, reason: string): ...
---@field reload? fun(ws: panini.WebSocket, req: panini.Request): ... in place of open, after a reload

---@alias panini.WebSocketHandler (fun(ws: panini.WebSocket, req: panini.Request): ...)|panini.WebSocketEvents

---@alias panini.WebSocketHandler fun(ws: panini.WebSocket, req: panini.Request): ...

---@class panini.WebSocketOptions
---@field max_message? integer|string ("1MB")
---@field max_queue? integer messages not received yet (64)
---@field max_unsent? integer|string ("16MB")
---@field ping_interval? number|false seconds of silence before a ping (30)
---@field idle_timeout? number seconds
---@field timeout? number seconds for a function of a table
---@field origins? string[] which pages may connect ({ "self" })
---@field protocols? string[] the subprotocols
---@field middlewares? panini.Middleware[]

---@class panini.WebSocketOptions
---@field max_message? integer|string the largest message ("1MB")
---@field max_queue? integer messages that may wait to be received (64)
---@field max_unsent? integer|string bytes that may wait to be sent ("16MB")
---@field ping_interval? number|false seconds of silence before a ping (30)
---@field idle_timeout? number seconds of silence before the end (web_idle_timeout)
---@field timeout? number seconds for a function of a table (handler_timeout)
---@field origins? string[] pages that may connect: "self", "https://shop.example", "*" ({ "self" })
---@field protocols? string[] subprotocols that are spoken
---@field middlewares? panini.Middleware[]

---@class panini.BridgeOptions
---@field allow string[] the subjects that clients may subscribe to
---@field max_subscriptions? integer of one client
---@field max_message? integer|string ("64KB")
---@field max_unsent? integer|string ("1MB")
---@field ping_interval? number|false
---@field idle_timeout? number
---@field origins? string[]
---@field middlewares? panini.Middleware[]

---@class panini.BridgeOptions
---@field allow string[] what clients may subscribe to: { "prices.>" }
---@field max_subscriptions? integer of one client (100)
---@field max_message? integer|string the largest command ("64KB")
---@field max_unsent? integer|string beyond it a slow client is dropped ("1MB")
---@field ping_interval? number|false seconds of silence before a ping (30)
---@field idle_timeout? number seconds of silence before the end (web_idle_timeout)
---@field origins? string[] pages that may connect: "self", "https://shop.example", "*" ({ "self" })
---@field middlewares? panini.Middleware[]

---@class panini.Field
---@field type "string"|"integer"|"number"|"boolean"|"array"|"object"|"any"|panini.Validator
---@field many? boolean an array of that type
---@field null? boolean panini.null is allowed
---@field default? any fills a missing key
---@field optional? boolean the key may be missing
---@field min? number bound of numbers, and of the length of strings and arrays
---@field max? number
---@field enum? any[] the allowed values
---@field pattern? string a Lua pattern that the whole string must match
---@field items? panini.Field what each element of an array must be
---@field check? fun(value: any): boolean?, string?

---@class panini.ValidatorOptions
---@field unknown? "pass"|"refuse" what becomes of keys that are no fields
---@field max_violations? integer (100)
---@field pattern_steps? integer (1000000)

---@class panini.Validator
---@field validate fun(self: panini.Validator, value: any): any, panini.Violation[]? the value, or nil and what is wrong
---@field json_schema fun(self: panini.Validator): table JSON Schema 2020-12

---@class panini.Violation
---@field path string `items[3].id`
---@field code string
---@field message string

---@alias panini.LogLevel "debug"|"info"|"warning"|"error"

---@class panini.Logger
---@field name string
---@field debug fun(text: any, fields?: table)
---@field info fun(text: any, fields?: table)
---@field warning fun(text: any, fields?: table)
---@field error fun(text: any, fields?: table)
---@field exception fun(text: any, fields?: table) an error with the traceback of this place

---@class panini.AppOptions.auth
---@field user? string user name at the broker
---@field password? string password of auth.user; better in the environment
---@field token? string token; better in the environment
---@field nkey_seed? string nkey seed, SU...; better in a file
---@field nkey_seed_file? string file with the nkey seed
---@field credentials_file? string credentials file: a JWT and its seed
---@field credentials? string text of a credentials file; better the file

---@class panini.AppOptions.tls
---@field ca_file? string certificates to trust instead of the system's (PEM)
---@field cert_file? string the client's certificate (PEM)
---@field key_file? string the key of the client's certificate (PEM)
---@field first? boolean TLS before the broker's INFO (false)
---@field verify? boolean verify the broker's certificate (true)

---@class panini.AppOptions.web_tls
---@field cert_file? string the web server's certificate, with its chain (PEM)
---@field key_file? string the web server's key (PEM)

---@class panini.AppOptions.limits
---@field cpu? number seconds of CPU time of one handler run (1)
---@field cpu_rate? number seconds of CPU time for each second that a task, stream or socket lives (0.5)
---@field memory? integer|string memory of the Lua state (256MB)
---@field weak_keys? integer values in tables with weak keys and strong values (4000)
---@field load? number seconds of CPU time of the script's file (5)
---@field slice? number seconds of CPU time of the service before others have their turn (0.01)

---What `panini.app{...}` takes. Durations are seconds; sizes are bytes, or texts such as "64MB".
---@class panini.AppOptions
---@field service_name string the service's name: letters, digits, _ and -
---@field version? string the service's version, semver ("0.0.0")
---@field description? string one line on what the service does
---@field metadata? table<string, string> texts by name, shown by the services protocol
---@field host? string the broker's host ("127.0.0.1")
---@field port? integer the broker's port (4222)
---@field servers? string|string[] the brokers' addresses (nats, tls, ws, wss), instead of host and port
---@field client_name? string the connection's name at the broker
---@field auth? panini.AppOptions.auth
---@field tls? panini.AppOptions.tls
---@field allocation_queue_group? string queue group of every listener that names none
---@field app_strategy? "asyncio"|"sync" "asyncio": handlers interleave; "sync": one at a time
---@field reconnect? boolean reconnect after a lost connection (true)
---@field max_reconnect_attempts? integer give up after so many attempts; -1: never
---@field reconnecting_time_sleep? number seconds between attempts (2)
---@field auth_retry? number seconds the broker may refuse credentials that it took before (600)
---@field max_control_line? integer|string longest line the broker takes: its max_control_line (4096)
---@field connect_timeout? number seconds for one connection attempt (5)
---@field retry_on_start? boolean keep trying when no broker answers at start (true)
---@field ping_interval? number seconds between pings to the broker (120)
---@field pending_limit? integer messages waiting per listener (65536)
---@field pending_bytes_limit? integer|string bytes waiting per listener (64MB)
---@field unsent_bytes_limit? integer|string bytes waiting for the broker before sends wait (64MB)
---@field web_server? boolean serve HTTP (false)
---@field web_host? string the web server's address ("127.0.0.1")
---@field web_port? integer the web server's port (8080)
---@field web_tls? panini.AppOptions.web_tls
---@field web_max_body? integer|string largest request body (1MB)
---@field web_max_header_bytes? integer|string largest request head (16384)
---@field web_header_timeout? number seconds for a request's head (10)
---@field web_body_timeout? number seconds for a request's body (30)
---@field web_idle_timeout? number seconds an idle connection is kept (60)
---@field web_max_connections? integer open connections (10000)
---@field web_max_requests? integer requests being answered at once (10000)
---@field web_memory? integer|string memory that all web servers hold for clients (an eighth of the machine's or container's)
---@field web_connection_memory? integer|string memory held for one connection, beside its largest request or answer (64MB)
---@field web_access_log? boolean log every request (false)
---@field web_compression? boolean compress answers (true)
---@field web_http2? boolean speak HTTP/2 (true)
---@field web_max_streams? integer requests at once over one HTTP/2 connection (128)
---@field fetch_max_connections? integer connections of app.http.fetch to one server (64)
---@field logger_required? boolean write logs (true); false: loggers do nothing
---@field logger_files_path? string folder of the log files ("logs" beside the script)
---@field logger_in_separate_process? boolean accepted: records are always written off the hot path
---@field module_path? string|string[] further folders that require looks in, relative to where they are written
---@field ignore_task_exceptions? boolean go on after an error in a task or timer (true)
---@field handler_timeout? number seconds a handler may take (30)
---@field shutdown_timeout? number seconds running handlers get at the stop (30)
---@field debug? boolean error replies carry the real text (false)
---@field services? boolean answer the NATS services protocol (true)
---@field drain_timeout? number seconds the old version gets after a reload (30)
---@field shared_limit? integer|string memory of app.shared (64MB)
---@field limits? panini.AppOptions.limits

---The script's one app, from `panini.app{...}`. Its functions are called with a dot; a colon works as well.
---@class panini.App
---@field logger panini.Logger the service's log
---@field http panini.HTTP routes of the web server
---@field shared panini.Shared what the workers have in common
local App = {}

---Waits; only the calling coroutine does.
---@param seconds number
function App.sleep(seconds) end

---Runs a function beside the current one; it starts when the caller next waits or ends.
---@param fn fun(): ...
---@return panini.Spawned handle
function App.spawn(fn) end

---Runs all functions at once and waits for them, and for those that handles of `app.spawn` stand for.
---@param members ((fun(): ...)|panini.Spawned)[]
---@return any[] results by position, the first result of each
---@return table<integer, panini.Error>? errors by position; nil when there are none
function App.wait_all(members) end

---Accepted as the last statement; the host starts the service once the file has run.
function App.start() end

---Listens to a subject or to several. `*` stands for one token, `>` for all that follow, `{name}` for one token
---that is then in `msg.params`. What the handler returns is the answer. Later than at load time it waits for the
---broker, and returns `nil, err` when the broker denies it.
---@param subject string|string[]
---@param options panini.ListenOptions
---@param handler panini.Handler
---@return panini.Listener handle
---@return panini.Error? err
---@overload fun(subject: string|string[], handler: panini.Handler): panini.Listener, panini.Error?
function App.listen(subject, options, handler) end

---Ends all listeners of a subject. What has arrived before is still handled.
---@param subject string as it was given to `app.listen`
---@return integer ended how many listeners that were
function App.unsubscribe(subject) end

---Publishes a message; waits only while the broker takes less than is sent. A table goes out as JSON, a string as its bytes.
---@param subject string
---@param message any
---@param options? panini.PublishOptions
---@return true|nil sent
---@return panini.Error? err
function App.publish(subject, message, options) end

---Publishes a message and waits until the broker has it.
---@param subject string
---@param message any
---@param options? panini.PublishOptions
---@return true|nil sent
---@return panini.Error? err
function App.publish_sync(subject, message, options) end

---Asks, and waits for the answer; only the calling coroutine waits.
---@param subject string
---@param message any
---@param options? panini.RequestOptions
---@return any data the answer, decoded; nil for an empty one and for a failure
---@return panini.Error? err
---@return panini.Message? msg the whole answer, with its headers
function App.request(subject, message, options) end

---The same call as `app.request`, under another name.
---@param subject string
---@param message any
---@param options? panini.RequestOptions
---@return any data
---@return panini.Error? err
---@return panini.Message? msg
function App.request_sync(subject, message, options) end

---Waits until the broker has seen everything sent so far.
---@param timeout? number seconds (10)
---@return true|nil done
---@return panini.Error? err
function App.flush(timeout) end

---Keeps only the load-time listeners whose subject contains one of `include` and none of `exclude`.
---@param filters panini.Filters
function App.add_filters(filters) end

---Runs a function at once and then every so many seconds; never beside itself.
---@param interval number seconds
---@param options panini.TimerOptions
---@param fn fun()
---@overload fun(interval: number, fn: fun())
function App.timer_task(interval, options, fn) end

---Wraps sends and received messages. The last one added is the outermost. A function is called with the further
---arguments and returns the middleware.
---@param middleware panini.Middleware|fun(...): panini.Middleware
---@param ... any
---@return panini.MiddlewareHandle handle
function App.add_middleware(middleware, ...) end

---Takes a middleware away again.
---@param handle panini.MiddlewareHandle
---@return boolean removed false when it was removed before
function App.remove_middleware(handle) end

---Runs a function once, when all listeners are in place.
---@param fn fun()
function App.task(fn) end

---Runs a function when the connection is there and nothing is subscribed yet; an error in it ends the start, or keeps
---the version before. At a reload it gets what that version's `on_reload` returned.
---@param fn fun(state?: any): ...
function App.on_start_task(fn) end

---Runs a function at the stop, or when the script has been replaced ("reload"): running handlers have ended.
---@param fn fun(reason: "stop"|"reload"): ...
function App.on_stop(fn) end

---What the function returns, plain data, is given to the next version's `on_start_task`.
---@param fn fun(): any
function App.on_reload(fn) end

---Everything the host offers. A global, and what `require "panini"` returns.
---@class panini
---@field worker integer the number of the worker this state runs on, from 0
---@field workers integer how many workers there are
---@field null panini.Null JSON's null
---@field json panini.JSON
---@field base64 panini.Base64
---@field hash panini.Hash
---@field middleware panini.BuiltInMiddlewares
panini = {}

---Makes the script's one app.
---@param options panini.AppOptions
---@return panini.App app
function panini.app(options) end

---A variable of the environment.
---@param name string
---@param default? any what it is when there is no such variable
---@return any text
function panini.env(name, default) end

---Marks a table as a JSON array, which an empty one needs; without an argument, a new one.
---@generic T: table
---@param t? T
---@return T t
function panini.array(t) end

---A random UUID (version 4).
---@return string uuid
function panini.uuid() end

---Seconds since 1970, with fractions.
---@return number seconds
function panini.now() end

---Seconds of a clock that never goes back: for measuring.
---@return number seconds
function panini.monotonic() end

---What a route answers, when it is more than a value: one of `text`, `json`, `html`, `body`, `file`, `stream` and
---`events`, with a status and headers.
---@param response panini.ResponseOptions
---@return panini.Response response
function panini.response(response) end

---Says what a value must look like.
---@param fields table<string, panini.Field>
---@param options? panini.ValidatorOptions
---@return panini.Validator validator
function panini.validator(fields, options) end

---Checks a validator's field at its own line, and returns it.
---@param field panini.Field
---@return panini.Field field
function panini.field(field) end

---A logger under another name.
---@param name? string ("panini")
---@return panini.Logger logger
function panini.get_logger(name) end

---The JSON codec of messages.
---@class panini.JSON
panini.json = {}

---The JSON text of a value. Raises for what has no JSON form.
---@param value any
---@return string text
function panini.json.encode(value) end

---The value of a JSON text.
---@param text string
---@return any value
---@return panini.Error? err
function panini.json.decode(text) end

---Base64 (RFC 4648, section 4).
---@class panini.Base64
panini.base64 = {}

---@param bytes string
---@return string text
function panini.base64.encode(bytes) end

---@param text string
---@return string? bytes
---@return panini.Error? err
function panini.base64.decode(text) end

---Hashes, as hexadecimal digits.
---@class panini.Hash
panini.hash = {}

---@param text string
---@return string digits 64 hexadecimal digits
function panini.hash.sha256(text) end

---@param key string
---@param text string
---@return string digits 64 hexadecimal digits
function panini.hash.hmac_sha256(key, text) end

---Routes of the web server, for an app with `web_server = true`.
---@class panini.HTTP
local HTTP = {}

---A route for GET.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.get(path, options, handler) end

---A route for POST.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.post(path, options, handler) end

---A route for PUT.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.put(path, options, handler) end

---A route for PATCH.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.patch(path, options, handler) end

---A route for DELETE.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.delete(path, options, handler) end

---A route for HEAD.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.head(path, options, handler) end

---A route for OPTIONS.
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(path: string, handler: panini.RouteHandler)
function HTTP.options(path, options, handler) end

---A route for any method; `"*"` is all of them.
---@param method string
---@param path string `/users/{id}`, `/files/{path...}`
---@param options panini.RouteOptions
---@param handler panini.RouteHandler
---@overload fun(method: string, path: string, handler: panini.RouteHandler)
function HTTP.route(method, path, options, handler) end

---Several methods of one path; others are 405.
---@param path string
---@param options panini.RouteOptions
---@param handlers table<string, panini.RouteHandler> by lower case method
---@overload fun(path: string, handlers: table<string, panini.RouteHandler>)
function HTTP.view(path, options, handlers) end

---Serves a folder: beside the script, or by its absolute path.
---@param prefix string
---@param folder string
---@param options? panini.StaticOptions
function HTTP.static(prefix, folder, options) end

---Gets something from another server; waits. Every status is an answer.
---@param url string
---@param options? panini.FetchOptions
---@return panini.Fetched? response
---@return panini.Error? err "dns", "connect", "tls", "timeout", "too_large", "redirects", "protocol", "closed", "denied"
function HTTP.fetch(url, options) end

---A route that upgrades to a WebSocket: one function for the life of a connection, or one per event.
---@param path string
---@param options panini.WebSocketOptions
---@param handler panini.WebSocketHandler
---@overload fun(path: string, handler: panini.WebSocketHandler)
function HTTP.websocket(path, options, handler) end

---Lets browsers subscribe to subjects of NATS over a WebSocket, without any Lua.
---@param path string
---@param options panini.BridgeOptions
function HTTP.nats_bridge(path, options) end

---Middlewares that the host brings; no Lua runs on their path.
---@class panini.BuiltInMiddlewares
panini.middleware = {}

---Limits requests, and reports what took too long to a subject.
---@param options panini.TimeoutMiddlewareOptions
---@return panini.Middleware middleware
function panini.middleware.timeout(options) end

---Is told of failures, and may put something in their place.
---@param options? panini.ErrorMiddlewareOptions
---@return panini.Middleware middleware
function panini.middleware.error(options) end

---Logs each message and each answer.
---@param options? panini.DebugMiddlewareOptions
---@return panini.Middleware middleware
function panini.middleware.debug(options) end

---Answers browsers whose pages come from elsewhere. For the app as a whole.
---@param options panini.CORSOptions
---@return panini.Middleware middleware
function panini.middleware.cors(options) end

---Values that all workers have in common, kept over reloads.
---@class panini.Shared
local Shared = {}

---The value of a key.
---@param key string
---@return boolean|number|string|table|nil value
function Shared.get(key) end

---Sets a key; nil deletes it.
---@param key string
---@param value boolean|number|string|table|nil
---@param ttl? number seconds it stays
---@return true|nil done
---@return panini.Error? err
function Shared.set(key, value, ttl) end

---Sets a key that does not exist.
---@param key string
---@param value boolean|number|string|table
---@param ttl? number seconds it stays
---@return boolean? added false when the key exists
---@return panini.Error? err
function Shared.add(key, value, ttl) end

---Adds to a number; the key is made when it does not exist.
---@param key string
---@param by? number (1)
---@param initial? number what a new key begins with (0)
---@return number? value the number after that
---@return panini.Error? err
function Shared.incr(key, by, initial) end

---Removes a key.
---@param key string
---@return boolean removed false when there was none
function Shared.delete(key) end

---The keys, all or those that begin with a text.
---@param prefix? string
---@return string[] keys
function Shared.keys(prefix) end

return panini
