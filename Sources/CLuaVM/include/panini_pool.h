// Memory for the small blocks that Lua takes and gives back by the million: slabs of equal blocks in one reserved range
// of addresses. One pool per Lua state, on its thread; no locks.
#ifndef PANINI_POOL_H
#define PANINI_POOL_H

#include <stddef.h>
#include <stdint.h>

enum {
    PANINI_POOL_GRAIN = 16,
    PANINI_POOL_LARGEST = 512,  // larger blocks are malloc's
    PANINI_POOL_CLASSES = PANINI_POOL_LARGEST / PANINI_POOL_GRAIN,
};

struct panini_slab;

typedef struct panini_pool {
    char *base;      // the reserved range; NULL until the state has grown enough to profit
    size_t reserved;
    size_t used;     // bytes of the range that have been slabs
    struct panini_slab *partial[PANINI_POOL_CLASSES];  // slabs with room, by class
    struct panini_slab *empty;                         // slabs without blocks, their pages still there
    size_t empty_count;
    size_t full_empty_count;  // those of them whose pages are still there
    int is_off;      // the range could not be reserved
} panini_pool;

// As realloc, given the old size too; a new size of 0 frees. NULL when there is no memory. `in_use` is what the state
// uses by now: a small state stays with malloc, which packs blocks of all sizes together.
void *panini_pool_resize(panini_pool *pool, void *block, size_t old_size, size_t new_size, size_t in_use);

// Gives the pages of empty slabs back to the system.
void panini_pool_trim(panini_pool *pool);

// Frees the range with everything in it.
void panini_pool_destroy(panini_pool *pool);

#endif
