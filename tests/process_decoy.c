/* process_decoy.c - a program that exports functions of its own under every name of slm.h, and uses
 * libslm.so by dlopen. None of the library's calls may end up here. Run by test_process. */
#include "process.h"

static int n_captured;

/* The real declarations stand in slm.h, so these get their names by the linker's eyes only. */
#define DECOY(name)                                                                                \
    int64_t decoy_##name(void) __asm__("slm_" #name);                                              \
    int64_t decoy_##name(void)                                                                     \
    {                                                                                              \
        __atomic_add_fetch(&n_captured, 1, __ATOMIC_SEQ_CST);                                      \
        printf("slm_%s was called in the program\n", #name);                                       \
        return -1;                                                                                 \
    }
PROCESS_FUNCTIONS(DECOY)

int main(int argc, char **argv)
{
    static struct process_result result;
    struct process_api api;
    slm_error err;
    memset(&err, 0, sizeof err);
    void *program = dlopen(NULL, RTLD_NOW);
    if (program == NULL || dlsym(program, "slm_eval") == NULL) {
        printf("the program exports no slm_eval: link it with -rdynamic\n");
        return 2;
    }
    void *library = dlopen(argc > 1 ? argv[1] : PROCESS_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        printf("%s\n", dlerror());
        return 2;
    }
    if (process_bind(&api, library)) {
        return 2;
    }
    if (process_run(&api, &result, &err) != SLM_OK) {
        printf("%s\n", err.message);
        return 1;
    }
    dlclose(library);
    dlclose(program);
    return n_captured != 0 || result.n_text == 0;
}
