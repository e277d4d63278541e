/* replay.c - a plain main for a fuzzer: gives it each file named, and each file of each folder
 * named, and says how many there were. No files at all is a failure.
 *
 * With a compiler of AFL++ this is its driver, too: afl-fuzz -i corpus -o out -- ./replay_gguf @@ */
#include "fuzz.h"

#include <dirent.h>

static int replay_file(const char *path)
{
    size_t size = 0;
    char *data = testing_read(path, &size);
    if (data == NULL) {
        return 0;
    }
    /* Without the 0 that testing_read puts behind: reading past the end must show. */
    uint8_t *copy = (uint8_t *)fuzz_copy(data, size);
    free(data);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return 1;
}

static int replay(const char *path)
{
    DIR *folder = opendir(path);
    int n = 0;
    if (folder == NULL) {
        return replay_file(path);
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char name[1024];
        int length = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && length > 0 && (size_t)length < sizeof name) {
            fprintf(stderr, "%s\n", name);
            n += replay(name);
        }
    }
    closedir(folder);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        int here = replay(argv[i]);
        if (here == 0) {
            fprintf(stderr, "%s cannot be read or is empty\n", argv[i]);
            return 1;
        }
        n += here;
    }
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
