/* testing.h - what tests share: files that may be there or not, whole files, temporary files.
 *
 * Tests run with the repository root as working directory. Files under ../shared are not part of
 * the repository: a test that wants one begins with TESTING_NEEDS(path) and is skipped, saying so,
 * where it is missing. */
#ifndef TESTING_H
#define TESTING_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define TESTING_UNUSED __attribute__((unused))
#else
#define TESTING_UNUSED
#endif

#define TESTING_STORYTELLER "examples/models/storyteller-q8_0.gguf"

/* For cmocka tests: leaves the test as skipped if there is no such file. */
#define TESTING_NEEDS(path)                                                                        \
    do {                                                                                           \
        if (!testing_exists(path)) {                                                               \
            printf("skipped: %s is not here\n", path);                                             \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static TESTING_UNUSED int testing_exists(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        fclose(file);
    }
    return file != NULL;
}

/* The whole file and a 0 behind it, to be freed; NULL if it cannot be read. */
static TESTING_UNUSED char *testing_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    size_t used = 0, capacity = (size_t)1 << 16, got;
    char *data = (char *)malloc(capacity);
    while (data != NULL && (got = fread(data + used, 1, capacity - used - 1, file)) > 0) {
        used += got;
        if (capacity - used < 2) {
            char *larger = (char *)realloc(data, capacity *= 2);
            if (larger == NULL) {
                free(data);
            }
            data = larger;
        }
    }
    fclose(file);
    if (data != NULL) {
        data[used] = 0;
        *size = used;
    }
    return data;
}

/* Closes the file, too. 0 if that worked; file may be NULL. */
static TESTING_UNUSED int testing_put(FILE *file, const void *data, size_t size)
{
    size_t written = file != NULL ? fwrite(data, 1, size, file) : 0;
    return file != NULL && fclose(file) == 0 && written == size ? 0 : -1;
}

/* Writes a file of that name ("truncated.gguf") into $TMPDIR or /tmp, made unique by a number, and
 * its path into path. 0 if that worked. The test removes it. */
static TESTING_UNUSED int testing_temp(char *path, size_t capacity, const char *name,
                                       const void *data, size_t size)
{
    const char *folder = getenv("TMPDIR");
    for (unsigned n = 0; n < 10000; n++) {
        int length = snprintf(path, capacity, "%s/slm-%u-%s",
                              folder != NULL && folder[0] != 0 ? folder : "/tmp", n, name);
        if (length < 0 || (size_t)length >= capacity) {
            return -1;
        }
        FILE *file = fopen(path, "wbx"); /* C11: fails if the file exists */
        if (file != NULL) {
            return testing_put(file, data, size);
        }
    }
    return -1;
}

/* Splitmix64. */
static TESTING_UNUSED uint64_t testing_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

#endif
