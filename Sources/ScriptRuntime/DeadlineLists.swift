// Owns: the lists of deadlines of a script, one per distinct time limit of its handlers. A value; loop-bound.

package import LoopTools

/// Lists by their time limit.
package struct DeadlineLists {
    private var byLimit: [Int64: DeadlineList] = [:]
    /// The one that was asked for last: most scripts have one limit.
    private var last: DeadlineList?

    package var count: Int { byLimit.count }

    /// The alarms that are set.
    package var alarms: [DeadlineHandle] { byLimit.values.compactMap(\.alarm) }

    /// The script is closed: an alarm that is set all the same finds nobody.
    package func detach() {
        for list in byLimit.values { list.script = nil }
    }

    /// The list of a limit, made when there is none.
    package mutating func list(nanoseconds: Int64) -> DeadlineList {
        if let last, last.nanoseconds == nanoseconds { return last }
        let list = byLimit[nanoseconds] ?? DeadlineList(nanoseconds: nanoseconds)
        byLimit[nanoseconds] = list
        last = list
        return list
    }

    /// Forgets a list that holds nothing: limits may be as many as listeners.
    package mutating func removeIfUnused(_ list: DeadlineList) {
        guard list.first == nil, list.alarm == nil, byLimit[list.nanoseconds] === list else { return }
        byLimit[list.nanoseconds] = nil
        if last === list { last = nil }
    }
}
