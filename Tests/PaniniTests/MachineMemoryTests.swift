// How much memory there is: of the machine, and of control groups of both versions.

import Testing

@testable import Panini

@Suite("The memory of the machine")
struct MachineMemoryTests {
    private static let machine = ["/proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 1 kB\n"]

    @Test(
        "the smallest limit counts",
        arguments: [
            ([:], 16_384_000 * 1024),
            (["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"], 16_384_000 * 1024),
            (["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "536870912\n"], 536_870_912),
            (
                [
                    "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/memory.max": "max\n",
                    "/sys/fs/cgroup/a/memory.max": "268435456\n",
                ], 268_435_456
            ),
            (
                [
                    "/proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/1\n0::/\n",
                    "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "134217728\n",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                ], 134_217_728
            ),
            // In a container the path is the host's.
            (
                [
                    "/proc/self/cgroup": "4:cpuset,memory:/docker/1\n",
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
                ], 67_108_864
            ),
            (["/proc/self/cgroup": "nonsense\n0::\n::\n", "/sys/fs/cgroup/memory.max": "-1\n"], 16_384_000 * 1024),
        ] as [([String: String], Int)]
    )
    func limits(files: [String: String], bytes: Int) {
        let all = files.merging(Self.machine) { one, _ in one }
        #expect(MachineMemory.read { all[$0] } == bytes)
    }

    @Test("nothing is known where nothing says it, and the share has a lower end")
    func share() {
        #expect(MachineMemory.read { _ in nil } == nil)
        #expect(MachineMemory.webShare(of: nil) == 256 << 20)
        #expect(MachineMemory.webShare(of: 1 << 30) == 128 << 20)
        #expect(MachineMemory.webShare(of: 32 << 20) == 16 << 20)
        #expect((MachineMemory.bytes ?? 0) > 32 << 20)
    }
}
