/* Fuzz driver for _rans.c, to be compiled with sanitizers: fuzz_rans STREAMS SEED.
 *
 * Makes random tables, layouts and symbols; encodes and decodes them on every code path, which must agree; then mutates
 * the streams and decodes those. Buffers handed to the coder have exact sizes, so that a sanitizer sees any access
 * beyond them. Prints a line and exits with 1 on a disagreement. Its last word is a digest of all streams and outcomes,
 * which is the same on every machine.
 */
#include "_rans.c"

#include <stdio.h>

static uint64_t seed;

static uint32_t next(void) { /* splitmix64 */
    uint64_t z = (seed += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static uint32_t below(uint32_t n) { return (uint32_t)((uint64_t)next() * n >> 32); }

static uint64_t digest = 0xCBF29CE484222325u; /* FNV-1a */

static void digest_bytes(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) digest = (digest ^ bytes[i]) * 0x100000001B3u;
}

static void *exactly(size_t size) {
    void *p = malloc(size ? size : 1);
    if (!p) exit(2);
    return p;
}

static void fail(const char *what) {
    printf("FAILED: %s\n", what);
    exit(1);
}

enum { TABLES = 3, CONSTANT_ENTRY = 4 };

static uint32_t encoding[TABLES * 256 * 2], decoding[TABLES * PROB_SUM];

/* Table 0 is silent, the others are random. */
static void make_tables(void) {
    for (int t = 0; t < TABLES; t++) {
        uint32_t freq[256] = {1}, start = 0, *slot = decoding + t * PROB_SUM;
        if (t == 0) {
            freq[CONSTANT_ENTRY] = PROB_SUM - 1;
        } else {
            uint32_t left = PROB_SUM - 1, last = 1 + below(80);
            for (uint32_t e = 1; e < last; e++) left -= freq[e] = below(4) ? below(left / 3 + 1) : 0;
            freq[last] = left;
        }
        for (uint32_t e = 0; e < 256; e++) {
            uint32_t f = freq[e] ? freq[e] : freq[0], c = freq[e] ? start : 0, shift = 0;
            while (f > 2u << shift) shift++;
            uint32_t *out = encoding + 2 * (t * 256 + e);
            out[0] = f == 1 ? UINT32_MAX : (uint32_t)(((uint64_t)1 << (32 + shift)) / f + 1);
            out[1] = f | (c + (f == 1 ? PROB_SUM - 1 : 0)) << 12 | shift << 25 | (uint32_t)(e == 0 || !freq[e]) << 31;
            for (uint32_t k = 0; k < freq[e]; k++) *slot++ = e | k << 8 | freq[e] << 20;
            start += freq[e];
        }
    }
}

static size_t mutate(uint8_t *data, size_t size, size_t capacity) {
    for (uint32_t edits = 1 + below(3); edits > 0; edits--) {
        size_t at = below((uint32_t)size + 1);
        if (below(2) && at > 10) at = below(10);
        switch (below(4)) {
        case 0: if (at < size) data[at] ^= (uint8_t)(1 << below(8)); break;
        case 1: if (at < size) data[at] = (uint8_t)next(); break;
        case 2: size = at; break;
        default: if (size < capacity) data[size++] = (uint8_t)next(); break;
        }
    }
    return size;
}

int main(int argc, char **argv) {
    long streams = argc > 1 ? atol(argv[1]) : 1000, accepted = 0, done = 0;
    seed = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
    uint32_t paths = cp_rans_paths();
    while (done < streams) {
        make_tables();
        cp_layout l = {0};
        l.kind = below(KIND_COUNT);
        l.origin = (int32_t)below(30) - (l.kind == KIND_U8 || l.kind == KIND_U16 ? 0 : 30);
        l.count = below(8) ? below(900) : below(9000);
        size_t n = (size_t)l.count, size = kind_size[l.kind];
        uint8_t *tables = exactly(n), *active_tables = exactly(n), *constants = exactly(n * size), *symbols = exactly(n * size);
        uint32_t *runs = exactly(8 * (n + 1));
        uint32_t with_silent = below(2), strays = below(3) ? 0 : 1 + below(300), stray_silent = below(4) == 0;
        memset(constants, 0, n * size);
        for (size_t i = 0; i < n; i++) {
            uint8_t t = tables[i] = (uint8_t)(with_silent && (i / 13 % 3 == 0) ? 0 : 1 + below(TABLES - 1));
            int32_t value = l.origin + (int32_t)below(1 + below(60));
            if (t == 0) {
                set_symbol(constants, l.kind, i, l.origin + CONSTANT_ENTRY - 1);
                value = stray_silent && below(50) == 0 ? value : l.origin + CONSTANT_ENTRY - 1;
            } else {
                if (strays && below(strays) == 0) value = (int32_t)next() >> below(32);
                if (l.active_count && runs[2 * (l.run_count - 1)] + runs[2 * l.run_count - 1] == i) {
                    runs[2 * l.run_count - 1]++;
                } else {
                    runs[2 * l.run_count] = (uint32_t)i;
                    runs[2 * l.run_count++ + 1] = 1;
                }
                active_tables[l.active_count++] = t;
            }
            if (!set_symbol(symbols, l.kind, i, value)) set_symbol(symbols, l.kind, i, l.origin);
        }
        l.encoding = encoding;
        l.decoding = decoding;
        l.tables = tables;
        l.active_tables = with_silent ? active_tables : tables;
        l.runs = with_silent ? runs : NULL;
        l.constants = with_silent ? constants : NULL;
        for (l.lanes_log2 = below(MAX_LANES_LOG2 + 1); l.active_count < stage_first(l.lanes_log2); l.lanes_log2--) {}

        size_t capacity = (size_t)cp_rans_bound(&l), length = 0;
        uint8_t *first = NULL;
        void *back = exactly(n * size);
        for (int path = PATH_PORTABLE; path <= PATH_NEON; path++) {
            if (!(paths >> path & 1)) continue;
            uint8_t *out = exactly(capacity);
            int64_t written = cp_rans_encode(&l, symbols, out, capacity, path);
            if (written < 1) fail("encode");
            if (first && ((size_t)written != length || memcmp(out, first, length) != 0)) fail("paths write different bytes");
            uint8_t *tight = exactly((size_t)written);
            memcpy(tight, out, (size_t)written);
            if (cp_rans_decode(&l, tight, (uint64_t)written, back, path) != OK) fail("decode");
            if (memcmp(back, symbols, n * size) != 0) fail("symbols differ");
            free(out);
            free(first);
            first = tight;
            length = (size_t)written;
        }
        digest_bytes(first, length);
        for (int m = 0; m < 40 && done < streams; m++, done++) {
            uint8_t *changed = exactly(length + 8);
            memcpy(changed, first, length);
            size_t changed_length = mutate(changed, length, length + 8);
            uint8_t *tight = exactly(changed_length);
            memcpy(tight, changed, changed_length);
            int64_t result = 0;
            for (int path = PATH_PORTABLE; path <= PATH_NEON; path++) {
                if (!(paths >> path & 1)) continue;
                int64_t this_result = cp_rans_decode(&l, tight, changed_length, back, path);
                if (this_result != OK && this_result != ERROR_STREAM) fail("unexpected error");
                if (path != PATH_PORTABLE && this_result != result) fail("paths disagree about a damaged stream");
                result = this_result;
            }
            accepted += result == OK;
            digest_bytes((const uint8_t[]){result == OK}, 1);
            free(changed);
            free(tight);
        }
        free(tables), free(active_tables), free(constants), free(symbols), free(runs), free(back), free(first);
    }
    printf("%ld streams, %ld decoded, digest %016llx\n", done, accepted, (unsigned long long)digest);
    return 0;
}
