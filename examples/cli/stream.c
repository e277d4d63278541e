/* stream.c - standard output and error, whole files, text that may not be what it seems. */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Escaping ------------------------------------------------------------------------------- */

size_t cli_decode_utf8(const char *text, size_t size, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text;
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n == 0 || n > size || s[0] > 0xf4) {
        return 0;
    }
    uint32_t c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }
    *code = c;
    return n;
}

/* Characters that move the cursor, command the terminal or turn the direction of a line. */
static int is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* keep: characters that pass although they are not printable. */
static void print_visible(FILE *to, const char *text, size_t size, const char *keep)
{
    while (size > 0) {
        uint32_t c = 0;
        size_t n = cli_decode_utf8(text, size, &c);
        if (n == 0) {
            fprintf(to, "\\x%02x", (unsigned char)*text);
            n = 1;
        } else if (!is_unprintable(c) || (c != 0 && c < 0x80 && strchr(keep, (int)c) != NULL)) {
            fwrite(text, 1, n, to);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            fprintf(to, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        } else {
            fprintf(to, c < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)c);
        }
        text += n;
        size -= n;
    }
}

void cli_print_escaped(FILE *to, const char *text, size_t size, size_t limit)
{
    size_t n = size;
    if (n > limit) {
        n = limit;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
            n--; /* not in the middle of a character */
        }
    }
    print_visible(to, text, n, "");
    if (n < size) {
        fputs("...", to);
    }
}

/* ---- Standard error ------------------------------------------------------------------------- */

static void say(const char *format, va_list args)
{
    char line[1024];
    vsnprintf(line, sizeof line, format, args);
    fputs("slm: ", stderr);
    print_visible(stderr, line, strlen(line), "");
    fputc('\n', stderr);
}

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_FAILED;
}

/* ---- Standard output ------------------------------------------------------------------------ */

static int output_failed(void)
{
    return cli_fail("cannot write to standard output: %s", strerror(errno));
}

/* Trap: stdio drops what a signal keeps it from writing, so Ctrl-C waits until the bytes are out. */
static int write_whole(const char *text, size_t size, int visible)
{
    sigset_t before;
    cli_hold_interrupt(&before);
    if (visible) {
        print_visible(stdout, text, size, "\n\t");
    } else {
        fwrite(text, 1, size, stdout);
    }
    int failed = fflush(stdout) != 0 || ferror(stdout);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return failed ? output_failed() : CLI_GO;
}

int cli_write(const void *data, size_t size)
{
    return write_whole(data, size, 0);
}

int cli_write_text(const char *text, size_t size)
{
    return write_whole(text, size, isatty(STDOUT_FILENO));
}

int cli_has_colours(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == 0) &&
           (term == NULL || strcmp(term, "dumb") != 0);
}

int cli_finish(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return output_failed();
    }
    return CLI_OK;
}

/* ---- Input ---------------------------------------------------------------------------------- */

static int read_failed(const char *name, FILE *from, char *data)
{
    int reason = errno;
    free(data);
    if (from != NULL && from != stdin) {
        fclose(from);
    }
    return cli_fail("cannot read %s: %s", name, strerror(reason));
}

int cli_read_all(const char *path, char **data, size_t *size)
{
    int is_file = path != NULL && strcmp(path, "-") != 0;
    const char *name = is_file ? path : "standard input";
    FILE *from = is_file ? fopen(path, "rb") : stdin;
    size_t n = 0, capacity = 0;
    char *buffer = NULL;
    if (from == NULL) {
        return read_failed(name, NULL, NULL);
    }
    for (;;) {
        if (n == capacity) {
            capacity = capacity == 0 ? 65536 : 2 * capacity;
            char *grown = realloc(buffer, capacity);
            if (grown == NULL) {
                return read_failed(name, from, buffer);
            }
            buffer = grown;
        }
        errno = 0; /* a directory opens but cannot be read: only ferror tells */
        size_t got = fread(buffer + n, 1, capacity - n, from);
        if (got == 0) {
            break;
        }
        n += got;
    }
    if (ferror(from)) {
        return read_failed(name, from, buffer);
    }
    if (is_file) {
        fclose(from);
    }
    *data = buffer;
    *size = n;
    return CLI_GO;
}

/* ---- Numbers -------------------------------------------------------------------------------- */

const char *cli_bytes(uint64_t bytes, char *buffer)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    int unit = 0;
    while (x >= 1024 && unit + 1 < CLI_COUNT(units)) {
        x /= 1024;
        unit++;
    }
    snprintf(buffer, CLI_BYTES_SIZE, "%.*f %s",
             unit == 0 || x >= 100 ? 0
             : x >= 10             ? 1
                                   : 2,
             x, units[unit]);
    return buffer;
}
