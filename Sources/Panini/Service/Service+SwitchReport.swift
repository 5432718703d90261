// Owns: what is told of a switch: which listeners, routes and timers came, went and changed. Loop-bound; reads only.

import LuaVM

extension Service {
    /// Compares what two versions of a script registered.
    func report(from old: Script, to new: Script) -> SwitchReport {
        let before = Self.registered(old)
        let after = Self.registered(new)
        var report = SwitchReport()
        // Of equal names the first counts.
        let known = Dictionary(before.map { ($0.name, $0.form) }) { first, _ in first }
        for (name, form) in after {
            guard let old = known[name] else {
                report.added.append(name)
                continue
            }
            if old != form { report.changed.append(name) }
        }
        let names = Set(after.map(\.name))
        for (name, _) in before where !names.contains(name) { report.removed.append(name) }
        return report
    }

    /// Each registration by what tells it from others, with what else can be seen of it.
    private static func registered(_ script: Script) -> [(name: String, form: String)] {
        let options = script.options
        let listeners = script.registrations.listeners.flatMap { listener in
            listener.subjects.filter { script.registrations.filters.admits($0.pattern.subject) }.map { subject in
                let queue = listener.options.queueGroup(ofApp: options?.queueGroup)
                let form = [
                    queue ?? "-", "\(listener.options.dataType)", "\(listener.options.concurrency)",
                    "\(listener.options.timeout ?? 0)", listener.options.name ?? "", "\(listener.options.replies)",
                    "\(listener.options.eachWorker)",
                ]
                return (name: subject.pattern.subject, form: form.joined(separator: " "))
            }
        }
        let timers = script.registrations.timers.map { timer in
            (name: timer.title, form: "\(timer.intervalNanoseconds) \(timer.mode) \(timer.jitterNanoseconds)")
        }
        let routes = script.registrations.routes.all.map { route in
            (name: "\(route.method) \(route.path)", form: "\(route.maximumBody ?? -1) \(route.timeoutNanoseconds)")
        }
        return listeners + timers + routes
    }
}
