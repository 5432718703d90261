// Owns: how much memory this program may use: the machine's, or what a container leaves it. Read once; any thread. What the
// files say is a pure function of their texts.

import Glibc

/// The memory of the machine or the container.
enum MachineMemory {
    /// In bytes; nil where nothing says it.
    static let bytes: Int? = read { path in
        (try? readFile(path, maximum: 1 << 20)).map { String(decoding: $0, as: UTF8.self) }
    }

    /// What all web servers may hold where `web_memory` does not say it: an eighth.
    static let webDefault = webShare(of: bytes)

    static func webShare(of memory: Int?) -> Int { max(16 << 20, (memory ?? 2 << 30) / 8) }

    /// The smallest of all limits that hold here.
    ///
    /// - Parameter text: The contents of a file; nil where there is none.
    static func read(_ text: (String) -> String?) -> Int? {
        let limits = [machine(text("/proc/meminfo"))] + groups(text("/proc/self/cgroup") ?? "", text)
        return limits.compactMap { $0 }.min()
    }

    /// `MemTotal` of `/proc/meminfo`, which counts in units of 1024 bytes.
    private static func machine(_ text: String?) -> Int? {
        for line in (text ?? "").split(separator: "\n") where line.hasPrefix("MemTotal:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
        }
        return nil
    }

    /// The limits of the control groups that the program is in, and of those around them: of version 2, where the line is
    /// `0::/a/b`, and of version 1, where it is `4:memory:/a/b`.
    private static func groups(_ text: String, _ read: (String) -> String?) -> [Int?] {
        text.split(separator: "\n").flatMap { line -> [Int?] in
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return [] }
            let isSecond = parts[0] == "0" && parts[1].isEmpty
            guard isSecond || parts[1].split(separator: ",").contains("memory") else { return [] }
            let root = isSecond ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
            let file = isSecond ? "memory.max" : "memory.limit_in_bytes"
            // In a container the path may be the host's, and the files lie at the root.
            var folders = [root]
            for name in parts[2].split(separator: "/") { folders.append("\(folders[folders.count - 1])/\(name)") }
            return folders.map { limit(read("\($0)/\(file)")) }
        }
    }

    /// A number; `max`, and what is larger than any memory, is no limit.
    private static func limit(_ text: String?) -> Int? {
        guard let text, let number = Int(text.prefix { $0 != "\n" }), number > 0, number < 1 << 50 else { return nil }
        return number
    }
}
