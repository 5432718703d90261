// Owns: the annotations of `panini` and the tables in it for panini.d.lua. Constants. A function of the tables in
// HostFunctionTable.swift has its entry here, under the same name.

extension ScriptTypes {
    static let paniniHeader = """
        Everything the host offers. A global, and what `require "panini"` returns.
        @class panini
        @field null panini.Null JSON's null
        @field worker integer the number of the worker this state runs on, from 0
        @field workers integer how many workers there are
        @field json panini.JSON
        @field base64 panini.Base64
        @field hash panini.Hash
        @field middleware panini.BuiltInMiddlewares
        """

    static let panini: [String: String] = [
        "app": """
        Makes the script's one app.
        @param options panini.AppOptions
        @return panini.App app
        """,
        "env": """
        A variable of the environment.
        @param name string
        @param default? any what it is when there is no such variable
        @return any text
        """,
        "array": """
        Marks a table as a JSON array, which an empty one needs; without an argument, a new one.
        @generic T: table
        @param t? T
        @return T t
        """,
        "validator": """
        Says what a value must look like.
        @param fields table<string, panini.Field>
        @param options? panini.ValidatorOptions
        @return panini.Validator validator
        """,
        "field": """
        Checks a validator's field at its own line, and returns it.
        @param field panini.Field
        @return panini.Field field
        """,
        "uuid": """
        A random UUID (version 4).
        @return string uuid
        """,
        "now": """
        Seconds since 1970, with fractions.
        @return number seconds
        """,
        "monotonic": """
        Seconds of a clock that never goes back: for measuring.
        @return number seconds
        """,
        "get_logger": """
        A logger under another name.
        @param name? string ("panini")
        @return panini.Logger logger
        """,
        "response": """
        What a route answers, when it is more than a value: one of `text`, `json`, `html`, `body`, `file`, `stream` and
        `events`, with a status and headers.
        @param response panini.ResponseOptions
        @return panini.Response response
        """,
    ]

    static let json: [String: String] = [
        "encode": """
        The JSON text of a value. Raises for what has no JSON form.
        @param value any
        @return string text
        """,
        "decode": """
        The value of a JSON text.
        @param text string
        @return any value
        @return panini.Error? err
        """,
    ]

    static let base64: [String: String] = [
        "encode": """
        @param bytes string
        @return string text
        """,
        "decode": """
        @param text string
        @return string? bytes
        @return panini.Error? err
        """,
    ]

    static let hash: [String: String] = [
        "sha256": """
        @param text string
        @return string digits 64 hexadecimal digits
        """,
        "hmac_sha256": """
        @param key string
        @param text string
        @return string digits 64 hexadecimal digits
        """,
    ]

    static let middleware: [String: String] = [
        "timeout": """
        Limits requests, and reports what took too long to a subject.
        @param options panini.TimeoutMiddlewareOptions
        @return panini.Middleware middleware
        """,
        "error": """
        Is told of failures, and may put something in their place.
        @param options? panini.ErrorMiddlewareOptions
        @return panini.Middleware middleware
        """,
        "debug": """
        Logs each message and each answer.
        @param options? panini.DebugMiddlewareOptions
        @return panini.Middleware middleware
        """,
        "cors": """
        Answers browsers whose pages come from elsewhere. For the app as a whole.
        @param options panini.CORSOptions
        @return panini.Middleware middleware
        """,
    ]
}
