/* The entropy coder of cutpoint: interleaved rANS with static 12-bit tables.
 *
 * docs/bitstream.md specifies the bytes; _rans_numpy.py is the readable reference and writes the same ones. This file is
 * plain C99 on integers only, keeps no state between calls (so it may run in any number of threads) and is called through
 * ctypes. Vector paths are chosen at run time; each writes and reads the same bytes as the portable one.
 *
 * Sections: layout of the call - words and states - portable steps - AVX2 - AVX-512 - NEON - dispatch - conversion between
 * symbols and table entries - escapes - encode - decode.
 */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if (defined(__x86_64__) && defined(__GNUC__)) && !defined(CP_PORTABLE_ONLY)
#define CP_X86 1
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx2,avx512f,avx512bw,avx512dq,avx512vl,popcnt")))
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(CP_PORTABLE_ONLY)
#define CP_NEON 1
#include <arm_neon.h>
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#else
#define ALWAYS_INLINE static inline
#define EXPORT
#endif

enum {
    PROB_BITS = 12,
    PROB_SUM = 1 << PROB_BITS,
    LOW = 1 << 15,       /* states live in [LOW, 2^31): the sign bit stays clear, so signed comparisons serve */
    BORN = 1 << 16,      /* a lane is born as BORN + one word taken from the stream */
    STAGE_STEPS = 16,    /* steps coded with each lane count below the final one */
    MAX_LANES_LOG2 = 8,
    MAX_LANES = 1 << MAX_LANES_LOG2,
    PAD_WORDS = 2 * MAX_LANES, /* readable (and poppable) words beyond the end of the stream */
    BLOCK = 16           /* symbols per mark in the escape map; every vector step is aligned to it */
};

enum { FLAG_DENSE = 0x10, FLAG_ESCAPES = 0x20, HEADER_RESERVED = 0xC0 };
enum { OK = 0, ERROR_STREAM = -1, ERROR_MEMORY = -2, ERROR_PATH = -3, ERROR_CAPACITY = -4, ERROR_ARGUMENT = -5 };
enum { PATH_AUTO, PATH_PORTABLE, PATH_AVX2, PATH_AVX512, PATH_NEON };
enum { KIND_I8, KIND_U8, KIND_I16, KIND_U16, KIND_I32, KIND_COUNT };

/* ---- layout of the call ------------------------------------------------------------------------------------------ */

typedef struct {
    const uint32_t *encoding;     /* [tables][256][2]: reciprocal, then freq | bias << 12 | shift << 25 | escape << 31 */
    const uint32_t *decoding;     /* [tables][4096]: entry | (slot - start) << 8 | freq << 20 */
    const uint8_t *tables;        /* [count]: table of each position */
    const uint8_t *active_tables; /* [active_count]: table of each position that is not silent */
    const uint32_t *runs;         /* [run_count][2]: start and length of each run of active positions; NULL if none is silent */
    const void *constants;        /* [count] symbols: what silent positions hold; NULL if none is silent */
    uint64_t count;
    uint64_t active_count;
    uint64_t run_count;
    int32_t origin;               /* the value of table entry 1 */
    uint32_t kind;                /* KIND_*: the type of the symbols */
    uint32_t lanes_log2;          /* for the encoder */
} cp_layout;

typedef struct {
    const uint32_t *table;  /* encoding or decoding */
    const uint8_t *tables;  /* table of each coded symbol */
    uint8_t *entries;       /* entry of each coded symbol: 0 = escape */
    uint8_t *escaped;       /* encoder: one mark per BLOCK symbols */
    uint32_t states[MAX_LANES];
} job;

/* Code `steps` steps of `lanes` lanes, the first symbol of the first step being `first`. The encoder writes words downwards
 * from p, the decoder reads upwards; both return where they stopped. The decoder stops early at a p beyond `end`. */
typedef uint16_t *(*encode_steps)(job *j, size_t first, uint32_t lanes, size_t steps, uint16_t *p);
typedef const uint16_t *(*decode_steps)(job *j, size_t first, uint32_t lanes, size_t steps, const uint16_t *p,
                                        const uint16_t *end);

static const size_t kind_size[KIND_COUNT] = {1, 1, 2, 2, 4};

/* Parts of one piece of memory begin at multiples of 16 bytes. */
static size_t aligned(size_t bytes) { return (bytes + 15) / 16 * 16; }

/* ---- words and states -------------------------------------------------------------------------------------------- */

static void load_words(uint16_t *words, const uint8_t *bytes, size_t count) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(words, bytes, 2 * count);
#else
    for (size_t i = 0; i < count; i++) words[i] = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
#endif
}

static void store_words(uint8_t *bytes, const uint16_t *words, size_t count) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(bytes, words, 2 * count);
#else
    for (size_t i = 0; i < count; i++) {
        bytes[2 * i] = (uint8_t)words[i];
        bytes[2 * i + 1] = (uint8_t)(words[i] >> 8);
    }
#endif
}

/* A state takes three bytes below 2^23, else four; the top bit of the first says which. */
static uint8_t *put_state(uint8_t *out, uint32_t x) {
    if (x >> 23) *out++ = (uint8_t)(0x80 | x >> 24);
    *out++ = (uint8_t)(x >> 16);
    *out++ = (uint8_t)(x >> 8);
    *out++ = (uint8_t)x;
    return out;
}

static const uint8_t *get_state(const uint8_t *in, const uint8_t *end, uint32_t *x) {
    if (in == end) return NULL;
    size_t size = (*in & 0x80) ? 4 : 3;
    if ((size_t)(end - in) < size) return NULL;
    uint32_t value = *in++ & 0x7F;
    for (size_t i = 1; i < size; i++) value = value << 8 | *in++;
    *x = value;
    return value < (size == 4 ? 1u << 23 : (uint32_t)LOW) ? NULL : in;
}

static uint8_t *put_varint(uint8_t *out, uint32_t value) {
    for (; value >= 0x80; value >>= 7) *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

/* At most 32 bits, no needless zero byte at the end; NULL when it is not so. */
static const uint8_t *get_varint(const uint8_t *in, const uint8_t *end, uint32_t *value) {
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (in == end) return NULL;
        uint8_t byte = *in++;
        sum |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            if (sum > UINT32_MAX || (byte == 0 && shift > 0)) return NULL;
            *value = (uint32_t)sum;
            return in;
        }
    }
    return NULL;
}

/* ---- portable steps ---------------------------------------------------------------------------------------------- */

/* One partial or whole step, lanes descending. x / freq is a multiplication: exact for every x < freq << 19. */
ALWAYS_INLINE uint16_t *encode_lanes(job *j, size_t first, uint32_t lanes, uint16_t *p) {
    for (uint32_t lane = lanes; lane-- > 0;) {
        size_t i = first + lane;
        const uint32_t *entry = j->table + 2 * ((size_t)j->tables[i] << 8 | j->entries[i]);
        uint32_t reciprocal = entry[0], rest = entry[1], freq = rest & 0xFFF;
        uint32_t x = j->states[lane];
        uint32_t emit = x >= freq << 19;
        p[-1] = (uint16_t)x; /* overwritten by the next word unless this one counts */
        p -= emit;
        x >>= emit * 16;
        uint32_t quotient = (uint32_t)((uint64_t)x * reciprocal >> 32) >> (rest >> 25 & 15);
        j->states[lane] = x + quotient * (PROB_SUM - freq) + (rest >> 12 & 0x1FFF);
        if (rest >> 31) j->escaped[i / BLOCK] = 1;
    }
    return p;
}

ALWAYS_INLINE const uint16_t *decode_lanes(job *j, size_t first, uint32_t lanes, const uint16_t *p) {
    for (uint32_t lane = 0; lane < lanes; lane++) {
        size_t i = first + lane;
        uint32_t x = j->states[lane];
        uint32_t entry = j->table[(size_t)j->tables[i] << PROB_BITS | (x & (PROB_SUM - 1))];
        j->entries[i] = (uint8_t)entry;
        x = (entry >> 20) * (x >> PROB_BITS) + (entry >> 8 & 0xFFF);
        uint32_t low = x < LOW;
        uint32_t full = x << 16 | *p;
        j->states[lane] = low ? full : x;
        p += low;
    }
    return p;
}

static uint16_t *encode_steps_portable(job *j, size_t first, uint32_t lanes, size_t steps, uint16_t *p) {
    for (size_t s = 0; s < steps; s++) p = encode_lanes(j, first + s * lanes, lanes, p);
    return p;
}

static const uint16_t *decode_steps_portable(job *j, size_t first, uint32_t lanes, size_t steps, const uint16_t *p,
                                             const uint16_t *end) {
    for (size_t s = steps; s-- > 0 && p <= end;) p = decode_lanes(j, first + s * lanes, lanes, p);
    return p;
}

/* ---- AVX2: eight lanes to a register ------------------------------------------------------------------------------ */

#if CP_X86
/* For each mask of eight lanes: where each lane finds its word (expand), which lanes have one, in order (compress). */
static uint8_t expand_lanes[256][8], compress_lanes[256][8];

static void fill_lane_tables(void) {
    for (int mask = 0; mask < 256; mask++) {
        int count = 0;
        for (int lane = 0; lane < 8; lane++) {
            expand_lanes[mask][lane] = (uint8_t)(count & 7);
            if (mask >> lane & 1) compress_lanes[mask][count++] = (uint8_t)lane;
        }
        /* The words end up at the top of the register, so that one store below p leaves nothing to mask. */
        for (int lane = 7; lane >= 0 && count < 8; lane--) {
            compress_lanes[mask][lane] = lane >= 8 - count ? compress_lanes[mask][lane - (8 - count)] : 0;
        }
    }
}

AVX2 ALWAYS_INLINE __m256i bytes_to_lanes8(const uint8_t *p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

AVX2 static uint16_t *encode_steps_avx2(job *j, size_t first, uint32_t lanes, size_t steps, uint16_t *p) {
    const __m256i twelve = _mm256_set1_epi32(0xFFF), sum = _mm256_set1_epi32(PROB_SUM);
    for (size_t s = 0; s < steps; s++) {
        size_t step = first + s * lanes;
        for (uint32_t lane = lanes; lane > 0;) {
            lane -= 8;
            __m256i *state = (__m256i *)(void *)(j->states + lane);
            __m256i x = _mm256_loadu_si256(state);
            __m256i at = _mm256_or_si256(_mm256_slli_epi32(bytes_to_lanes8(j->tables + step + lane), 8),
                                         bytes_to_lanes8(j->entries + step + lane));
            __m256i reciprocal = _mm256_i32gather_epi32((const int *)(const void *)j->table, at, 8);
            __m256i rest = _mm256_i32gather_epi32((const int *)(const void *)(j->table + 1), at, 8);
            __m256i freq = _mm256_and_si256(rest, twelve);
            /* x >= freq << 19, as not (freq << 19 > x): both are below 2^31 */
            __m256i keep = _mm256_cmpgt_epi32(_mm256_slli_epi32(freq, 19), x);
            unsigned emit = 0xFF & ~(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(keep));
            __m256i order = bytes_to_lanes8(compress_lanes[emit]);
            __m256i words = _mm256_and_si256(_mm256_permutevar8x32_epi32(x, order), _mm256_set1_epi32(0xFFFF));
            __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            _mm_storeu_si128((__m128i *)(void *)(p - 8), packed);
            p -= __builtin_popcount(emit);
            x = _mm256_blendv_epi8(_mm256_srli_epi32(x, 16), x, keep);
            __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(x, reciprocal), 32);
            __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(reciprocal, 32));
            __m256i quotient = _mm256_blend_epi32(even, odd, 0xAA);
            quotient = _mm256_srlv_epi32(quotient, _mm256_and_si256(_mm256_srli_epi32(rest, 25), _mm256_set1_epi32(15)));
            __m256i bias = _mm256_and_si256(_mm256_srli_epi32(rest, 12), _mm256_set1_epi32(0x1FFF));
            x = _mm256_add_epi32(_mm256_add_epi32(x, bias), _mm256_mullo_epi32(quotient, _mm256_sub_epi32(sum, freq)));
            _mm256_storeu_si256(state, x);
            if (_mm256_movemask_ps(_mm256_castsi256_ps(rest))) j->escaped[(step + lane) / BLOCK] = 1;
        }
    }
    return p;
}

AVX2 static const uint16_t *decode_steps_avx2(job *j, size_t first, uint32_t lanes, size_t steps, const uint16_t *p,
                                              const uint16_t *end) {
    const __m256i slots = _mm256_set1_epi32(PROB_SUM - 1), low = _mm256_set1_epi32(LOW);
    const __m256i gather_bytes = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12,
                                                  -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    for (size_t s = steps; s-- > 0 && p <= end;) {
        size_t step = first + s * lanes;
        for (uint32_t lane = 0; lane < lanes; lane += 8) {
            __m256i *state = (__m256i *)(void *)(j->states + lane);
            __m256i x = _mm256_loadu_si256(state);
            __m256i at = _mm256_or_si256(_mm256_slli_epi32(bytes_to_lanes8(j->tables + step + lane), PROB_BITS),
                                         _mm256_and_si256(x, slots));
            __m256i entry = _mm256_i32gather_epi32((const int *)(const void *)j->table, at, 4);
            x = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_srli_epi32(entry, 20), _mm256_srli_epi32(x, PROB_BITS)),
                                 _mm256_and_si256(_mm256_srli_epi32(entry, 8), slots));
            __m256i needs = _mm256_cmpgt_epi32(low, x);
            unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(needs));
            __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
            words = _mm256_permutevar8x32_epi32(words, bytes_to_lanes8(expand_lanes[mask]));
            x = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), words), needs);
            p += __builtin_popcount(mask);
            _mm256_storeu_si256(state, x);
            __m256i bytes = _mm256_shuffle_epi8(entry, gather_bytes);
            uint32_t half[2] = {(uint32_t)_mm256_extract_epi32(bytes, 0), (uint32_t)_mm256_extract_epi32(bytes, 4)};
            memcpy(j->entries + step + lane, half, 8);
        }
    }
    return p;
}

/* ---- AVX-512: sixteen lanes to a register ------------------------------------------------------------------------- */

AVX512 ALWAYS_INLINE __m512i bytes_to_lanes16(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

AVX512 static uint16_t *encode_steps_avx512(job *j, size_t first, uint32_t lanes, size_t steps, uint16_t *p) {
    const __m512i twelve = _mm512_set1_epi32(0xFFF), sum = _mm512_set1_epi32(PROB_SUM);
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odds = _mm512_or_si512(evens, _mm512_set1_epi32(1));
    for (size_t s = 0; s < steps; s++) {
        size_t step = first + s * lanes;
        for (uint32_t lane = lanes; lane > 0;) {
            lane -= 16;
            __m512i x = _mm512_loadu_si512(j->states + lane);
            __m512i at = _mm512_or_si512(_mm512_slli_epi32(bytes_to_lanes16(j->tables + step + lane), 8),
                                         bytes_to_lanes16(j->entries + step + lane));
            /* Two gathers of eight 64-bit entries touch half as many addresses as two of sixteen 32-bit halves. */
            __m512i first8 = _mm512_i32gather_epi64(_mm512_castsi512_si256(at), j->table, 8);
            __m512i last8 = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(at, 1), j->table, 8);
            __m512i reciprocal = _mm512_permutex2var_epi32(first8, evens, last8);
            __m512i rest = _mm512_permutex2var_epi32(first8, odds, last8);
            __m512i freq = _mm512_and_si512(rest, twelve);
            __mmask16 emit = _mm512_cmpge_epu32_mask(x, _mm512_slli_epi32(freq, 19));
            unsigned count = (unsigned)__builtin_popcount(emit);
            __m256i words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(emit, x));
            p -= count;
            _mm256_mask_storeu_epi16(p, (__mmask16)((1u << count) - 1), words);
            x = _mm512_mask_srli_epi32(x, emit, x, 16);
            __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(x, reciprocal), 32);
            __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(reciprocal, 32));
            __m512i quotient = _mm512_mask_blend_epi32(0xAAAA, even, odd);
            quotient = _mm512_srlv_epi32(quotient, _mm512_and_si512(_mm512_srli_epi32(rest, 25), _mm512_set1_epi32(15)));
            __m512i bias = _mm512_and_si512(_mm512_srli_epi32(rest, 12), _mm512_set1_epi32(0x1FFF));
            x = _mm512_add_epi32(_mm512_add_epi32(x, bias), _mm512_mullo_epi32(quotient, _mm512_sub_epi32(sum, freq)));
            _mm512_storeu_si512(j->states + lane, x);
            if (_mm512_movepi32_mask(rest)) j->escaped[(step + lane) / BLOCK] = 1;
        }
    }
    return p;
}

AVX512 static const uint16_t *decode_steps_avx512(job *j, size_t first, uint32_t lanes, size_t steps, const uint16_t *p,
                                                  const uint16_t *end) {
    const __m512i slots = _mm512_set1_epi32(PROB_SUM - 1), low = _mm512_set1_epi32(LOW);
    for (size_t s = steps; s-- > 0 && p <= end;) {
        size_t step = first + s * lanes;
        for (uint32_t lane = 0; lane < lanes; lane += 16) {
            __m512i x = _mm512_loadu_si512(j->states + lane);
            __m512i at = _mm512_or_si512(_mm512_slli_epi32(bytes_to_lanes16(j->tables + step + lane), PROB_BITS),
                                         _mm512_and_si512(x, slots));
            __m512i entry = _mm512_i32gather_epi32(at, j->table, 4);
            x = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_srli_epi32(entry, 20), _mm512_srli_epi32(x, PROB_BITS)),
                                 _mm512_and_si512(_mm512_srli_epi32(entry, 8), slots));
            __mmask16 needs = _mm512_cmplt_epi32_mask(x, low);
            __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
            words = _mm512_maskz_expand_epi32(needs, words);
            x = _mm512_mask_or_epi32(x, needs, _mm512_slli_epi32(x, 16), words);
            p += __builtin_popcount(needs);
            _mm512_storeu_si512(j->states + lane, x);
            _mm_storeu_si128((__m128i *)(void *)(j->entries + step + lane), _mm512_cvtepi32_epi8(entry));
        }
    }
    return p;
}
#endif

/* ---- NEON: four lanes to a register; tables and words stay scalar, for want of a gather ---------------------------- */

#if CP_NEON
static uint16_t *encode_steps_neon(job *j, size_t first, uint32_t lanes, size_t steps, uint16_t *p) {
    for (size_t s = 0; s < steps; s++) {
        size_t step = first + s * lanes;
        for (uint32_t lane = lanes; lane > 0;) {
            lane -= 4;
            const uint8_t *tables = j->tables + step + lane, *entries = j->entries + step + lane;
            uint32x4_t x = vld1q_u32(j->states + lane);
            uint32x2_t e[4];
            for (int k = 0; k < 4; k++) e[k] = vld1_u32(j->table + 2 * ((size_t)tables[k] << 8 | entries[k]));
            uint32x4_t a = vcombine_u32(e[0], e[1]), b = vcombine_u32(e[2], e[3]);
            uint32x4_t reciprocal = vuzp1q_u32(a, b), rest = vuzp2q_u32(a, b);
            uint32x4_t freq = vandq_u32(rest, vdupq_n_u32(0xFFF));
            uint32x4_t emit = vcgeq_u32(x, vshlq_n_u32(freq, 19));
            uint32_t low[4], counts[4];
            vst1q_u32(low, x);
            vst1q_u32(counts, vshrq_n_u32(emit, 31));
            for (int k = 3; k >= 0; k--) {
                p[-1] = (uint16_t)low[k];
                p -= counts[k];
            }
            x = vbslq_u32(emit, vshrq_n_u32(x, 16), x);
            uint64x2_t product = vmull_u32(vget_low_u32(x), vget_low_u32(reciprocal));
            uint64x2_t product_high = vmull_u32(vget_high_u32(x), vget_high_u32(reciprocal));
            uint32x4_t quotient = vuzp2q_u32(vreinterpretq_u32_u64(product), vreinterpretq_u32_u64(product_high));
            int32x4_t shift = vreinterpretq_s32_u32(vandq_u32(vshrq_n_u32(rest, 25), vdupq_n_u32(15)));
            quotient = vshlq_u32(quotient, vnegq_s32(shift));
            uint32x4_t bias = vandq_u32(vshrq_n_u32(rest, 12), vdupq_n_u32(0x1FFF));
            x = vmlaq_u32(vaddq_u32(x, bias), quotient, vsubq_u32(vdupq_n_u32(PROB_SUM), freq));
            vst1q_u32(j->states + lane, x);
            if (vmaxvq_u32(rest) >> 31) j->escaped[(step + lane) / BLOCK] = 1;
        }
    }
    return p;
}

static const uint16_t *decode_steps_neon(job *j, size_t first, uint32_t lanes, size_t steps, const uint16_t *p,
                                         const uint16_t *end) {
    const uint32x4_t slots = vdupq_n_u32(PROB_SUM - 1);
    for (size_t s = steps; s-- > 0 && p <= end;) {
        size_t step = first + s * lanes;
        for (uint32_t lane = 0; lane < lanes; lane += 4) {
            const uint8_t *tables = j->tables + step + lane;
            uint8_t *entries = j->entries + step + lane;
            uint32x4_t x = vld1q_u32(j->states + lane);
            uint32_t slot[4], found[4], words[4], counts[4];
            vst1q_u32(slot, vandq_u32(x, slots));
            for (int k = 0; k < 4; k++) {
                found[k] = j->table[(size_t)tables[k] << PROB_BITS | slot[k]];
                entries[k] = (uint8_t)found[k];
            }
            uint32x4_t entry = vld1q_u32(found);
            x = vmlaq_u32(vandq_u32(vshrq_n_u32(entry, 8), slots), vshrq_n_u32(entry, 20), vshrq_n_u32(x, PROB_BITS));
            uint32x4_t needs = vcltq_u32(x, vdupq_n_u32(LOW));
            vst1q_u32(counts, vshrq_n_u32(needs, 31));
            for (int k = 0; k < 4; k++) {
                words[k] = *p;
                p += counts[k];
            }
            x = vbslq_u32(needs, vorrq_u32(vshlq_n_u32(x, 16), vld1q_u32(words)), x);
            vst1q_u32(j->states + lane, x);
        }
    }
    return p;
}
#endif

/* ---- dispatch ---------------------------------------------------------------------------------------------------- */

/* One bit per PATH_* that this machine can run. To be called once before anything else. */
EXPORT uint32_t cp_rans_paths(void) {
    uint32_t paths = 1u << PATH_PORTABLE;
#if CP_X86
    fill_lane_tables();
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) paths |= 1u << PATH_AVX2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        paths |= 1u << PATH_AVX512;
#endif
#if CP_NEON
    paths |= 1u << PATH_NEON;
#endif
    return paths;
}

static encode_steps encoder_for(int path, uint32_t lanes) {
#if CP_X86
    if (path == PATH_AVX512 && lanes >= 16) return encode_steps_avx512;
    if (path >= PATH_AVX2 && lanes >= 8) return encode_steps_avx2;
#endif
#if CP_NEON
    if (path == PATH_NEON && lanes >= 4) return encode_steps_neon;
#endif
    (void)path, (void)lanes;
    return encode_steps_portable;
}

static decode_steps decoder_for(int path, uint32_t lanes) {
#if CP_X86
    if (path == PATH_AVX512 && lanes >= 16) return decode_steps_avx512;
    if (path >= PATH_AVX2 && lanes >= 8) return decode_steps_avx2;
#endif
#if CP_NEON
    if (path == PATH_NEON && lanes >= 4) return decode_steps_neon;
#endif
    (void)path, (void)lanes;
    return decode_steps_portable;
}

/* ---- conversion between symbols and table entries ------------------------------------------------------------------ */

/* Entry 1 … 255 stands for the value origin + entry - 1; every other value has entry 0. The 8-bit types count modulo 256,
 * which is the same as long as no table gives a frequency to a value outside its type. */
ALWAYS_INLINE void to_entries(const void *symbols, size_t count, uint32_t kind, int32_t origin, uint8_t *entries) {
    const uint32_t before = (uint32_t)origin - 1;
    if (kind_size[kind] == 1) {
        const uint8_t *from = symbols;
        for (size_t i = 0; i < count; i++) entries[i] = (uint8_t)(from[i] - (uint8_t)before);
        return;
    }
#define TO_ENTRIES(type)                                                                                                     \
    for (size_t i = 0; i < count; i++) {                                                                                     \
        uint32_t d = (uint32_t)(int32_t)((const type *)symbols)[i] - before;                                                 \
        entries[i] = (uint8_t)(d - 1 < 255 ? d : 0);                                                                         \
    }
    if (kind == KIND_I16) TO_ENTRIES(int16_t)
    else if (kind == KIND_U16) TO_ENTRIES(uint16_t)
    else TO_ENTRIES(int32_t)
#undef TO_ENTRIES
}

/* The other way; what an entry 0 becomes is overwritten later. Returns whether there was one. */
ALWAYS_INLINE int to_symbols(const uint8_t *entries, size_t count, uint32_t kind, int32_t origin, void *symbols) {
    const uint32_t before = (uint32_t)origin - 1;
    uint8_t any = 0;
#define TO_SYMBOLS(type)                                                                                                     \
    for (size_t i = 0; i < count; i++) {                                                                                     \
        ((type *)symbols)[i] = (type)(entries[i] + (type)before);                                                            \
        any |= (uint8_t)(entries[i] == 0);                                                                                   \
    }
    if (kind_size[kind] == 1) TO_SYMBOLS(uint8_t)
    else if (kind_size[kind] == 2) TO_SYMBOLS(uint16_t)
    else TO_SYMBOLS(uint32_t)
#undef TO_SYMBOLS
    return any;
}

typedef void (*to_entries_fn)(const void *, size_t, uint32_t, int32_t, uint8_t *);
typedef int (*to_symbols_fn)(const uint8_t *, size_t, uint32_t, int32_t, void *);

/* The same two loops, compiled for each instruction set: the compiler vectorises them. */
static void to_entries_portable(const void *s, size_t n, uint32_t k, int32_t o, uint8_t *e) { to_entries(s, n, k, o, e); }
static int to_symbols_portable(const uint8_t *e, size_t n, uint32_t k, int32_t o, void *s) {
    return to_symbols(e, n, k, o, s);
}
#if CP_X86
AVX2 static void to_entries_avx2(const void *s, size_t n, uint32_t k, int32_t o, uint8_t *e) { to_entries(s, n, k, o, e); }
AVX2 static int to_symbols_avx2(const uint8_t *e, size_t n, uint32_t k, int32_t o, void *s) {
    return to_symbols(e, n, k, o, s);
}
#endif

static to_entries_fn entries_for(int path) {
#if CP_X86
    if (path == PATH_AVX2 || path == PATH_AVX512) return to_entries_avx2;
#endif
    (void)path;
    return to_entries_portable;
}

static to_symbols_fn symbols_for(int path) {
#if CP_X86
    if (path == PATH_AVX2 || path == PATH_AVX512) return to_symbols_avx2;
#endif
    (void)path;
    return to_symbols_portable;
}

/* ---- escapes: zigzag varints in the order of the symbols ----------------------------------------------------------- */

static int32_t symbol_at(const void *symbols, uint32_t kind, size_t i) {
    switch (kind) {
    case KIND_I8: return ((const int8_t *)symbols)[i];
    case KIND_U8: return ((const uint8_t *)symbols)[i];
    case KIND_I16: return ((const int16_t *)symbols)[i];
    case KIND_U16: return ((const uint16_t *)symbols)[i];
    default: return ((const int32_t *)symbols)[i];
    }
}

static int set_symbol(void *symbols, uint32_t kind, size_t i, int32_t value) {
    static const int32_t lowest[KIND_COUNT] = {INT8_MIN, 0, INT16_MIN, 0, INT32_MIN};
    static const int32_t highest[KIND_COUNT] = {INT8_MAX, UINT8_MAX, INT16_MAX, UINT16_MAX, INT32_MAX};
    if (value < lowest[kind] || value > highest[kind]) return 0;
    switch (kind) {
    case KIND_I8: ((int8_t *)symbols)[i] = (int8_t)value; break;
    case KIND_U8: ((uint8_t *)symbols)[i] = (uint8_t)value; break;
    case KIND_I16: ((int16_t *)symbols)[i] = (int16_t)value; break;
    case KIND_U16: ((uint16_t *)symbols)[i] = (uint16_t)value; break;
    default: ((int32_t *)symbols)[i] = value;
    }
    return 1;
}

static size_t max_escape_bytes(uint32_t kind) { return kind_size[kind] == 4 ? 5 : kind_size[kind] + 1; }

static uint8_t *put_escapes(const job *j, const void *symbols, uint32_t kind, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        if (i % BLOCK == 0 && !j->escaped[i / BLOCK]) {
            i += BLOCK - 1;
            continue;
        }
        if (j->table[2 * ((size_t)j->tables[i] << 8 | j->entries[i]) + 1] >> 31) {
            int32_t value = symbol_at(symbols, kind, i);
            out = put_varint(out, (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0));
        }
    }
    return out;
}

static int get_escapes(const uint8_t *entries, void *symbols, uint32_t kind, size_t count, const uint8_t *in,
                       const uint8_t *end) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *found = memchr(entries + i, 0, count - i);
        uint32_t zigzag;
        if (!found) break;
        i = (size_t)(found - entries);
        in = get_varint(in, end, &zigzag);
        if (!in) return 0;
        /* zigzag: 0, -1, 1, -2, …; the conversion of the upper half to int32_t wraps on every compiler in use */
        if (!set_symbol(symbols, kind, i, (int32_t)(zigzag >> 1 ^ ((zigzag & 1) ? UINT32_MAX : 0)))) return 0;
    }
    return in == end;
}

/* ---- encode ------------------------------------------------------------------------------------------------------ */

/* Symbols before the stage that has 2^log2 lanes. */
static size_t stage_first(uint32_t log2) { return STAGE_STEPS * (((size_t)1 << log2) - 1); }

/* New lanes [from, to) take their low words from the stream, of which as many zero words as needed lie beyond the end. */
static uint16_t *bear_lanes(job *j, uint32_t from, uint32_t to, uint16_t *p) {
    for (uint32_t lane = from; lane < to; lane++) j->states[lane] = BORN + *p++;
    return p;
}

static uint16_t *encode_stages(job *j, size_t count, uint32_t lanes_log2, int path, uint16_t *p, uint16_t **top) {
    p = bear_lanes(j, 0, 1, p);
    for (uint32_t log2 = 0;; log2++) {
        uint32_t lanes = 1u << log2;
        size_t first = stage_first(log2);
        size_t symbols = log2 == lanes_log2 ? count - first : (size_t)STAGE_STEPS << log2;
        size_t steps = symbols >> log2;
        if (p > *top) *top = p;
        p = encoder_for(path, lanes)(j, first, lanes, steps, p);
        if (log2 == lanes_log2) return encode_lanes(j, first + (steps << log2), (uint32_t)(symbols & (lanes - 1)), p);
        p = bear_lanes(j, lanes, 2 * lanes, p);
    }
}

/* Whether every silent position holds its constant. */
static int silent_as_expected(const cp_layout *l, const uint8_t *symbols) {
    const size_t size = kind_size[l->kind];
    const uint8_t *constants = l->constants;
    size_t at = 0;
    for (size_t r = 0; r <= l->run_count; r++) {
        size_t start = r < l->run_count ? l->runs[2 * r] : (size_t)l->count;
        if (memcmp(symbols + at * size, constants + at * size, (start - at) * size) != 0) return 0;
        at = r < l->run_count ? start + l->runs[2 * r + 1] : start;
    }
    return 1;
}

/* What the output of cp_rans_encode needs at most. */
EXPORT uint64_t cp_rans_bound(const cp_layout *l) {
    return 16 + 4 * MAX_LANES + 2 * PAD_WORDS + l->count * (2 + max_escape_bytes(l->kind));
}

/* Returns the bytes written to out, or a negative ERROR_*. */
EXPORT int64_t cp_rans_encode(const cp_layout *l, const void *symbols, uint8_t *out, uint64_t capacity, int path) {
    const size_t size = l->kind < KIND_COUNT ? kind_size[l->kind] : 0;
    if (!size || l->lanes_log2 > MAX_LANES_LOG2) return ERROR_ARGUMENT;
    if (capacity < cp_rans_bound(l)) return ERROR_CAPACITY;
    const int dense = l->runs && !silent_as_expected(l, symbols);
    const int packed = l->runs && !dense;
    const size_t count = (size_t)(packed ? l->active_count : l->count);
    const uint8_t header = (uint8_t)((count ? l->lanes_log2 : 0) | (dense ? FLAG_DENSE : 0));
    uint8_t *at = out;
    *at++ = header;
    if (count == 0) return 1;
    if (count < stage_first(l->lanes_log2)) return ERROR_ARGUMENT;

    /* words | packed symbols | entries | escape marks, in one piece */
    const size_t word_bytes = aligned(2 * (16 + count + PAD_WORDS)), blocks = (count + BLOCK - 1) / BLOCK;
    const size_t packed_bytes = packed ? aligned(count * size) : 0;
    uint8_t *memory = malloc(word_bytes + packed_bytes + count + blocks);
    if (!memory) return ERROR_MEMORY;
    uint16_t *words = (uint16_t *)(void *)memory, *bottom = words + 16 + count, *top = bottom;
    job j;
    j.table = l->encoding;
    j.tables = packed ? l->active_tables : l->tables;
    j.entries = memory + word_bytes + packed_bytes;
    j.escaped = j.entries + count;
    memset(bottom, 0, 2 * PAD_WORDS);
    memset(j.escaped, 0, blocks);

    const void *coded = symbols;
    if (packed) {
        uint8_t *to = memory + word_bytes;
        coded = to;
        for (size_t r = 0; r < l->run_count; r++) {
            size_t bytes = l->runs[2 * r + 1] * size;
            memcpy(to, (const uint8_t *)symbols + l->runs[2 * r] * size, bytes);
            to += bytes;
        }
    }
    entries_for(path)(coded, count, l->kind, l->origin, j.entries);
    uint16_t *p = encode_stages(&j, count, l->lanes_log2, path, bottom, &top);
    const size_t word_count = (size_t)(top - p);

    /* The escapes come last in the stream, their length first: write them where they end up at the latest. */
    uint8_t *escapes = out + 16 + 4 * MAX_LANES + 2 * word_count;
    const size_t escape_bytes = (size_t)(put_escapes(&j, coded, l->kind, count, escapes) - escapes);
    if (escape_bytes) {
        *out |= FLAG_ESCAPES;
        at = put_varint(at, (uint32_t)escape_bytes);
    }
    for (uint32_t lane = 0; lane < 1u << l->lanes_log2; lane++) at = put_state(at, j.states[lane]);
    store_words(at, p, word_count);
    at += 2 * word_count;
    memmove(at, escapes, escape_bytes);
    free(memory);
    return (int64_t)(at - out) + (int64_t)escape_bytes;
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

/* The mirror of bear_lanes: a lane that retires must be as it was born, and gives its word back. */
static const uint16_t *retire_lanes(const job *j, uint32_t from, uint32_t to, uint16_t *p) {
    for (uint32_t lane = to; lane-- > from;) {
        if (j->states[lane] >> 16 != BORN >> 16) return NULL;
        *--p = (uint16_t)j->states[lane];
    }
    return p;
}

static int decode_stages(job *j, size_t count, uint32_t lanes_log2, int path, uint16_t *words, uint16_t *end) {
    const uint16_t *p = words, *top = words;
    for (uint32_t log2 = lanes_log2;; log2--) {
        uint32_t lanes = 1u << log2;
        size_t first = stage_first(log2);
        size_t symbols = log2 == lanes_log2 ? count - first : (size_t)STAGE_STEPS << log2;
        size_t steps = symbols >> log2;
        p = decode_lanes(j, first + (steps << log2), (uint32_t)(symbols & (lanes - 1)), p);
        p = decoder_for(path, lanes)(j, first, lanes, steps, p, end);
        if (p > end) return 0;
        if (p > top) top = p;
        p = retire_lanes(j, lanes / 2, lanes, words + (p - words));
        if (!p) return 0;
        if (log2 == 0) break;
    }
    /* Every word was read, and what is left on the stack is the zeros that lanes were born from. */
    if (top != end) return 0;
    for (; p < end; p++)
        if (*p) return 0;
    return 1;
}

/* Returns OK or a negative ERROR_*. `symbols` has room for l->count symbols; on an error its content is undefined. */
EXPORT int64_t cp_rans_decode(const cp_layout *l, const uint8_t *data, uint64_t size, void *symbols, int path) {
    if (l->kind >= KIND_COUNT) return ERROR_ARGUMENT;
    const size_t symbol_size = kind_size[l->kind];
    const uint8_t *in = data, *end = data + size;
    if (size == 0 || (*in & HEADER_RESERVED)) return ERROR_STREAM;
    const uint8_t header = *in++;
    const uint32_t lanes_log2 = header & 0x0F;
    const int packed = l->runs && !(header & FLAG_DENSE);
    const size_t count = (size_t)(packed ? l->active_count : l->count);
    if (!l->runs && (header & FLAG_DENSE)) return ERROR_STREAM;
    if (packed) memcpy(symbols, l->constants, (size_t)l->count * symbol_size);
    if (count == 0) return size == 1 && (header & ~FLAG_DENSE) == 0 ? OK : ERROR_STREAM;
    if (lanes_log2 > MAX_LANES_LOG2 || count < stage_first(lanes_log2)) return ERROR_STREAM;

    job j;
    uint32_t escape_bytes = 0;
    if (header & FLAG_ESCAPES) {
        in = get_varint(in, end, &escape_bytes);
        if (!in || escape_bytes == 0 || escape_bytes > (size_t)(end - in)) return ERROR_STREAM;
    }
    const uint8_t *escapes = end - escape_bytes;
    for (uint32_t lane = 0; lane < 1u << lanes_log2; lane++) {
        in = get_state(in, escapes, &j.states[lane]);
        if (!in) return ERROR_STREAM;
    }
    /* More words than symbols cannot be, so that memory follows the declared shape and not the size of the data. */
    const size_t word_bytes = (size_t)(escapes - in), word_count = word_bytes / 2;
    if (word_bytes % 2 || word_count > count) return ERROR_STREAM;

    /* headroom for words given back | words | readable zeros | entries | packed symbols */
    const size_t stack_bytes = aligned(2 * (MAX_LANES + word_count + PAD_WORDS)), entry_bytes = aligned(count);
    uint8_t *memory = malloc(stack_bytes + entry_bytes + (packed ? count * symbol_size : 0));
    if (!memory) return ERROR_MEMORY;
    uint16_t *words = (uint16_t *)(void *)memory + MAX_LANES;
    load_words(words, in, word_count);
    memset(words + word_count, 0, 2 * PAD_WORDS);
    j.table = l->decoding;
    j.tables = packed ? l->active_tables : l->tables;
    j.entries = memory + stack_bytes;
    j.escaped = NULL;
    uint8_t *coded = packed ? j.entries + entry_bytes : symbols;

    int fine = decode_stages(&j, count, lanes_log2, path, words, words + word_count);
    if (fine) {
        int any = symbols_for(path)(j.entries, count, l->kind, l->origin, coded);
        if (any || escape_bytes) fine = get_escapes(j.entries, coded, l->kind, count, escapes, end);
    }
    if (fine && packed) {
        for (size_t r = 0; r < l->run_count; r++) {
            size_t bytes = l->runs[2 * r + 1] * symbol_size;
            memcpy((uint8_t *)symbols + l->runs[2 * r] * symbol_size, coded, bytes);
            coded += bytes;
        }
    }
    free(memory);
    return fine ? OK : ERROR_STREAM;
}

/* Decodes `streams` of them that follow each other in `data`, of these sizes; their symbols follow each other, too. At the
 * first that is wrong it ends with that error. */
EXPORT int64_t cp_rans_decode_all(const cp_layout *l, const uint8_t *data, const uint64_t *sizes, uint64_t streams,
                                  void *symbols, int path) {
    if (l->kind >= KIND_COUNT) return ERROR_ARGUMENT;
    const size_t step = (size_t)l->count * kind_size[l->kind];
    uint8_t *out = symbols;
    for (uint64_t i = 0; i < streams; i++, out += step) {
        int64_t result = cp_rans_decode(l, data, sizes[i], out, path);
        if (result != OK) return result;
        data += sizes[i];
    }
    return OK;
}
