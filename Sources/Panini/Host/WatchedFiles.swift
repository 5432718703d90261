// Owns: what is known of the files that a service was made of, and what a look at them means. A value without I/O; lives on
// the host's loop.

/// The files of a service, as they were when they were looked at last.
struct WatchedFiles {
    /// What a look at the files means.
    enum Finding: Equatable {
        case nothing
        /// The script itself is gone or cannot be read. The log says so once.
        case scriptMissing
        /// These files are gone, which is often the middle of a change: only the second look believes it.
        case lookAgain([String])
        /// These files differ from what was loaded last.
        case changed([String])
    }

    /// The folders whose events may mean a change.
    var folders: Set<String> = []
    private var signatures: [String: FileSignature?] = [:]
    /// The attempt to load whose files the signatures are of.
    private var attempt = 0
    private var isMissingReported = false
    private var awaitsSecondLook = false

    /// Looks which files may differ from what an attempt has loaded, without reading them.
    mutating func suspects(
        among paths: some Sequence<String>,
        attempt: Int,
        signature: (String) -> FileSignature?
    ) -> [String] {
        if self.attempt != attempt {
            // What was written between reading and looking must not be missed: the first look reads everything.
            self.attempt = attempt
            signatures = [:]
            isMissingReported = false
        }
        return paths.filter { path in
            let now = signature(path)
            if let before = signatures[path], before == now { return false }
            signatures[path] = .some(now)
            return true
        }
    }

    /// Some files differ from what was loaded last.
    ///
    /// - Parameters:
    ///   - changed: Never empty.
    ///   - gone: Those among them that cannot be read.
    mutating func found(changed: [String], gone: [String], script: String) -> Finding {
        if gone.contains(script) {
            defer { isMissingReported = true }
            return isMissingReported ? .nothing : .scriptMissing
        }
        isMissingReported = false
        if !gone.isEmpty, !awaitsSecondLook {
            awaitsSecondLook = true
            return .lookAgain(gone)
        }
        awaitsSecondLook = false
        return .changed(changed.sorted())
    }

    /// The next look finds these files whatever the system says of them.
    mutating func forget(_ paths: [String]) {
        for path in paths { signatures[path] = nil }
    }
}
