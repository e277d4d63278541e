/* chat_history.c - the messages of a talk, each the JSON that chat templates take, and files of them:
 * a message on each line. Lines that a file has stay as they are, whatever else they say. */
#include "chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const role_names[] = {"system", "user", "assistant", "tool"};

/* ---- Messages ------------------------------------------------------------------------------- */

int history_take(struct chat_history *h, struct chat_text *json, enum chat_role role)
{
    if (h->n == h->capacity && !json->failed) {
        size_t capacity = 2 * h->capacity + 16;
        struct chat_message *grown = realloc(h->list, capacity * sizeof *grown);
        json->failed = grown == NULL;
        h->list = grown != NULL ? grown : h->list;
        h->capacity = grown != NULL ? capacity : h->capacity;
    }
    if (json->failed) {
        free(json->data);
        return cli_fail("no memory for a message");
    }
    h->list[h->n].json = json->data;
    h->list[h->n].size = json->n;
    h->list[h->n++].role = role;
    return CLI_GO;
}

int history_add(struct chat_history *h, enum chat_role role, const char *content, size_t size)
{
    struct chat_text json = {0};
    text_puts(&json, "{\"role\": \"");
    text_puts(&json, role_names[role]);
    text_puts(&json, "\", \"content\": ");
    text_add_json(&json, content, size);
    text_puts(&json, "}");
    return history_take(h, &json, role);
}

void history_truncate(struct chat_history *h, size_t n)
{
    while (h->n > n) {
        free(h->list[--h->n].json);
    }
    h->is_stale |= h->n_saved > n;
}

int history_set_system(struct chat_history *h, const char *content, size_t size)
{
    if (h->n > 0 && h->list[0].role == ROLE_SYSTEM) {
        free(h->list[0].json);
        memmove(h->list, h->list + 1, --h->n * sizeof *h->list);
    }
    h->is_stale |= h->n_saved > 0;
    if (size == 0) {
        return CLI_GO;
    }
    if (history_add(h, ROLE_SYSTEM, content, size) != CLI_GO) {
        return CLI_FAILED;
    }
    struct chat_message system = h->list[h->n - 1];
    memmove(h->list + 1, h->list, (h->n - 1) * sizeof *h->list);
    h->list[0] = system;
    return CLI_GO;
}

size_t history_last(const struct chat_history *h, enum chat_role role)
{
    size_t i = h->n;
    while (i > 0 && h->list[i - 1].role != role) {
        i--;
    }
    return i > 0 ? i - 1 : h->n;
}

int history_array(const struct chat_history *h, size_t n, struct chat_text *json)
{
    text_puts(json, "[");
    for (size_t i = 0; i < n; i++) {
        text_puts(json, i > 0 ? ", " : "");
        text_add(json, h->list[i].json, h->list[i].size);
    }
    text_puts(json, "]");
    return json->failed ? cli_fail("no memory for the talk") : CLI_GO;
}

void history_free(struct chat_history *h)
{
    history_truncate(h, 0);
    free(h->list);
    free(h->path);
    slm_chat_template_free(h->reader);
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* A template that writes the role of the message whose members are its variables. */
static const char reader_text[] =
    "{%- if role is not defined or role is not string -%}"
    "{{ raise_exception('a message has a \"role\", which is a string') }}"
    "{%- endif -%}{{ role }}";

/* The role of a line of JSON. */
static int read_role(struct chat_history *h, const char *line, size_t size, enum chat_role *role,
                     slm_error *err)
{
    slm_chat_options o;
    slm_chat_prompt *prompt = NULL;
    slm_chat_prompt_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    slm_chat_options_init(&o, sizeof o);
    o.extra = line;
    o.extra_size = size;
    int status = SLM_OK;
    if (h->reader == NULL) {
        status = slm_chat_template_create(&h->reader, NULL, reader_text, sizeof reader_text - 1,
                                          NULL, err);
    }
    if (status == SLM_OK) {
        status = slm_chat_render(&prompt, h->reader, "[]", 2, &o, err);
    }
    if (status == SLM_OK) {
        status = slm_chat_prompt_get_info(prompt, &info, err);
    }
    *role = ROLE_OTHER;
    for (int i = 0; i < CLI_COUNT(role_names) && status == SLM_OK; i++) {
        if (strlen(role_names[i]) == info.size &&
            memcmp(role_names[i], info.text, info.size) == 0) {
            *role = (enum chat_role)i;
        }
    }
    slm_chat_prompt_free(prompt);
    return status;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int load_line(struct chat_history *h, const char *path, size_t number, const char *line,
                     size_t size)
{
    struct chat_text json = {0};
    enum chat_role role = ROLE_OTHER;
    slm_error err;
    while (size > 0 && is_blank(line[size - 1])) {
        size--;
    }
    if (size == 0) {
        return CLI_GO;
    }
    if (read_role(h, line, size, &role, &err) != SLM_OK) {
        return cli_fail("%s, line %zu: %s", path, number, err.message);
    }
    text_add(&json, line, size);
    return history_take(h, &json, role);
}

static int load_lines(struct chat_history *h, const char *path, const char *data, size_t size)
{
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t n = end != NULL ? (size_t)(end - data) - at : size - at;
        if (load_line(h, path, number, data + at, n) != CLI_GO) {
            return CLI_FAILED;
        }
        at += n + 1;
    }
    return CLI_GO;
}

int history_load(struct chat_history *h, const char *path, int must)
{
    char *data = NULL;
    size_t size = 0;
    size_t before = h->n;
    FILE *there = fopen(path, "rb");
    if (there == NULL && errno == ENOENT && !must) {
        return CLI_GO;
    }
    if (there != NULL) {
        fclose(there);
    }
    if (cli_read_all(path, &data, &size) != CLI_GO) {
        return CLI_FAILED;
    }
    int code = load_lines(h, path, data, size);
    if (code != CLI_GO) {
        history_truncate(h, before);
    } else if (h->path != NULL && strcmp(h->path, path) == 0) {
        /* Appending wants whole lines. */
        h->n_saved = h->n;
        h->is_stale = size > 0 && data[size - 1] != '\n';
    }
    free(data);
    return code;
}

/* ---- Writing -------------------------------------------------------------------------------- */

int history_save_to(struct chat_history *h, const char *path)
{
    free(h->path);
    h->path = path != NULL ? strdup(path) : NULL;
    h->n_saved = 0;
    h->is_stale = 0;
    return path != NULL && h->path == NULL ? cli_fail("no memory for a name") : CLI_GO;
}

int history_try(const char *path)
{
    FILE *to = fopen(path, "ab");
    return to == NULL || fclose(to) != 0 ? cli_fail("cannot write %s: %s", path, strerror(errno))
                                         : CLI_GO;
}

static int write_lines(const struct chat_history *h, const char *path, const char *mode,
                       size_t first)
{
    FILE *to = fopen(path, mode);
    if (to == NULL) {
        return cli_fail("cannot write %s: %s", path, strerror(errno));
    }
    for (size_t i = first; i < h->n; i++) {
        fwrite(h->list[i].json, 1, h->list[i].size, to);
        fputc('\n', to);
    }
    int failed = ferror(to);
    return fclose(to) != 0 || failed ? cli_fail("cannot write %s: %s", path, strerror(errno))
                                     : CLI_GO;
}

/* All of it into a file beside it, which then takes its place: whatever happens, one of them is whole. */
static int write_anew(const struct chat_history *h)
{
    size_t n = strlen(h->path);
    char *beside = malloc(n + 5);
    if (beside == NULL) {
        return cli_fail("no memory for a name");
    }
    memcpy(beside, h->path, n);
    memcpy(beside + n, ".new", 5);
    int code = write_lines(h, beside, "wb", 0);
    if (code == CLI_GO && rename(beside, h->path) != 0) {
        code = cli_fail("cannot write %s: %s", h->path, strerror(errno));
    }
    free(beside);
    return code;
}

int history_sync(struct chat_history *h)
{
    if (h->path == NULL || (!h->is_stale && h->n_saved == h->n)) {
        return CLI_GO;
    }
    int code = h->is_stale ? write_anew(h) : write_lines(h, h->path, "ab", h->n_saved);
    if (code == CLI_GO) {
        h->n_saved = h->n;
        h->is_stale = 0;
    }
    return code;
}
