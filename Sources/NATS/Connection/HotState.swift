// Owns: the parts of a connection that every message touches. They live behind a pointer of their own: stored properties of a
// class are checked for exclusive access on every change at run time, which cost a third of a publish. What the check
// would catch cannot happen here: none of these values calls anybody while it is being changed. Loop-bound.

import NIOCore

struct HotState {
    /// Frames on their way to the socket.
    var outbound = ByteBuffer()
    /// What waits in front of them, until the socket has room.
    var backlog = OutboundBacklog()
    /// What the socket has not taken yet of what was handed to it.
    var unwritten = UnwrittenFrames()
    var subscriptions = SubscriptionTable()
    var requests = RequestTable()
    var statistics = NATSStatistics()
    var terms: SendTerms
}

/// What may be sent now.
struct SendTerms {
    /// nil while publishing is allowed.
    var refusal: NATSPublishError?
    /// The most bytes that headers and payload of a message may have together.
    var maximumPayload = Int.max
    var headersRefused = false
    /// How many bytes may be unsent in the current state.
    var outboundLimit: Int
}

extension NATSConnection {
    var outbound: ByteBuffer {
        @inline(__always) _read { yield hot.pointee.outbound }
        @inline(__always) _modify { yield &hot.pointee.outbound }
    }

    var backlog: OutboundBacklog {
        @inline(__always) _read { yield hot.pointee.backlog }
        @inline(__always) _modify { yield &hot.pointee.backlog }
    }

    var unwritten: UnwrittenFrames {
        @inline(__always) _read { yield hot.pointee.unwritten }
        @inline(__always) _modify { yield &hot.pointee.unwritten }
    }

    var subscriptions: SubscriptionTable {
        @inline(__always) _read { yield hot.pointee.subscriptions }
        @inline(__always) _modify { yield &hot.pointee.subscriptions }
    }

    var requests: RequestTable {
        @inline(__always) _read { yield hot.pointee.requests }
        @inline(__always) _modify { yield &hot.pointee.requests }
    }

    /// Counters, kept over reconnects.
    package internal(set) var statistics: NATSStatistics {
        @inline(__always) _read { yield hot.pointee.statistics }
        @inline(__always) _modify { yield &hot.pointee.statistics }
    }

    var publishRefusal: NATSPublishError? {
        @inline(__always) _read { yield hot.pointee.terms.refusal }
        @inline(__always) _modify { yield &hot.pointee.terms.refusal }
    }

    var maximumPayload: Int {
        @inline(__always) get { hot.pointee.terms.maximumPayload }
        @inline(__always) set { hot.pointee.terms.maximumPayload = newValue }
    }

    var headersRefused: Bool {
        @inline(__always) get { hot.pointee.terms.headersRefused }
        @inline(__always) set { hot.pointee.terms.headersRefused = newValue }
    }

    var outboundLimit: Int {
        @inline(__always) get { hot.pointee.terms.outboundLimit }
        @inline(__always) set { hot.pointee.terms.outboundLimit = newValue }
    }
}
