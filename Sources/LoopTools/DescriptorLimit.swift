// Owns: how many files the process may have open, and which of them those who connect from outside may take. Values, and calls
// of the system; any thread.

import Glibc

/// The limit of open files, and what of it is for clients.
///
/// The system gives each new descriptor the smallest number that is free. A number therefore tells how many descriptors are in
/// use at least, by whomever: a listener that keeps no socket whose number is at or above ``forClients`` leaves the rest to
/// others for certain, and nobody has to count.
package struct DescriptorLimit: Sendable, Equatable {
    /// How many descriptors the process may have.
    package let all: Int

    package init(all: Int) { self.all = all }

    /// The limit that holds now.
    package static var current: DescriptorLimit {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return DescriptorLimit(all: .max)
        }
        return DescriptorLimit(all: Int(clamping: limit.rlim_cur))
    }

    /// Kept for what the program itself opens: connections to brokers, its control socket, files, logs, fetches.
    package var reserve: Int { min(max(64, all / 4), all / 2) }

    /// The first number that a client's descriptor may not have.
    package var forClients: Int { all - reserve }

    /// Whether a client may keep a descriptor.
    package func admits(_ descriptor: CInt) -> Bool { Int(descriptor) < forClients }

    /// Raises the soft limit to the hard one, as any process may: the usual soft limit of 1024 is there for programs that call
    /// select(2). It stays as it is where the system refuses.
    package static func raise() {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(resource, &limit)
    }
}
