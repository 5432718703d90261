// Owns: what the access log will say of a response while that goes out. A value; loop-bound with its connection.

import NIOCore

/// The status, the size and the time of one response.
struct HTTPAccessRecord {
    /// When the head of the request was there; the distant past where no access is logged.
    private(set) var begun = NIODeadline.distantPast
    var status = 0
    /// The size of the body.
    var bytes = 0

    /// A request's head is there.
    mutating func begin() { begun = .now() }

    /// A request is refused before its head was there.
    mutating func beginIfNeeded() {
        if begun == .distantPast { begin() }
    }

    /// The line for the access log. What follows begins anew.
    ///
    /// - Parameter request: Nil when there was none that could be read.
    mutating func end(_ request: HTTPRequest?, remoteAddress: String) -> HTTPAccessReport {
        defer { begun = .distantPast }
        return HTTPAccessReport(
            method: request?.method ?? "-",
            path: request?.path ?? "-",
            status: status,
            bytes: bytes,
            remoteAddress: remoteAddress,
            seconds: Double((NIODeadline.now() - begun).nanoseconds) / 1e9
        )
    }
}
