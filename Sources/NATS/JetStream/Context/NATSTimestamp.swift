// Owns: points in time as JetStream tells them: RFC 3339 on the wire, nanoseconds since 1970 here. A value, any thread;
// no Foundation, no time zone tables.

import Bytes
import Glibc

/// A point in time, to the nanosecond, between the years 1678 and 2262.
public struct NATSTimestamp: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// Nanoseconds since 1970 in UTC.
    public let nanoseconds: Int64

    /// A point in time.
    ///
    /// - Parameter nanoseconds: since 1970 in UTC.
    public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// The time of this machine's clock.
    public static func now() -> NATSTimestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return NATSTimestamp(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
    }

    /// Whether `left` is earlier.
    public static func < (left: NATSTimestamp, right: NATSTimestamp) -> Bool { left.nanoseconds < right.nanoseconds }

    /// RFC 3339 in UTC with nine digits, as `2026-11-30T17:00:00.000000000Z`.
    public var description: String {
        let (seconds, rest) = Self.floored(nanoseconds, 1_000_000_000)
        return timestamp(timespec(tv_sec: Int(seconds), tv_nsec: Int(rest)))
    }

    /// Reads RFC 3339, with any number of digits behind the seconds and any offset.
    ///
    /// - Returns: nil when `text` is no such time, or one out of range; so for Go's zero time, the year 1.
    public init?(_ text: String) {
        var reader = Reader(bytes: Array(text.utf8))
        guard let nanoseconds = reader.read() else { return nil }
        self.nanoseconds = nanoseconds
    }

    /// Division towards minus infinity.
    private static func floored(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, rest: Int64) {
        let (quotient, rest) = value.quotientAndRemainder(dividingBy: divisor)
        return rest < 0 ? (quotient - 1, rest + divisor) : (quotient, rest)
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0

        mutating func read() -> Int64? {
            guard let year = number(4), take(ASCII.minus), let month = number(2), take(ASCII.minus),
                let day = number(2), take(UInt8(ascii: "T")), let hour = number(2), take(ASCII.colon),
                let minute = number(2), take(ASCII.colon), let second = number(2)
            else { return nil }
            guard (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second <= 60 else {
                return nil
            }
            guard let fraction = fraction(), let offset = offset(), position == bytes.count else { return nil }
            let seconds = days(year, month, day) * 86_400 + Int64(hour * 3600 + minute * 60 + second) - offset
            let (product, isTooLarge) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
            guard !isTooLarge else { return nil }
            let (sum, overflows) = product.addingReportingOverflow(fraction)
            return overflows ? nil : sum
        }

        private mutating func take(_ byte: UInt8) -> Bool {
            guard position < bytes.count, bytes[position] == byte else { return false }
            position += 1
            return true
        }

        private mutating func number(_ digits: Int) -> Int? {
            guard position + digits <= bytes.count else { return nil }
            var value = 0
            for byte in bytes[position..<(position + digits)] {
                guard ASCII.isDigit(byte) else { return nil }
                value = value * 10 + Int(byte - ASCII.zero)
            }
            position += digits
            return value
        }

        /// Nanoseconds; digits beyond nine are passed over.
        private mutating func fraction() -> Int64? {
            guard take(ASCII.dot) else { return 0 }
            var value: Int64 = 0
            var count = 0
            while position < bytes.count, ASCII.isDigit(bytes[position]) {
                if count < 9 { value = value * 10 + Int64(bytes[position] - ASCII.zero) }
                count += 1
                position += 1
            }
            guard count > 0 else { return nil }
            for _ in min(count, 9)..<9 { value *= 10 }
            return value
        }

        /// Seconds east of UTC.
        private mutating func offset() -> Int64? {
            if take(UInt8(ascii: "Z")) { return 0 }
            let isEast = take(ASCII.plus)
            guard isEast || take(ASCII.minus), let hours = number(2), take(ASCII.colon), let minutes = number(2) else {
                return nil
            }
            let seconds = Int64(hours * 3600 + minutes * 60)
            return isEast ? seconds : -seconds
        }

        /// Days since 1970 of a date in the calendar that is in use, reckoned from March, so that the leap day comes
        /// last.
        private func days(_ year: Int, _ month: Int, _ day: Int) -> Int64 {
            let shifted = month <= 2 ? year - 1 : year
            let era = shifted / 400
            let yearOfEra = shifted - era * 400
            let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
            let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
            return Int64(era * 146_097 + dayOfEra - 719_468)
        }
    }
}
