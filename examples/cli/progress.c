/* progress.c - one line on standard error that says how far a long work is. Only on a terminal,
 * only after a moment, and gone when the work is done. */
#include "cli.h"

#include <unistd.h>

#define FIRST_AFTER_NS 400000000
#define EVERY_NS 100000000

void cli_progress_begin(struct cli_progress *progress, const char *what)
{
    progress->what = what;
    /* The first report is due FIRST_AFTER_NS from now. */
    progress->last_ns = slm_clock_ns() + FIRST_AFTER_NS - EVERY_NS;
    progress->shown = 0;
}

int32_t cli_progress_report(void *user, uint64_t done, uint64_t total)
{
    struct cli_progress *progress = user;
    int64_t now = slm_clock_ns();
    if (now - progress->last_ns >= EVERY_NS && isatty(STDERR_FILENO)) {
        progress->last_ns = now;
        progress->shown = 1;
        double percent = total > 0 ? 100.0 * (double)done / (double)total : 0;
        fprintf(stderr, "\r%-50.50s %3.0f%%", progress->what, percent);
        fflush(stderr);
    }
    return *cli_interrupt();
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->shown) {
        fprintf(stderr, "\r%56s\r", "");
        fflush(stderr);
        progress->shown = 0;
    }
}
