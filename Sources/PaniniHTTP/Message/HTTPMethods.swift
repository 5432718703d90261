// Owns: which methods are known whatever routes name. Pure; any thread.

/// Names of methods.
package enum HTTPMethods {
    /// Those of RFC 9110 that a handler can have, and PATCH.
    package static let usual: Set<String> = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    /// Whether a method is registered, so that a path may have it or not; what nobody has heard of is not implemented.
    package static func isRegistered(_ method: String) -> Bool { usual.contains(method) || others.contains(method) }

    /// The methods of the registry (RFC 9110, section 16.1), and two that are as common.
    private static let others: Set<String> = [
        "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "LABEL", "LINK", "LOCK", "MERGE",
        "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "ORDERPATCH", "PROPFIND",
        "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK",
        "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL", "PURGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE",
    ]
}
