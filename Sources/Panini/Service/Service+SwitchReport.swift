// Owns: what is told of a switch: which listeners, routes and timers came, went and changed. Loop-bound; reads only.

import LuaVM
import ScriptRuntime

extension Service {
    /// Compares what two versions of a script registered.
    func report(from old: Script, to new: Script) -> SwitchReport {
        let before = old.features.all.flatMap(\.registered)
        let after = new.features.all.flatMap(\.registered)
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
}
