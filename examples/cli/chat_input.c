/* chat_input.c - messages, from a terminal or a pipe. */
#include "chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define BLOCK "\"\"\""

/* Waits until a line can be read. Ctrl-C is blocked but for here, so that none is lost between two
 * looks at its flag. Returns whether it came. */
static int wait_interrupted(const sigset_t *unblocked)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    while (pselect(STDIN_FILENO + 1, &set, NULL, NULL, NULL, unblocked) < 0 && errno == EINTR) {
        if (*cli_interrupt()) {
            return 1;
        }
    }
    return 0;
}

/* The next line without its end; 0 where there is none. */
static int get_line(struct chat_input *in, size_t *size)
{
    ssize_t n = getline(&in->line, &in->capacity, stdin);
    while (n > 0 && (in->line[n - 1] == '\n' || in->line[n - 1] == '\r')) {
        n--;
    }
    *size = n > 0 ? (size_t)n : 0;
    return n >= 0;
}

/* The same from a person: two interrupts in a row end the input, one does where something is written
 * that it can drop. */
static int ask_line(struct chat_input *in, const char *sign, int drops, size_t *size)
{
    sigset_t before;
    cli_hold_interrupt(&before);
    int got = INPUT_TEXT;
    for (int again = 1; again >= 0 && got == INPUT_TEXT; again--) {
        *cli_interrupt() = 0;
        fputs(sign, stdout);
        fflush(stdout);
        if (!wait_interrupted(&before)) {
            got = get_line(in, size) ? INPUT_TEXT : INPUT_END;
            break;
        }
        fputs("\n", stderr);
        got = drops ? INPUT_DROPPED : again ? INPUT_TEXT : INPUT_END;
        fputs(got == INPUT_TEXT ? "(Ctrl-C again or Ctrl-D leaves)\n" : "", stderr);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return got;
}

static int read_line(struct chat_input *in, const char *sign, int drops, size_t *size)
{
    if (!in->interactive) {
        return get_line(in, size) ? INPUT_TEXT : INPUT_END;
    }
    int got = ask_line(in, sign, drops, size);
    if (got == INPUT_END && !*cli_interrupt()) {
        putchar('\n');
    }
    return got;
}

static int ends_with(const char *text, size_t size, const char *end)
{
    size_t n = strlen(end);
    return size >= n && memcmp(text + size - n, end, n) == 0;
}

/* The lines up to one that ends with the sign of a block; the first has been read. The end of the
 * input ends it, too. */
static int read_block(struct chat_input *in, size_t size)
{
    const char *line = in->line + strlen(BLOCK);
    size -= strlen(BLOCK);
    for (int first = 1;; first = 0) {
        int is_last = ends_with(line, size, BLOCK);
        size -= is_last ? strlen(BLOCK) : 0;
        /* What stands in the lines of the signs counts if there is something. */
        if (size > 0 || (!first && !is_last)) {
            text_add(&in->text, "\n", in->text.n > 0);
            text_add(&in->text, line, size);
        }
        if (is_last) {
            return INPUT_TEXT;
        }
        int got = read_line(in, "| ", 1, &size);
        if (got != INPUT_TEXT) {
            return got == INPUT_END ? INPUT_TEXT : got;
        }
        line = in->line;
    }
}

int input_read(struct chat_input *in, const char *sign, int drops)
{
    size_t size = 0;
    in->text.n = 0;
    int got = read_line(in, sign, drops, &size);
    in->is_block =
        got == INPUT_TEXT && size >= strlen(BLOCK) && memcmp(in->line, BLOCK, strlen(BLOCK)) == 0;
    if (in->is_block) {
        got = read_block(in, size);
        size = 0;
    }
    while (got == INPUT_TEXT && size > 0 && in->line[size - 1] == '\\') {
        in->is_block = 1;
        text_add(&in->text, in->line, size - 1);
        text_add(&in->text, "\n", 1);
        got = read_line(in, "| ", 1, &size);
        if (got == INPUT_END) {
            size = 0;
            got = INPUT_TEXT;
        }
    }
    if (got == INPUT_TEXT) {
        text_add(&in->text, in->line, size);
    }
    if (in->text.failed) {
        cli_say("no memory for a message");
        return INPUT_END;
    }
    return got;
}
