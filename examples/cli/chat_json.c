/* chat_json.c - JSON as text that grows. What is put in may be any bytes: what comes out is one line
 * of valid JSON. */
#include "chat.h"

#include <stdlib.h>
#include <string.h>

void text_add(struct chat_text *t, const char *s, size_t n)
{
    if (t->failed) {
        return;
    }
    if (t->capacity - t->n < n + 1) {
        size_t capacity = 2 * t->capacity + n + 64;
        char *grown = realloc(t->data, capacity);
        if (grown == NULL) {
            t->failed = 1;
            return;
        }
        t->data = grown;
        t->capacity = capacity;
    }
    if (n > 0) {
        memcpy(t->data + t->n, s, n);
    }
    t->n += n;
    t->data[t->n] = 0;
}

void text_puts(struct chat_text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_add_line(struct chat_text *t, const char *s, size_t n)
{
    size_t from = t->n;
    text_add(t, s, n);
    for (size_t i = from; i < t->n; i++) {
        t->data[i] = (unsigned char)t->data[i] < 0x20 ? ' ' : t->data[i];
    }
}

void text_free(struct chat_text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

void text_add_json(struct chat_text *t, const char *s, size_t n)
{
    text_add(t, "\"", 1);
    while (n > 0) {
        uint32_t c = 0;
        size_t size = cli_decode_utf8(s, n, &c);
        char escape[8];
        if (size == 0) {
            text_puts(t, "\xEF\xBF\xBD");
            size = 1;
        } else if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            text_add(t, escape, 2);
        } else if (c == '\n') {
            text_add(t, "\\n", 2);
        } else if (c < 0x20 || c == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
            text_puts(t, escape);
        } else {
            text_add(t, s, size);
        }
        s += size;
        n -= size;
    }
    text_add(t, "\"", 1);
}
