/* wasm.c - slm.c without files and system threads, with the clock of glue.c. */
#include <stdint.h>

#define SLM_NO_FILES
#define SLM_NO_THREADS
#define PLATFORM_CLOCK_NS() web_clock_ns()

extern int64_t web_clock_ns(void);

#include "../../slm.c"
