// Owns: the counters and timers of one listener, route or kind of send: made at its first message, so that none is looked up
// per message. Loop-bound.

import CoreMetrics

/// What is counted of messages that share their labels.
final class MessageMetrics {
    private let succeeded: Counter
    private let failed: Counter
    private let abandoned: Counter
    private let duration: Timer

    /// - Parameters:
    ///   - name: `panini_messages`: the durations are `panini_messages_duration`.
    ///   - labels: What tells it from others; of bounded number.
    init(_ name: String, _ labels: [(String, String)], _ factory: any MetricsFactory) {
        func counter(_ result: String) -> Counter {
            Counter(label: name, dimensions: labels + [("result", result)], factory: factory)
        }
        succeeded = counter("ok")
        failed = counter("error")
        abandoned = counter("abandoned")
        duration = Timer(label: name + "_duration", dimensions: labels, factory: factory)
    }

    func count(_ end: MessageEnd, nanoseconds: UInt64) {
        switch end {
        case .succeeded: succeeded.increment()
        case .failed: failed.increment()
        case .abandoned: abandoned.increment()
        }
        duration.recordNanoseconds(Int64(clamping: nanoseconds))
    }
}

/// How what a middleware wraps has ended.
enum MessageEnd {
    case succeeded
    case failed
    case abandoned
}

@available(*, unavailable)
extension MessageMetrics: Sendable {}
