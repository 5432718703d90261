// Owns: numbers of bytes among the options of a call, which are written as those of the app. Worker's thread, during the call.

import ScriptRuntime

extension LuaOptions {
    /// A number of bytes, also as a text such as "64MB".
    func size(_ name: String, in range: ClosedRange<Int64>) throws(UsageError) -> Int? {
        guard let value = self[name] else { return nil }
        do throws(OptionError) {
            guard case .integer(let count) = try OptionCheck(name: name, kind: .size(range)).check(value) else {
                return nil
            }
            return Int(count)
        } catch {
            throw UsageError("\(call.name): \(error.message)")
        }
    }
}
