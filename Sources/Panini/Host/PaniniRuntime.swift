// Owns: what the host can say about itself. Constants; any thread.

import CLuaVM
import Glibc
import LoopTools
import LuaVM
import NIOCore

/// Facts about the running host.
public enum PaniniRuntime {
    /// The Lua that runs the scripts, such as `Lua 5.4.4`.
    public static var luaVersion: String { LuaVM.luaVersion }

    /// Whether runs end in time that put many keys into one place of a table (docs/security.md, "Keys of tables"). That needs
    /// to know how Lua lays out its tables, which Lua does not promise: false with a build of Lua that does it in another way.
    public static let checksTableKeys: Bool = {
        do {
            return try LuaVM().knowsTables
        } catch {
            return false
        }
    }()

    /// What to say of it.
    package static let tableKeysWarning = """
        this build of \(luaVersion) lays out its tables in a way that Panini does not know: a run that fills a table with keys \
        that share one place is not ended in time (docs/security.md, "Keys of tables"); use the Lua of your distribution, or \
        let no client choose numbers as keys
        """

    /// How many processors there are for this process.
    package static var processors: Int { System.coreCount }

    /// Has a crash say where it was: the signal, the thread, the script, and addresses in the program's file. Swift's own report
    /// has registers and memory in it, and with that whatever a script has in hand; it is made when `SWIFT_BACKTRACE` is set.
    /// For programs whose standard error is a log; once, before other threads exist.
    public static func reportCrashes() {
        guard getenv("SWIFT_BACKTRACE") == nil else { return }
        var text = "\(PaniniVersion.current) (\(luaVersion))"
        // Kept for the life of the process.
        text.withUTF8 { bytes in
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count + 1)
            for (index, byte) in bytes.enumerated() { copy[index] = CChar(bitPattern: byte) }
            copy[bytes.count] = 0
            panini_crash_report(copy)
        }
    }

    /// Has the C library give large blocks back to the system when they are freed, so that what a script had at its worst
    /// does not stay with the process. For programs whose first concern is to run scripts; once, before other threads exist.
    public static func settleAllocator() { panini_settle_allocator() }

    /// Raises the limit of open files to what the system allows the process. For programs whose first concern is to run
    /// scripts; once, at the start.
    public static func raiseDescriptorLimit() { DescriptorLimit.raise() }

    /// Has the C library give free memory back to the system. Any thread; it takes about as long as there is free memory to
    /// look at, some milliseconds for hundreds of megabytes.
    package static func giveBackMemory() { panini_give_back_memory() }
}
