// Owns: what the HTTP client says of itself: `app.http.fetch`, and what editors know of it. A constant; any thread.

import CScriptObjects
import LuaVM
import ScriptRuntime

extension Feature {
    /// `app.http.fetch`.
    static let fetch = Feature(
        ScriptFetch.self,
        ServiceFetch.self,
        functions: [
            Function(
                table: "app.http",
                entry: HostFunctionEntry(
                    name: "fetch",
                    signature: "app.http.fetch(url [, options]) -> response | nil, err"
                ) {
                    startFetch($0, $1, nil)
                },
                annotation: """
                    Gets something from another server; waits. Every status is an answer.
                    @param url string
                    @param options? panini.FetchOptions
                    @return panini.Fetched? response
                    @return panini.Error? err "dns", "connect", "tls", "timeout", "too_large", "redirects", "protocol", "closed", "denied"
                    """,
                // What stands in the table is the function in C that goes on with streams; it calls the entry's.
                push: { script, L, _ in panini_fetch_push(L, script.fetching.host) }
            )
        ],
        types: fetchTypes
    )

    /// What it takes, and what it returns.
    private static let fetchTypes = [
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
    ]
}
