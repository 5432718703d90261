// Owns: the bytes of a response's head, and the small responses that the server gives by itself. Pure; any thread.

import Bytes

/// A response that is complete: status, headers and a body.
package struct HTTPResponse {
    package var status: Int
    /// Names and values as they go out; without content-length, date and connection, which the server writes.
    package var headers: HTTPFields = []
    package var body: [UInt8] = []

    package init(status: Int, headers: HTTPFields = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// An error as all of Panini's errors look in JSON.
    package static func failure(
        _ status: Int,
        _ text: String,
        headers: HTTPFields = []
    ) -> HTTPResponse {
        HTTPResponse(
            status: status,
            headers: headers.adding([("content-type", "application/json")]),
            body: JSONText.object([
                ("success", .boolean(false)), ("code", .whole(status)), ("error", .string(text)),
            ]).bytes()
        )
    }

    /// The text that goes with a status (RFC 9110, section 15).
    package static func reason(_ status: Int) -> StaticString {
        switch status {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 206: "Partial Content"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 418: "I'm a teapot"
        case 422: "Unprocessable Content"
        case 425: "Too Early"
        case 426: "Upgrade Required"
        case 428: "Precondition Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 451: "Unavailable For Legal Reasons"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Status"
        }
    }
}
