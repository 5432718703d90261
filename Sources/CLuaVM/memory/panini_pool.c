// Owns: the slabs of a state's small blocks. malloc's general bookkeeping was a quarter of the time that decoding took;
// Lua tells the size of what it frees, so that none of it is needed here.
#include "panini_pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Under a sanitizer every block stays malloc's, so that its checks see them.
#if defined(__SANITIZE_ADDRESS__)
#define POOL_OFF 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_OFF 1
#endif
#endif
#ifndef POOL_OFF
#define POOL_OFF 0
#endif

enum {
    SLAB = 16 * 1024,
    SMALL_STATE = 96 * 1024,  // below this the first page of each class would cost more than it saves
    KEPT_EMPTY = 16,          // slabs that wait for the next burst with their pages
    CROWDED = 256,            // more of them than this give their pages back before malloc is asked for a large block
};
// Addresses only; pages come as they are touched. When a state outgrows it, malloc takes over.
static const size_t RESERVED = (size_t)1 << 30;

typedef struct panini_slab {
    struct panini_slab *next, *previous;
    void *free;       // blocks that came back
    uint32_t live;    // blocks in use
    uint32_t fresh;   // offset of the first block that was never used
    uint32_t size;    // of a block
    uint32_t class;
    bool is_partial;  // in the list of its class
    bool is_bare;     // empty, and all but its first page are the system's again
} panini_slab;

enum { FIRST_BLOCK = (sizeof(panini_slab) + 15) & ~15 };

static inline bool owns(const panini_pool *pool, const void *block) {
    return (size_t)((const char *)block - pool->base) < pool->used;
}

static inline panini_slab *slab_of(const panini_pool *pool, const void *block) {
    size_t offset = (size_t)((const char *)block - pool->base);
    return (panini_slab *)(pool->base + (offset & ~(size_t)(SLAB - 1)));
}

static inline uint32_t class_of(size_t size) { return (uint32_t)((size - 1) / PANINI_POOL_GRAIN); }

static inline void link_slab(panini_pool *pool, panini_slab *slab) {
    slab->previous = NULL;
    slab->next = pool->partial[slab->class];
    if (slab->next) slab->next->previous = slab;
    pool->partial[slab->class] = slab;
    slab->is_partial = true;
}

static inline void unlink_slab(panini_pool *pool, panini_slab *slab) {
    if (slab->previous) slab->previous->next = slab->next;
    else pool->partial[slab->class] = slab->next;
    if (slab->next) slab->next->previous = slab->previous;
    slab->is_partial = false;
}

static panini_slab *new_slab(panini_pool *pool, uint32_t class) {
    panini_slab *slab = pool->empty;
    if (slab) {
        pool->empty = slab->next;
        pool->empty_count--;
        if (!slab->is_bare) pool->full_empty_count--;
    } else {
        if (pool->used + SLAB > pool->reserved) return NULL;
        slab = (panini_slab *)(pool->base + pool->used);
        pool->used += SLAB;
    }
    slab->free = NULL;
    slab->live = 0;
    slab->is_bare = false;
    slab->fresh = FIRST_BLOCK;
    slab->class = class;
    slab->size = (class + 1) * PANINI_POOL_GRAIN;
    link_slab(pool, slab);
    return slab;
}

static bool reserve(panini_pool *pool) {
    if (POOL_OFF || pool->is_off) return false;
    void *range = mmap(NULL, RESERVED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) {
        pool->is_off = 1;
        return false;
    }
    // One slab is no aligned piece of a huge page: those would make an idle service pay for two megabytes.
    madvise(range, RESERVED, MADV_NOHUGEPAGE);
    pool->base = range;
    pool->reserved = RESERVED;
    return true;
}

static void *take(panini_pool *pool, size_t size, size_t in_use) {
    if (size > PANINI_POOL_LARGEST) {
        // What the collector has freed in here is no use for it, and would come on top of it.
        if (size >= SLAB && pool->full_empty_count > CROWDED) panini_pool_trim(pool);
        return malloc(size);
    }
    if (!pool->base && (in_use < SMALL_STATE || !reserve(pool))) return malloc(size);
    uint32_t class = class_of(size);
    panini_slab *slab = pool->partial[class];
    if (!slab && !(slab = new_slab(pool, class))) return malloc(size);
    void *block = slab->free;
    if (block) {
        slab->free = *(void **)block;
    } else {
        block = (char *)slab + slab->fresh;
        slab->fresh += slab->size;
    }
    slab->live++;
    if (!slab->free && slab->fresh + slab->size > SLAB) unlink_slab(pool, slab);
    return block;
}

static void give(panini_pool *pool, void *block) {
    if (!owns(pool, block)) {
        free(block);
        return;
    }
    panini_slab *slab = slab_of(pool, block);
    *(void **)block = slab->free;
    slab->free = block;
    slab->live--;
    if (!slab->is_partial) link_slab(pool, slab);
    // The last slab with room stays, so that a state at a boundary does not make and unmake one for each block.
    if (slab->live == 0 && (slab->next || slab->previous)) {
        unlink_slab(pool, slab);
        slab->next = pool->empty;
        pool->empty = slab;
        pool->empty_count++;
        pool->full_empty_count++;
    }
}

void *panini_pool_resize(panini_pool *pool, void *block, size_t old_size, size_t new_size, size_t in_use) {
    if (new_size == 0) {
        if (block) give(pool, block);
        return NULL;
    }
    if (!block) return take(pool, new_size, in_use);
    bool is_ours = owns(pool, block);
    if (is_ours && new_size <= PANINI_POOL_LARGEST && class_of(new_size) == slab_of(pool, block)->class) return block;
    if (!is_ours && (new_size > PANINI_POOL_LARGEST || !pool->base)) {
        if (new_size >= SLAB && pool->full_empty_count > CROWDED) panini_pool_trim(pool);
        return realloc(block, new_size);
    }
    void *moved = take(pool, new_size, in_use);
    if (!moved) return NULL;
    memcpy(moved, block, old_size < new_size ? old_size : new_size);
    give(pool, block);
    return moved;
}

void panini_pool_trim(panini_pool *pool) {
    // The list runs through the slabs' own first pages, which therefore stay; the other pages of each go.
    size_t kept = 0;
    for (panini_slab *slab = pool->empty; slab; slab = slab->next) {
        if (slab->is_bare || ++kept <= KEPT_EMPTY) continue;
        madvise((char *)slab + 4096, SLAB - 4096, MADV_DONTNEED);
        slab->is_bare = true;
        pool->full_empty_count--;
    }
}

void panini_pool_destroy(panini_pool *pool) {
    if (pool->base) munmap(pool->base, pool->reserved);
    memset(pool, 0, sizeof *pool);
}
