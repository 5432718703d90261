// Owns: what editors know of requests, responses and the options of routes. Constants; any thread.

enum HTTPTypes {
    /// Requests, responses, and what routes take.
    static let all = [
        "@alias panini.RouteHandler fun(req: panini.Request): ...",
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
        What a route returns: made by `panini.response{...}`.
        @class panini.Response
        """,
        """
        @class panini.ServerSentEvent
        @field event? string
        @field data? any what is no string goes out as JSON
        @field id? string|integer
        @field retry? integer milliseconds
        """,
    ]
}
