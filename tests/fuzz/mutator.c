/* mutator.c - mutate.h as libFuzzer and AFL++ call it. Linked into fuzz_gguf (with MUTATE_SPLIT into
 * fuzz_split); or, for AFL++, as a shared object of its own:
 *
 *     cc -shared -fPIC -DMUTATE_AFL tests/fuzz/mutator.c build/libslm.a -o mutator.so
 *     AFL_CUSTOM_MUTATOR_LIBRARY=./mutator.so afl-fuzz ... */
#include "mutate.h"

/* Not a file of several: changes one of the parts that fuzz_split.c takes its input for. */
static TESTING_UNUSED size_t mutate_split(uint8_t *data, size_t size, size_t max_size,
                                          uint64_t seed)
{
    size_t n_files = size > 0 ? 1u + data[0] % 6 : 0;
    size_t head = 1 + 4 * n_files;
    size_t which = n_files > 0 ? (size_t)(seed >> 8) % n_files : 0;
    size_t begin = head;
    size_t end = head;
    if (size < head || n_files == 0) {
        return 0;
    }
    for (size_t i = 0; i <= which; i++) {
        size_t n = (size_t)mutate_load(data + 1 + 4 * i, 4);
        begin = end;
        end = i + 1 == n_files || n > size - begin ? size : begin + n;
    }
    size_t room = max_size - (size - (end - begin));
    uint8_t *part = (uint8_t *)malloc(room + 1);
    fuzz_check(part != NULL && room >= end - begin, "no memory");
    memcpy(part, data + begin, end - begin);
    size_t n = mutate_gguf(part, end - begin, room, seed);
    if (n > 0) {
        memmove(data + begin + n, data + end, size - end);
        memcpy(data + begin, part, n);
        mutate_store(data + 1 + 4 * which, n, 4);
        n += size - (end - begin);
    }
    free(part);
    return n;
}

#ifdef MUTATE_SPLIT
#define mutate_input mutate_split
#else
#define mutate_input mutate_gguf
#endif

#ifndef MUTATE_AFL

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

/* One time in eight the bytes are changed without a thought for what they mean. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    size_t n = seed % 8 != 0 ? mutate_input(data, size, max_size, seed) : 0;
    return n > 0 ? n : LLVMFuzzerMutate(data, size, max_size);
}

#else

/* afl-fuzz finds these by name. */
void *afl_custom_init(void *afl, unsigned int seed);
size_t afl_custom_fuzz(void *state, uint8_t *data, size_t size, uint8_t **out, uint8_t *add,
                       size_t add_size, size_t max_size);
void afl_custom_deinit(void *state);

struct afl_state {
    uint64_t seed;
    uint8_t *out;
};

void *afl_custom_init(void *afl, unsigned int seed)
{
    struct afl_state *s = (struct afl_state *)calloc(1, sizeof *s);
    (void)afl;
    if (s != NULL) {
        s->seed = seed;
    }
    return s;
}

/* AFL++ takes 0 bytes for "nothing to try". */
size_t afl_custom_fuzz(void *state, uint8_t *data, size_t size, uint8_t **out, uint8_t *add,
                       size_t add_size, size_t max_size)
{
    struct afl_state *s = (struct afl_state *)state;
    (void)add;
    (void)add_size;
    free(s->out);
    s->out = (uint8_t *)malloc(max_size + 1);
    *out = s->out;
    if (s->out == NULL || size > max_size) {
        return 0;
    }
    memcpy(s->out, data, size);
    return mutate_input(s->out, size, max_size, s->seed++ * UINT64_C(0x9E3779B97F4A7C15));
}

void afl_custom_deinit(void *state)
{
    struct afl_state *s = (struct afl_state *)state;
    free(s->out);
    free(s);
}

#endif
