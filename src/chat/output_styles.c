/* output_styles.c - how models write what is not their answer: reasoning and tool calls. A style is a
 * row; output_probe.c finds the row of a template.
 *
 * Rules for rows: all delimiters begin with an ASCII character that is no line break, are at most
 * OUTPUT_DELIMITER bytes long, and none of those looked for at the same time is the beginning of
 * another (tests/test_chat_output.c checks it). */

#define OUTPUT_DELIMITER 64

#define OUTPUT_BAR "\xEF\xBD\x9C" /* U+FF5C and U+2581, of which DeepSeek's tokens are made */
#define OUTPUT_LOW "\xE2\x96\x81"

struct output_reasoning {
    const char *name;
    const char *opens[2]; /* the first is what a prompt may end with */
    const char *close;
    const char *force;    /* what ends reasoning that has used up its budget */
    const char *drops[4]; /* delimiters around the answer, which are no part of it */
    const char *hint;     /* only where the template writes this as well */
};

static const struct output_reasoning output_reasonings[] = {
    {"granite",
     {"<think>", NULL},
     "</think>",
     "\n</think>\n",
     {"<response>", "</response>", NULL, NULL},
     "<response>"},
    {"think", {"<think>", NULL}, "</think>", "\n</think>\n\n", {NULL, NULL, NULL, NULL}, NULL},
    {"gemma4",
     {"<|channel>thought", NULL},
     "<channel|>",
     "\n<channel|>",
     {NULL, NULL, NULL, NULL},
     NULL},
    {"mistral", {"[THINK]", NULL}, "[/THINK]", "[/THINK]", {NULL, NULL, NULL, NULL}, NULL},
    {"cohere",
     {"<|START_THINKING|>", NULL},
     "<|END_THINKING|>",
     "<|END_THINKING|>",
     {"<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"},
     NULL},
    {"harmony",
     {"<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>analysis<|message|>"},
     "<|end|>",
     "<|end|><|start|>assistant<|channel|>final<|message|>",
     {"<|channel|>final<|message|>", "<|start|>assistant<|channel|>final<|message|>", "<|return|>",
      "<|end|>"},
     NULL},
    {"seed",
     {"<seed:think>", NULL},
     "</seed:think>",
     "</seed:think>",
     {NULL, NULL, NULL, NULL},
     NULL},
    {"minimax", {"<mm:think>", NULL}, "</mm:think>", "</mm:think>", {NULL, NULL, NULL, NULL}, NULL},
    {"apriel",
     {"Here are my reasoning steps:", NULL},
     "[BEGIN FINAL RESPONSE]",
     "\n[BEGIN FINAL RESPONSE]\n",
     {"[END FINAL RESPONSE]", NULL, NULL, NULL},
     NULL},
};

/* What stands between the opening and the end of a call:
 *     JSON    an object with name and arguments, or an array of them; with `args` set also NAMED
 *     NAMED   a name, `args`, the object of arguments
 *     TAGS    a name and tags for each argument: name_end, then key_open KEY key_end value_open VALUE
 *             value_close for each, then end
 *     GEMMA   name{key:value}, strings in <|"|>
 *     PYTHON  [name(key=value)], values as Python writes them */
#define OUTPUT_JSON 0
#define OUTPUT_NAMED 1
#define OUTPUT_TAGS 2
#define OUTPUT_GEMMA 3
#define OUTPUT_PYTHON 4

struct output_calls {
    const char *name;
    int32_t form;
    int32_t is_bare;        /* an answer that begins with an object may be a call */
    int32_t is_keyed;       /* {"NAME": {arguments}} */
    const char *wraps[2];   /* around all calls; may be left out by the model */
    const char *opens[4];   /* one call */
    const char *closers[4]; /* dropped right behind a call */
    const char *args;       /* NAMED: between name and arguments */
    const char *separator;  /* NAMED: the name begins behind it; in front of it may be an id */
    const char *id_mark;    /* NAMED: an id follows it, behind the name */
    const char *prefix;     /* NAMED: taken off the name, which is an id as it stands */
    const char *stops;      /* NAMED: characters that end the name */
    const char *name_end;   /* TAGS; NULL: the name ends where key_open or end begins */
    const char *key_open;
    const char *key_end;
    const char *value_open; /* NULL: the value begins right behind the key */
    const char *value_close;
    const char *end;
    const char *hint; /* stands in a prompt with tools where the template writes no calls; NULL: the
                         delimiters do */
};

#define OUTPUT_TAGS_OF_QWEN                                                                        \
    .name_end = ">", .key_open = "<parameter=", .key_end = ">", .value_close = "</parameter>",     \
    .end = "</function>"

static const struct output_calls output_calls_table[] = {
    {.name = "qwen-tags",
     .form = OUTPUT_TAGS,
     .wraps = {"<tool_call>"},
     .opens = {"<function="},
     .closers = {"</tool_call>"},
     OUTPUT_TAGS_OF_QWEN},
    {.name = "seed",
     .form = OUTPUT_TAGS,
     .wraps = {"<seed:tool_call>"},
     .opens = {"<function="},
     .closers = {"</seed:tool_call>"},
     OUTPUT_TAGS_OF_QWEN},
    {.name = "minimax",
     .form = OUTPUT_TAGS,
     .wraps = {"<minimax:tool_call>"},
     .opens = {"<invoke name=\""},
     .closers = {"</minimax:tool_call>"},
     .name_end = "\">",
     .key_open = "<parameter name=\"",
     .key_end = "\">",
     .value_close = "</parameter>",
     .end = "</invoke>"},
    {.name = "dsml",
     .form = OUTPUT_TAGS,
     .wraps = {"<" OUTPUT_BAR "DSML" OUTPUT_BAR "function_calls>",
               "<" OUTPUT_BAR "DSML" OUTPUT_BAR "tool_calls>"},
     .opens = {"<" OUTPUT_BAR "DSML" OUTPUT_BAR "invoke name=\""},
     .closers = {"</" OUTPUT_BAR "DSML" OUTPUT_BAR "function_calls>",
                 "</" OUTPUT_BAR "DSML" OUTPUT_BAR "tool_calls>"},
     .name_end = "\">",
     .key_open = "<" OUTPUT_BAR "DSML" OUTPUT_BAR "parameter name=\"",
     .key_end = "\"",
     .value_open = ">",
     .value_close = "</" OUTPUT_BAR "DSML" OUTPUT_BAR "parameter>",
     .end = "</" OUTPUT_BAR "DSML" OUTPUT_BAR "invoke>"},
    {.name = "minicpm",
     .form = OUTPUT_TAGS,
     .opens = {"<function name=\""},
     .name_end = "\">",
     .key_open = "<param name=\"",
     .key_end = "\">",
     .value_close = "</param>",
     .end = "</function>"},
    {.name = "glm",
     .form = OUTPUT_TAGS,
     .opens = {"<tool_call>"},
     .key_open = "<arg_key>",
     .key_end = "</arg_key>",
     .value_open = "<arg_value>",
     .value_close = "</arg_value>",
     .end = "</tool_call>"},
    {.name = "hermes", .form = OUTPUT_JSON, .opens = {"<tool_call>"}, .closers = {"</tool_call>"}},
    {.name = "mistral",
     .form = OUTPUT_JSON,
     .opens = {"[TOOL_CALLS]"},
     .args = "[ARGS]",
     .id_mark = "[CALL_ID]"},
    {.name = "phi4",
     .form = OUTPUT_JSON,
     .opens = {"<|tool_call|>"},
     .closers = {"<|/tool_call|>"},
     .hint = "<|/tool|>"},
    {.name = "granite", .form = OUTPUT_JSON, .opens = {"<|tool_call|>"}},
    {.name = "deepseek-r1",
     .form = OUTPUT_NAMED,
     .wraps = {"<" OUTPUT_BAR "tool" OUTPUT_LOW "calls" OUTPUT_LOW "begin" OUTPUT_BAR ">"},
     .opens = {"<" OUTPUT_BAR "tool" OUTPUT_LOW "call" OUTPUT_LOW "begin" OUTPUT_BAR ">"},
     .closers = {"```", "<" OUTPUT_BAR "tool" OUTPUT_LOW "call" OUTPUT_LOW "end" OUTPUT_BAR ">",
                 "<" OUTPUT_BAR "tool" OUTPUT_LOW "calls" OUTPUT_LOW "end" OUTPUT_BAR ">"},
     .args = "```json",
     .separator = "<" OUTPUT_BAR "tool" OUTPUT_LOW "sep" OUTPUT_BAR ">"},
    {.name = "deepseek-v3",
     .form = OUTPUT_NAMED,
     .wraps = {"<" OUTPUT_BAR "tool" OUTPUT_LOW "calls" OUTPUT_LOW "begin" OUTPUT_BAR ">"},
     .opens = {"<" OUTPUT_BAR "tool" OUTPUT_LOW "call" OUTPUT_LOW "begin" OUTPUT_BAR ">"},
     .closers = {"<" OUTPUT_BAR "tool" OUTPUT_LOW "call" OUTPUT_LOW "end" OUTPUT_BAR ">",
                 "<" OUTPUT_BAR "tool" OUTPUT_LOW "calls" OUTPUT_LOW "end" OUTPUT_BAR ">"},
     .args = "<" OUTPUT_BAR "tool" OUTPUT_LOW "sep" OUTPUT_BAR ">"},
    {.name = "kimi",
     .form = OUTPUT_NAMED,
     .wraps = {"<|tool_calls_section_begin|>"},
     .opens = {"<|tool_call_begin|>"},
     .closers = {"<|tool_call_end|>", "<|tool_calls_section_end|>"},
     .args = "<|tool_call_argument_begin|>",
     .prefix = "functions.",
     .stops = ":"},
    {.name = "solar",
     .form = OUTPUT_NAMED,
     .wraps = {"<|tool_calls|>"},
     .opens = {"<|tool_call:begin|>"},
     .closers = {"<|tool_call:end|>", "<|calls|>"},
     .args = "<|tool_call:args|>",
     .separator = "<|tool_call:name|>"},
    {.name = "functionary",
     .form = OUTPUT_NAMED,
     .opens = {"<function="},
     .closers = {"</function>"},
     .args = ">"},
    {.name = "harmony",
     .form = OUTPUT_NAMED,
     .opens = {"<|start|>assistant to=functions.", "<|channel|>commentary to=functions.",
               "<|start|>assistant<|channel|>commentary to=functions.", " to=functions."},
     .closers = {"<|call|>"},
     .args = "<|message|>",
     .stops = " <"},
    {.name = "gemma4",
     .form = OUTPUT_GEMMA,
     .opens = {"<|tool_call>call:"},
     .closers = {"<tool_call|>"}},
    {.name = "lfm2",
     .form = OUTPUT_PYTHON,
     .opens = {"<|tool_call_start|>"},
     .closers = {"<|tool_call_end|>"},
     .hint = "<|tool_list_start|>"},
    {.name = "apertus",
     .form = OUTPUT_JSON,
     .is_keyed = 1,
     .opens = {"<|tools_prefix|>"},
     .closers = {"<|tools_suffix|>"}},
    {.name = "gigachat", .form = OUTPUT_JSON, .opens = {"<|function_call|>"}},
    {.name = "cohere",
     .form = OUTPUT_JSON,
     .opens = {"<|START_ACTION|>"},
     .closers = {"<|END_ACTION|>"}},
    {.name = "nemotron", .form = OUTPUT_JSON, .opens = {"<TOOLCALL>"}, .closers = {"</TOOLCALL>"}},
    {.name = "tool-calls",
     .form = OUTPUT_JSON,
     .opens = {"<tool_calls>"},
     .closers = {"</tool_calls>"}},
    {.name = "llama3",
     .form = OUTPUT_JSON,
     .is_bare = 1,
     .opens = {"<|python_tag|>"},
     .closers = {";"}},
};
