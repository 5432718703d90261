// zlib, with what its headers hide in macros that Swift cannot import.
#ifndef PANINI_ZLIB_H
#define PANINI_ZLIB_H

#include <zlib.h>

static inline int panini_deflate_init(z_stream *stream, int level, int window_bits, int memory_level) {
    return deflateInit2(stream, level, Z_DEFLATED, window_bits, memory_level, Z_DEFAULT_STRATEGY);
}

static inline int panini_inflate_init(z_stream *stream, int window_bits) {
    return inflateInit2(stream, window_bits);
}

#endif
