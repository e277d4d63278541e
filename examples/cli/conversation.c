/* conversation.c - chat templates and what they are told, for slm template and slm chat. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Opening -------------------------------------------------------------------------------- */

/* The names of the built-in templates. */
static void print_names(char *text, size_t capacity)
{
    slm_chat_builtin b;
    memset(&b, 0, sizeof b);
    b.struct_size = sizeof b;
    text[0] = 0;
    for (int32_t i = 0; slm_chat_builtin_find(i, NULL, &b, NULL) == SLM_OK; i++) {
        size_t n = strlen(text);
        snprintf(text + n, capacity - n, "%s%s", i > 0 ? ", " : "", b.name);
    }
}

static int create(slm_chat_template **t, const slm_model *model, const char *text, size_t size)
{
    slm_error err;
    if (slm_chat_template_create(t, model, text, size, NULL, &err) == SLM_OK) {
        return CLI_GO;
    }
    char names[200];
    print_names(names, sizeof names);
    return err.code == SLM_E_UNSUPPORTED
               ? cli_fail("the file has no chat template; --template takes a file or one of %s",
                          names)
               : cli_fail("chat template: %s", err.message);
}

int cli_open_template(slm_chat_template **t, const slm_model *model, const struct cli_settings *s)
{
    const char *name = s->chat_template;
    slm_chat_builtin b;
    char *text = NULL;
    size_t size = 0;
    memset(&b, 0, sizeof b);
    b.struct_size = sizeof b;
    if (name == NULL) {
        return create(t, model, NULL, 0);
    }
    if (slm_chat_builtin_find(0, name, &b, NULL) == SLM_OK) {
        return create(t, model, b.text, b.size);
    }
    int code = cli_read_all(name, &text, &size);
    if (code == CLI_GO) {
        code = create(t, model, text, size);
    }
    free(text);
    return code;
}

/* ---- Options -------------------------------------------------------------------------------- */

/* Seconds since 1970 on the clock on the wall here. */
static int64_t wall_clock(void)
{
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) == NULL) {
        return SLM_NO_DATE;
    }
    utc.tm_isdst = -1;
    return (int64_t)now + (int64_t)(now - mktime(&utc));
}

void cli_set_thinking(slm_chat_options *o, int32_t thinking)
{
    o->enable_thinking = thinking;
    o->extra = thinking == SLM_AUTO ? NULL
               : thinking != 0      ? "{\"thinking\": true}"
                                    : "{\"thinking\": false}";
    o->extra_size = o->extra != NULL ? strlen(o->extra) : 0;
}

int cli_chat_options(slm_chat_options *o, const struct cli_settings *s, char **tools)
{
    size_t size = 0;
    *tools = NULL;
    if (s->tools != NULL && cli_read_all(s->tools, tools, &size) != CLI_GO) {
        return CLI_FAILED;
    }
    slm_chat_options_init(o, sizeof *o);
    cli_set_thinking(o, s->thinking);
    o->reasoning_effort = s->effort;
    o->tools = size > 0 ? *tools : NULL;
    o->tools_size = size;
    o->now = wall_clock();
    return CLI_GO;
}
