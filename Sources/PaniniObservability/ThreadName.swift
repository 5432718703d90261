// Names of threads. glibc has functions for them that Swift's Glibc module hides (they are GNU extensions), so they are
// looked up by name; without them threads are nameless and everything else works.

import Glibc

package enum ThreadName {
    private typealias Getter = @convention(c) (pthread_t, UnsafeMutablePointer<CChar>, Int) -> CInt
    private typealias Setter = @convention(c) (pthread_t, UnsafePointer<CChar>) -> CInt

    private static let getter = dlsym(nil, "pthread_getname_np").map { unsafeBitCast($0, to: Getter.self) }
    private static let setter = dlsym(nil, "pthread_setname_np").map { unsafeBitCast($0, to: Setter.self) }

    /// The calling thread's name, empty when it cannot be told.
    static var current: String {
        guard let getter else { return "" }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16) { name in
            guard let start = name.baseAddress, getter(pthread_self(), start, name.count) == 0 else { return "" }
            return String(cString: start)
        }
    }

    /// Names the calling thread; at most 15 bytes.
    package static func set(_ name: String) {
        _ = setter?(pthread_self(), name)
    }
}
