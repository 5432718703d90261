// Owns: what the services protocol tells of one listener subject's requests: counters and the last error. Loop-bound.

/// The statistics of one endpoint.
final class Endpoint {
    /// Its name in the services protocol; empty until the subject is subscribed with the protocol on.
    var name = ""
    /// Messages with a reply subject.
    var requests: UInt64 = 0
    /// Requests answered by an error reply.
    var errors: UInt64 = 0
    /// The code and the text of the last one, cut to what a header holds.
    var lastError: ReplyError?
    /// From arrival to reply, in nanoseconds, over all answered requests.
    var processingTime: UInt64 = 0
}

@available(*, unavailable)
extension Endpoint: Sendable {}
