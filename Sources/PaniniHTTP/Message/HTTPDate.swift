// Owns: dates as HTTP writes them (RFC 9110, section 5.6.7). Pure; any thread.

import Glibc

/// Times in the form of HTTP headers.
package enum HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    ///
    /// - Parameter seconds: Since 1970.
    package static func text(_ seconds: Int) -> String {
        var time = time_t(seconds)
        var parts = tm()
        gmtime_r(&time, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return """
            \(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(Int(parts.tm_year) + 1900) \
            \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT
            """
    }
}

extension HTTPDate {
    /// Reads a date in the form that is sent today or in one of the two obsolete ones, which servers still have to know; nil for
    /// every other text.
    ///
    /// - Parameter text: Such as `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or `Sun Nov  6 08:49:37 1994`.
    /// - Returns: Seconds since 1970.
    package static func parse(_ text: String) -> Int? {
        let parts = text.split(separator: " ", omittingEmptySubsequences: false)
        switch parts.count {
        case 6 where parts[0].hasSuffix(",") && parts[5] == "GMT":
            return seconds(day: parts[1], month: parts[2], year: parts[3], clock: parts[4])
        case 4 where parts[0].hasSuffix(",") && parts[3] == "GMT":
            let date = parts[1].split(separator: "-", omittingEmptySubsequences: false)
            guard date.count == 3, date[2].utf8.count == 2, let short = Int(date[2]) else { return nil }
            // What would be more than fifty years ahead is of the century before.
            let year = short + (short + 2000 > thisYear + 50 ? 1900 : 2000)
            return seconds(day: date[0], month: date[1], year: Substring(String(year)), clock: parts[2])
        case 5: return seconds(day: parts[2], month: parts[1], year: parts[4], clock: parts[3])
        // A day of one digit has a blank before it.
        case 6 where parts[2].isEmpty && parts[3].utf8.count == 1:
            return seconds(day: parts[3], month: parts[1], year: parts[5], clock: parts[4])
        default: return nil
        }
    }

    private static var thisYear: Int {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        return Int(parts.tm_year) + 1900
    }

    private static func seconds(day: Substring, month: Substring, year: Substring, clock: Substring) -> Int? {
        guard let day = Int(day), (1...31).contains(day), let month = months.firstIndex(of: String(month)),
            let year = Int(year), (1...9999).contains(year)
        else { return nil }
        let clock = clock.split(separator: ":").map { Int($0) ?? -1 }
        guard clock.count == 3, (0...23).contains(clock[0]), (0...59).contains(clock[1]), (0...60).contains(clock[2])
        else {
            return nil
        }
        // Days since 1970, counted from March so that the leap day is a year's last.
        let shifted = month < 2 ? year - 1 : year
        let dayOfYear = (153 * ((month + 10) % 12) + 2) / 5 + day - 1
        let dayOfEra = (shifted % 400) * 365 + (shifted % 400) / 4 - (shifted % 400) / 100 + dayOfYear
        let days = (shifted / 400) * 146_097 + dayOfEra - 719_468
        return ((days * 24 + clock[0]) * 60 + clock[1]) * 60 + clock[2]
    }
}
