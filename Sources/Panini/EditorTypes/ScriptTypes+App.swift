// Owns: the annotations of `app` and its functions for panini.d.lua. Constants. A function of the table in
// HostFunctionTable.swift has its entry here, under the same name.

extension ScriptTypes {
    static let appHeader = """
        The script's one app, from `panini.app{...}`. Its functions are called with a dot; a colon works as well.
        @class panini.App
        @field http panini.HTTP routes of the web server
        @field shared panini.Shared what the workers have in common
        @field logger panini.Logger the service's log
        """

    static let app: [String: String] = [
        "listen": """
        Listens to a subject or to several. `*` stands for one token, `>` for all that follow, `{name}` for one token
        that is then in `msg.params`. What the handler returns is the answer. Later than at load time it waits for the
        broker, and returns `nil, err` when the broker denies it.
        @param subject string|string[]
        @param options panini.ListenOptions
        @param handler panini.Handler
        @return panini.Listener handle
        @return panini.Error? err
        @overload fun(subject: string|string[], handler: panini.Handler): panini.Listener, panini.Error?
        """,
        "unsubscribe": """
        Ends all listeners of a subject. What has arrived before is still handled.
        @param subject string as it was given to `app.listen`
        @return integer ended how many listeners that were
        """,
        "publish": """
        Publishes a message; waits only while the broker takes less than is sent. A table goes out as JSON, a string as its bytes.
        @param subject string
        @param message any
        @param options? panini.PublishOptions
        @return true|nil sent
        @return panini.Error? err
        """,
        "publish_sync": """
        Publishes a message and waits until the broker has it.
        @param subject string
        @param message any
        @param options? panini.PublishOptions
        @return true|nil sent
        @return panini.Error? err
        """,
        "request": """
        Asks, and waits for the answer; only the calling coroutine waits.
        @param subject string
        @param message any
        @param options? panini.RequestOptions
        @return any data the answer, decoded; nil for an empty one and for a failure
        @return panini.Error? err
        @return panini.Message? msg the whole answer, with its headers
        """,
        "request_sync": """
        The same call as `app.request`, under another name.
        @param subject string
        @param message any
        @param options? panini.RequestOptions
        @return any data
        @return panini.Error? err
        @return panini.Message? msg
        """,
        "flush": """
        Waits until the broker has seen everything sent so far.
        @param timeout? number seconds (10)
        @return true|nil done
        @return panini.Error? err
        """,
        "sleep": """
        Waits; only the calling coroutine does.
        @param seconds number
        """,
        "spawn": """
        Runs a function beside the current one; it starts when the caller next waits or ends.
        @param fn fun(): ...
        @return panini.Spawned handle
        """,
        "wait_all": """
        Runs all functions at once and waits for them, and for those that handles of `app.spawn` stand for.
        @param members ((fun(): ...)|panini.Spawned)[]
        @return any[] results by position, the first result of each
        @return table<integer, panini.Error>? errors by position; nil when there are none
        """,
        "task": """
        Runs a function once, when all listeners are in place.
        @param fn fun()
        """,
        "timer_task": """
        Runs a function at once and then every so many seconds; never beside itself.
        @param interval number seconds
        @param options panini.TimerOptions
        @param fn fun()
        @overload fun(interval: number, fn: fun())
        """,
        "on_start_task": """
        Runs a function when the connection is there and nothing is subscribed yet; an error in it ends the start, or keeps
        the version before. At a reload it gets what that version's `on_reload` returned.
        @param fn fun(state?: any): ...
        """,
        "on_stop": """
        Runs a function at the stop, or when the script has been replaced ("reload"): running handlers have ended.
        @param fn fun(reason: "stop"|"reload"): ...
        """,
        "on_reload": """
        What the function returns, plain data, is given to the next version's `on_start_task`.
        @param fn fun(): any
        """,
        "add_filters": """
        Keeps only the load-time listeners whose subject contains one of `include` and none of `exclude`.
        @param filters panini.Filters
        """,
        "add_middleware": """
        Wraps sends and received messages. The last one added is the outermost. A function is called with the further
        arguments and returns the middleware.
        @param middleware panini.Middleware|fun(...): panini.Middleware
        @param ... any
        @return panini.MiddlewareHandle handle
        """,
        "remove_middleware": """
        Takes a middleware away again.
        @param handle panini.MiddlewareHandle
        @return boolean removed false when it was removed before
        """,
        "start": """
        Accepted as the last statement; the host starts the service once the file has run.
        """,
    ]

    static let shared: [String: String] = [
        "get": """
        The value of a key.
        @param key string
        @return boolean|number|string|table|nil value
        """,
        "set": """
        Sets a key; nil deletes it.
        @param key string
        @param value boolean|number|string|table|nil
        @param ttl? number seconds it stays
        @return true|nil done
        @return panini.Error? err
        """,
        "add": """
        Sets a key that does not exist.
        @param key string
        @param value boolean|number|string|table
        @param ttl? number seconds it stays
        @return boolean? added false when the key exists
        @return panini.Error? err
        """,
        "incr": """
        Adds to a number; the key is made when it does not exist.
        @param key string
        @param by? number (1)
        @param initial? number what a new key begins with (0)
        @return number? value the number after that
        @return panini.Error? err
        """,
        "delete": """
        Removes a key.
        @param key string
        @return boolean removed false when there was none
        """,
        "keys": """
        The keys, all or those that begin with a text.
        @param prefix? string
        @return string[] keys
        """,
    ]
}
