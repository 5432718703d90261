// The allocator for small blocks: contents survive every move, nothing overlaps, what was freed is used again.

import CLuaVM
import Testing

@Suite("Pool of small blocks")
struct PoolTests {
    private struct Block {
        var address: UnsafeMutableRawPointer
        var size: Int
        var tag: UInt8

        func isIntact() -> Bool {
            UnsafeRawBufferPointer(start: address, count: size).allSatisfy { $0 == tag }
        }
    }

    @Test("a long random life of blocks of all sizes", arguments: [UInt64(1), 2, 3])
    func randomLife(seed: UInt64) {
        var pool = panini_pool()
        defer { panini_pool_destroy(&pool) }
        var random = seed
        func next(_ bound: Int) -> Int {
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(random >> 33) % bound
        }
        var blocks: [Block] = []
        var inUse = 0
        for step in 0..<60_000 {
            let grows = step % 20_000 < 12_000
            let choice = next(10)
            if blocks.isEmpty || (grows ? choice < 5 : choice < 2) {
                let size = 1 + (next(20) == 0 ? next(5000) : next(600))
                guard let address = panini_pool_resize(&pool, nil, 0, size, inUse) else {
                    Issue.record("no memory")
                    return
                }
                let tag = UInt8(truncatingIfNeeded: step)
                address.initializeMemory(as: UInt8.self, repeating: tag, count: size)
                blocks.append(Block(address: address, size: size, tag: tag))
                inUse += size
                continue
            }
            let index = next(blocks.count)
            let block = blocks[index]
            guard block.isIntact() else {
                Issue.record("block of \(block.size) bytes changed at step \(step)")
                return
            }
            if choice < 7 {
                let size = 1 + next(700)
                guard let moved = panini_pool_resize(&pool, block.address, block.size, size, inUse) else {
                    Issue.record("no memory")
                    return
                }
                let kept = UnsafeRawBufferPointer(start: moved, count: min(size, block.size))
                guard kept.allSatisfy({ $0 == block.tag }) else {
                    Issue.record("contents were lost when moving from \(block.size) to \(size)")
                    return
                }
                moved.initializeMemory(as: UInt8.self, repeating: block.tag, count: size)
                blocks[index] = Block(address: moved, size: size, tag: block.tag)
                inUse += size - block.size
            } else {
                #expect(panini_pool_resize(&pool, block.address, block.size, 0, inUse) == nil)
                inUse -= block.size
                blocks.swapAt(index, blocks.count - 1)
                blocks.removeLast()
            }
            if step % 5000 == 0 { panini_pool_trim(&pool) }
        }
        for block in blocks {
            #expect(block.isIntact())
            panini_pool_resize(&pool, block.address, block.size, 0, inUse)
        }
    }

    @Test("freed blocks are used again, and trimming keeps the pool usable")
    func reuse() {
        var pool = panini_pool()
        defer { panini_pool_destroy(&pool) }
        var used: [Int] = []
        for round in 0..<6 {
            let blocks = (0..<20_000).map { _ in panini_pool_resize(&pool, nil, 0, 64, 1 << 20) }
            #expect(Set(blocks.map { UInt(bitPattern: $0) }).count == blocks.count)
            for block in blocks { block?.storeBytes(of: round, as: Int.self) }
            for block in blocks { panini_pool_resize(&pool, block, 64, 0, 1 << 20) }
            panini_pool_trim(&pool)
            used.append(pool.used)
        }
        #expect(used.allSatisfy { $0 == used[0] }, "\(used)")
    }

    @Test("a small state stays with the system's allocator")
    func smallState() {
        var pool = panini_pool()
        let block = panini_pool_resize(&pool, nil, 0, 64, 1000)
        #expect(pool.base == nil && block != nil)
        // It may be given back after the pool has begun to work.
        let other = panini_pool_resize(&pool, nil, 0, 64, 1 << 20)
        panini_pool_resize(&pool, block, 64, 0, 1 << 20)
        panini_pool_resize(&pool, other, 64, 0, 1 << 20)
        panini_pool_destroy(&pool)
    }
}
