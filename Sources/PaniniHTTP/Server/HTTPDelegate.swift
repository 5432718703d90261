// Owns: what is asked and told about requests, whether a socket brings them or this program does. Loop-bound.

/// Who responds to requests.
package protocol HTTPDelegate: AnyObject {
    /// A request's head has arrived. The delegate sets the route and the largest body.
    ///
    /// - Returns: Nil to go on, or the response that refuses the request.
    func admits(_ request: HTTPRequest) -> HTTPResponse?
    /// A request is complete. It is responded to now or later.
    func received(_ request: HTTPRequest)
    /// Whoever waits for the response to a request is gone.
    func lost(_ request: HTTPRequest)
    /// Whoever reads a stream takes bytes again.
    func canWrite(_ request: HTTPRequest)
    /// A response is complete, or was given up; of a server only with ``HTTPServerConfiguration/reportsResponses``.
    func responded(_ report: HTTPAccessReport)
    /// A connection was ended for what its client cost.
    func shed(_ shedding: HTTPShedding)
    /// Connections were refused, or not accepted, for want of descriptors.
    func ranShort(_ shortage: HTTPShortage)
    /// Much of what the connections held has gone: a good time to give memory back to the system.
    func webMemoryCalmedDown()
}

extension HTTPDelegate {
    package func ranShort(_ shortage: HTTPShortage) {}
}

/// Why a server could not take a connection that somebody wanted, beside its own limits.
package enum HTTPShortage: Equatable {
    /// The process has `limit` descriptors; those that clients may have, all but `reserve`, are taken.
    case descriptors(limit: Int, reserve: Int)
    /// The system gave none: accept failed. Nothing is accepted for a moment.
    case accept(errno: CInt)
}

/// One line of an access log.
package struct HTTPAccessReport {
    package let method: String
    package let path: String
    package let status: Int
    /// The size of the body.
    package let bytes: Int
    package let remoteAddress: String
    /// From the head of the request to the end of the response.
    package let seconds: Double
}
