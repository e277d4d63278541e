/* test_chat_output.c - what a model answers, taken apart: reasoning, answer and tool calls of every
 * style, whatever pieces the text comes in; calls that are none; styles found from templates.
 *
 * Public functions only, but for the rule about delimiters. */
#include "../slm.c"

#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>

#include <cmocka.h>

#include "counting.h"
#include "testing.h"

#define SHARED "../shared/templates/"
#define TOOLS                                                                                      \
    "[{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"type\": "        \
    "\"object\", \"properties\": {\"s\": {\"type\": \"string\"}, \"n\": {\"type\": \"integer\"}, " \
    "\"x\": {\"type\": [\"number\", \"null\"]}, \"b\": {\"type\": \"boolean\"}, "                  \
    "\"o\": {\"anyOf\": [{\"type\": \"object\"}]}, \"l\": {\"type\": \"array\"}}}}}]"

/* Events as one line: R(text) A(text) C0(id|name|arguments). */
struct log {
    char text[16384];
    size_t n;
    int32_t kind;
};

static void log_bytes(struct log *l, const char *s, size_t n)
{
    assert_true(l->n + n < sizeof l->text);
    memcpy(l->text + l->n, s, n);
    l->n += n;
    l->text[l->n] = 0;
}

static void log_kind(struct log *l, int32_t kind)
{
    static const char *const heads[] = {"", "R(", "A("};
    if (l->kind != kind) {
        log_bytes(l, ")", l->kind != 0);
        log_bytes(l, kind < 3 ? heads[kind] : "", kind < 3 ? strlen(heads[kind]) : 0);
        l->kind = kind < 3 ? kind : 0;
    }
}

static void assert_whole_characters(const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t point = 0;
        int missing = 0;
        size_t size = unicode_scan((const uint8_t *)s + i, n - i, &point, &missing);
        assert_true(missing == 0 && size > 0);
        i += size;
    }
}

static int drain(slm_chat_output *o, struct log *l, slm_error *err)
{
    for (;;) {
        slm_chat_event e = {.struct_size = sizeof e};
        int status = slm_chat_output_next(o, &e, err);
        if (status != SLM_OK || e.kind == SLM_CHAT_NONE || e.kind == SLM_CHAT_END) {
            log_kind(l, status == SLM_OK && e.kind == SLM_CHAT_END ? 0 : l->kind);
            return status;
        }
        log_kind(l, e.kind);
        if (e.kind == SLM_CHAT_TOOL_CALL) {
            char line[4096];
            int n = snprintf(line, sizeof line, "C%d(%s|%s|%s)", (int)e.index, e.id, e.name,
                             e.arguments);
            assert_int_equal(e.size, strlen(e.arguments));
            log_bytes(l, line, (size_t)n);
        } else {
            assert_true(e.size > 0);
            assert_whole_characters(e.text, e.size);
            log_bytes(l, e.text, e.size);
        }
    }
}

static slm_chat_output *output_of(const char *reasoning, const char *calls, const char *tools)
{
    slm_chat_output *o = NULL;
    slm_error err;
    slm_chat_output_options options;
    slm_chat_output_options_init(&options, sizeof options);
    options.reasoning = reasoning;
    options.tool_calls = calls;
    options.tools = tools;
    options.tools_size = tools != NULL ? strlen(tools) : 0;
    if (slm_chat_output_create(&o, NULL, &options, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return o;
}

/* Text in two pieces, or with cut 0 in single bytes. */
static void read_cut(slm_chat_output *o, const char *text, size_t cut, struct log *l)
{
    size_t n = strlen(text);
    slm_error err;
    memset(l, 0, sizeof *l);
    assert_int_equal(slm_chat_output_begin(o, NULL, &err), SLM_OK);
    for (size_t at = 0; at < n;) {
        size_t size = cut == 0 ? 1 : at == 0 ? cut : n - at;
        assert_int_equal(slm_chat_output_push(o, SLM_PIECE_TEXT, text + at, size, &err), SLM_OK);
        assert_int_equal(drain(o, l, &err), SLM_OK);
        at += size;
    }
    assert_int_equal(slm_chat_output_push(o, SLM_PIECE_END, NULL, 0, &err), SLM_OK);
    assert_int_equal(drain(o, l, &err), SLM_OK);
}

static void check(const char *reasoning, const char *calls, const char *text, const char *expected)
{
    static struct log l;
    slm_chat_output *o = output_of(reasoning, calls, TOOLS);
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        read_cut(o, text, cut, &l);
        if (strcmp(l.text, expected) != 0) {
            fail_msg("%s/%s cut at %zu:\n%s\ngives\n%s\nnot\n%s", reasoning, calls, cut, text,
                     l.text, expected);
        }
    }
    slm_chat_output_free(o);
}

/* ---- Styles ---------------------------------------------------------------------------------- */

#define BAR "\xEF\xBD\x9C"
#define LOW "\xE2\x96\x81"

static void every_style_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *reasoning, *calls, *text, *expected;
    } rows[] = {
        {"", "", "\nplain <think>x</think> {\"name\": 1}\n",
         "A(\nplain <think>x</think> {\"name\": 1}\n)"},
        {"think", "", "<think>\nwhy\xE2\x82\xAC\n</think>\n\nbecause",
         "R(why\xE2\x82\xAC)A(because)"},
        {"think", "", "<think>\n\n</think>\n\nx < y <thin> \n\n z\n", "A(x < y <thin> \n\n z\n)"},
        {"think", "hermes",
         "<think>a</think>Let me look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"s\": "
         "\"</tool_call> \\\"<think>\\\"\", \"o\": {\"a\": [1, {\"b\": null}]}}}\n</tool_call>\n"
         "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
         "R(a)A(Let me look.)C0(|f|{\"s\": \"</tool_call> \\\"<think>\\\"\", \"o\": {\"a\": [1, "
         "{\"b\": null}]}})C1(|g|{})"},
        {"", "hermes",
         "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"n\\\": 1}\"}</tool_call>\n\ndone",
         "C0(|f|{\"n\": 1})A(done)"},
        {"think", "qwen-tags",
         "x\n\n<tool_call>\n<function=f>\n<parameter=s>\n12\n</parameter>\n<parameter=n>\n12\n"
         "</parameter>\n<parameter=x>\n1.5\n</parameter>\n<parameter=b>\nTrue\n</parameter>\n"
         "<parameter=o>\n{\"k\": [1]}\n</parameter>\n<parameter=l>\nno list\n</parameter>\n"
         "<parameter=u>\n7 \"q\"\n\n</function>\n</parameter>\n</function>\n</tool_call>\n",
         "A(x)C0(|f|{\"s\": \"12\", \"n\": 12, \"x\": 1.5, \"b\": true, \"o\": {\"k\": [1]}, "
         "\"l\": "
         "\"no list\", \"u\": \"7 \\\"q\\\"\\n\\n</function>\"})"},
        {"", "qwen-tags", "<function=f>\n</function>", "C0(|f|{})"},
        {"seed", "seed",
         "<seed:think>t</seed:think><seed:tool_call>\n<function=f>\n<parameter=n>3</parameter>\n"
         "</function>\n</seed:tool_call>",
         "R(t)C0(|f|{\"n\": 3})"},
        {"think", "minimax",
         "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"s\">Oslo</parameter>\n"
         "</invoke>\n<invoke name=\"f\">\n</invoke>\n</minimax:tool_call>",
         "C0(|f|{\"s\": \"Oslo\"})C1(|f|{})"},
        {"think", "dsml",
         "<" BAR "DSML" BAR "tool_calls>\n<" BAR "DSML" BAR "invoke name=\"f\">\n<" BAR "DSML" BAR
         "parameter name=\"a\" string=\"true\">1</" BAR "DSML" BAR "parameter>\n<" BAR "DSML" BAR
         "parameter name=\"b\" string=\"false\">1</" BAR "DSML" BAR "parameter>\n</" BAR "DSML" BAR
         "invoke>\n</" BAR "DSML" BAR "tool_calls>",
         "C0(|f|{\"a\": \"1\", \"b\": 1})"},
        {"think", "minicpm", "<function name=\"f\"><param name=\"n\">1</param></function>",
         "C0(|f|{\"n\": 1})"},
        {"think", "glm",
         "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>n</arg_key>\n"
         "<arg_value>1</arg_value>\n</tool_call><tool_call>g</tool_call>",
         "C0(|f|{\"s\": \"Oslo\", \"n\": 1})C1(|g|{})"},
        {"mistral", "mistral",
         "[THINK]hm[/THINK][TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"s\": \"]\"}, \"id\": "
         "\"call00001\"}, {\"name\": \"g\", \"arguments\": {}}]",
         "R(hm)C0(call00001|f|{\"s\": \"]\"})C1(|g|{})"},
        {"", "mistral", "a[TOOL_CALLS]f[CALL_ID]call00001[ARGS]{\"n\": 1}[TOOL_CALLS]g[ARGS]{}",
         "A(a)C0(call00001|f|{\"n\": 1})C1(|g|{})"},
        {"", "phi4", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"n\": 1}}]<|/tool_call|>",
         "C0(|f|{\"n\": 1})"},
        {"granite", "granite",
         "<think>t</think><response>r</response>\n<|tool_call|>[{\"name\": \"f\", \"arguments\": "
         "{}}]",
         "R(t)A(r)C0(|f|{})"},
        {"think", "deepseek-r1",
         "<" BAR "tool" LOW "calls" LOW "begin" BAR "><" BAR "tool" LOW "call" LOW "begin" BAR
         ">function<" BAR "tool" LOW "sep" BAR ">f\n```json\n{\"n\": 1}\n```<" BAR "tool" LOW
         "call" LOW "end" BAR ">\n<" BAR "tool" LOW "call" LOW "begin" BAR ">function<" BAR
         "tool" LOW "sep" BAR ">g\n```json\n{}\n```<" BAR "tool" LOW "call" LOW "end" BAR "><" BAR
         "tool" LOW "calls" LOW "end" BAR ">",
         "C0(|f|{\"n\": 1})C1(|g|{})"},
        {"think", "deepseek-v3",
         "<" BAR "tool" LOW "calls" LOW "begin" BAR "><" BAR "tool" LOW "call" LOW "begin" BAR
         ">f<" BAR "tool" LOW "sep" BAR ">{\"n\": 1}<" BAR "tool" LOW "call" LOW "end" BAR "><" BAR
         "tool" LOW "calls" LOW "end" BAR ">",
         "C0(|f|{\"n\": 1})"},
        {"", "kimi",
         "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>"
         "{\"n\": 1}<|tool_call_end|><|tool_calls_section_end|>",
         "C0(functions.f:0|f|{\"n\": 1})"},
        {"", "solar",
         "<|tool_calls|><|tool_call:begin|>i1<|tool_call:name|>f<|tool_call:args|>{}"
         "<|tool_call:end|><|calls|>",
         "C0(i1|f|{})"},
        {"", "functionary", "x<function=f>{\"n\": 1}</function>", "A(x)C0(|f|{\"n\": 1})"},
        {"harmony", "harmony",
         "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary "
         "to=functions.f <|constrain|>json<|message|>{\"n\": 1}<|call|>",
         "R(hm)C0(|f|{\"n\": 1})"},
        {"harmony", "harmony",
         "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes"
         "<|return|>",
         "R(hm)A(yes)"},
        {"gemma4", "gemma4",
         "<|channel>thought\nhm\n<channel|><|tool_call>call:f{s:<|\"|>a}\"b<|\"|>,o:{k:[1,"
         "{},true]},x:null}<tool_call|>ok",
         "R(hm)C0(|f|{\"s\": \"a}\\\"b\", \"o\": {\"k\": [1, {}, true]}, \"x\": null})A(ok)"},
        {"", "gemma4", "<|tool_call>call:f{}<tool_call|>", "C0(|f|{})"},
        {"", "lfm2",
         "<|tool_call_start|>[f(s='it\\'s, ok)', l=[1, True, (2,)], o={'a': None}), g()]"
         "<|tool_call_end|>",
         "A(<|tool_call_start|>[f(s='it\\'s, ok)', l=[1, True, (2,)], o={'a': "
         "None}), g()]<|tool_call_end|>)"},
        {"", "lfm2",
         "<|tool_call_start|>[f(s='it\\'s, ok)', l=[1, True], o={'a': None}), g()]"
         "<|tool_call_end|>x",
         "C0(|f|{\"s\": \"it's, ok)\", \"l\": [1, true], \"o\": {\"a\": null}})"
         "C1(|g|{})A(x)"},
        {"", "functiongemma",
         "<start_function_call>call:f{s:<escape>a}\"b<escape>,o:{k:[<escape>,<escape>]}}"
         "<end_function_call>\n<start_function_call>call:g{}<end_function_call>",
         "C0(|f|{\"s\": \"a}\\\"b\", \"o\": {\"k\": [\",\"]}})C1(|g|{})"},
        {"", "olmo3",
         "<function_calls>f(s=\"</function_calls>\", o={\"a\": null})\ng(x=(1)\n)\n"
         "</function_calls>",
         "A(<function_calls>f(s=\"</function_calls>\", o={\"a\": null})\ng(x=(1)\n)\n"
         "</function_calls>)"},
        {"", "olmo3",
         "a\n<function_calls>\nf(s=\"</function_calls>\", o={\"a\": null})\ng(b=true, l=['x'])\n"
         "</function_calls>b",
         "A(a)C0(|f|{\"s\": \"</function_calls>\", \"o\": {\"a\": null}})"
         "C1(|g|{\"b\": true, \"l\": [\"x\"]})A(b)"},
        {"hy", "hy",
         "<think:opensource>t</think:opensource>a<tool_calls:opensource>\n<tool_call:opensource>f"
         "<tool_sep:opensource>\n<arg_key:opensource>n</arg_key:opensource>\n"
         "<arg_value:opensource>5</arg_value:opensource>\n</tool_call:opensource>\n"
         "<tool_call:opensource>g<tool_sep:opensource>\n</tool_call:opensource>\n"
         "</tool_calls:opensource>",
         "R(t)A(a)C0(|f|{\"n\": 5})C1(|g|{})"},
        {"kimi-k3", "kimi-k3",
         "<|open|>think<|sep|>t<|close|>think<|sep|><|open|>response<|sep|>a<|close|>response<|sep|"
         ">"
         "<|open|>tools<|sep|><|open|>call tool=\"f\" index=\"1\"<|sep|><|open|>argument key=\"s\" "
         "type=\"string\"<|sep|>1<|close|>argument<|sep|><|open|>argument key=\"z\" "
         "type=\"number\"<|sep|>2<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>"
         "<|close|>message<|sep|><|end_of_msg|>",
         "R(t)A(a)C0(|f|{\"s\": \"1\", \"z\": 2})"},
        {"", "atem",
         "<atem:function_calls>\n<atem:invoke name=\"f\">\n<atem:parameter name=\"n\">5"
         "</atem:parameter>\n</atem:invoke>\n</atem:function_calls>",
         "C0(|f|{\"n\": 5})"},
        {"", "gigachat3",
         "a<|message_sep|>\n\nfunction call<|role_sep|>\n{\"name\": \"f\", \"arguments\": {}}",
         "A(a)C0(|f|{})"},
        {"", "functools",
         "import functools [{\"name\": \"f\"}] functools[{\"name\": \"f\", \"arguments\": "
         "{\"n\": 1}}, {\"name\": \"g\", \"arguments\": {}}]",
         "A(import)C0(|f|{})C1(|f|{\"n\": 1})C2(|g|{})"},
        {"", "functools", "import functools as f", "A(import functools as f)"},
        {"", "command-r",
         "Action:\n```json\n[\n    {\n        \"tool_name\": \"f\",\n        \"parameters\": "
         "{\"n\": 1}\n    }\n]\n```",
         "C0(|f|{\"n\": 1})"},
        {"harmony", "harmony",
         "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>"
         "Let me look.<|end|><|start|>assistant<|channel|>analysis to=functions.f code<|message|>{}"
         "<|call|>",
         "R(a)A(Let me look.)C0(|f|{})"},
        {"", "lfm2",
         "<|tool_call_start|>[f(s='\\u00e9\\x41\\ud83d\\ude42\\q\\n\\ud83d')]<|tool_call_end|>",
         "C0(|f|{\"s\": \"\xC3\xA9"
         "A\xF0\x9F\x99\x82\\\\q\\n\xEF\xBF\xBD\"})"},
        {"", "apertus", "<|tools_prefix|>[{\"f\": {\"n\": 1}}]<|tools_suffix|>",
         "C0(|f|{\"n\": 1})"},
        {"cohere", "cohere",
         "<|START_THINKING|>t<|END_THINKING|><|START_ACTION|>[\n {\"tool_call_id\": \"0\", "
         "\"tool_name\": \"f\", \"parameters\": {\"n\": 1}}\n]<|END_ACTION|>",
         "R(t)C0(0|f|{\"n\": 1})"},
        {"cohere", "cohere", "<|START_RESPONSE|>hello<|END_RESPONSE|>", "A(hello)"},
        {"think", "nemotron", "<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}]</TOOLCALL>",
         "C0(|f|{})"},
        {"", "tool-calls",
         "<tool_calls>\n{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"f\", "
         "\"arguments\": {\"n\": 2}}\n</tool_calls>",
         "C0(|f|{})C1(|f|{\"n\": 2})"},
        {"", "llama3",
         "{\"name\": \"f\", \"parameters\": {\"n\": 1}}; {\"name\": \"f\", "
         "\"parameters\": {}}",
         "C0(|f|{\"n\": 1})C1(|f|{})"},
        {"", "llama3", "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"n\": 1}}",
         "C0(|f|{\"n\": 1})"},
    };
    for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
        check(rows[i].reasoning, rows[i].calls, rows[i].text, rows[i].expected);
    }
}

static void what_is_no_call_comes_back_as_text(void **state)
{
    (void)state;
    static const struct {
        const char *calls, *text;
    } rows[] = {
        {"hermes", "a <tool_call>\n{\"name\": \"f\", \"argum"},
        {"hermes", "<tool_call>\n{\"name\": \"f\" oops}\n</tool_call> b"},
        {"hermes", "<tool_call>{\"arguments\": {}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1e999}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"<f>\", \"arguments\": {}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"argumens\": {\"n\": 1}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"n\": 1,}}</tool_call>"},
        {"hermes", "<tool_call>{'name': 'f', 'arguments': {}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"b\": True}}</tool_call>"},
        {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"n: 1\"}</tool_call>"},
        {"hermes", "<tool_call>no\xE2\x82\xAC"},
        {"hermes", "<tool_call>\xE2\x82\xAC"},
        {"hermes", "<tool_cal"},
        {"hermes", "<tool_call>{\"a\": \"x\ny\"}"},
        {"llama3", "{\"type\": \"f\", \"parameters\": {}}"},
        {"llama3", "{\"name\": \"f\"}"},
        {"llama3", "{\"name\": \"unknown\", \"parameters\": {}}"},
        {"llama3", "{\"namely\": 1}"},
        {"llama3", "{ 1 }"},
        {"llama3", "x {\"name\": \"f\", \"parameters\": {}}"},
        {"llama3", "<|python_tag|>print(1)"},
        {"qwen-tags", "<tool_call>\n<function=f>\n<parameter=s>\nabc"},
        {"qwen-tags", "<tool_call>\n<function=f>\nno tags</function>"},
        {"qwen-tags", "<tool_call>text"},
        {"mistral", "[TOOL_CALLS]f[ARGS]no"},
        {"mistral", "[TOOL_CALLS][]"},
        {"mistral", "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, 1]"},
        {"gemma4", "<|tool_call>call:f{s:oops}<tool_call|>"},
        {"gemma4", "<|tool_call>call:f{s:<|\"|>x"},
        {"dsml", "<" BAR "DSM" BAR "x"},
        {"dsml", "<\xEF\xBD\xA0"},
        {"lfm2", "<|tool_call_start|>[f(a)]"},
        {"glm", "<tool_call>f<arg_key>s</arg_key>\n<arg_key>n</arg_key><arg_value>1</arg_value>"
                "</tool_call>"},
        {"kimi", "<|tool_call_begin|>f:0{\"n\": 1}<|tool_call_argument_begin|>{}<|tool_call_end|>"},
        {"olmo3", "<function_calls>f(n=1</function_calls>"},
        {"functiongemma", "<start_function_call>call:f{s:<escape>x}<end_function_call>"},
        {"deepseek-v3", "<" BAR "tool" LOW "calls" LOW "begin" BAR ">\xEF\xBD\xA0"},
    };
    for (int32_t i = 0; i < SLM_COUNT(rows); i++) {
        char expected[512];
        snprintf(expected, sizeof expected, "A(%s)", rows[i].text);
        check("think", rows[i].calls, rows[i].text, expected);
    }
}

static void text_is_not_kept_longer_than_it_must(void **state)
{
    (void)state;
    static const struct {
        const char *piece, *expected;
    } steps[] = {{"Hi <", "A(Hi "},       {"t", "A(Hi "},
                 {"here", "A(Hi <there"}, {"\n", "A(Hi <there"},
                 {"!", "A(Hi <there\n!"}, {"<tool_call>", "A(Hi <there\n!"},
                 {"{", "A(Hi <there\n!"}, {"x", "A(Hi <there\n!<tool_call>{x"}};
    slm_chat_output *o = output_of("think", "hermes", NULL);
    struct log l;
    slm_error err;
    memset(&l, 0, sizeof l);
    for (int32_t i = 0; i < SLM_COUNT(steps); i++) {
        slm_chat_output_push(o, SLM_PIECE_TEXT, steps[i].piece, strlen(steps[i].piece), &err);
        assert_int_equal(drain(o, &l, &err), SLM_OK);
        assert_string_equal(l.text, steps[i].expected);
    }
    slm_chat_output_free(o);
}

static void control_tokens_are_delimiters_or_nothing(void **state)
{
    slm_chat_output *o = output_of("think", "hermes", NULL);
    struct log l;
    slm_error err;
    (void)state;
    memset(&l, 0, sizeof l);
    slm_chat_output_push(o, SLM_PIECE_SPECIAL, "<think>", 7, &err);
    slm_chat_output_push(o, SLM_PIECE_TEXT, "a\xE2\x82", 3, &err);
    slm_chat_output_push(o, SLM_PIECE_SPECIAL, "<|im_start|>", 12, &err);
    slm_chat_output_push(o, SLM_PIECE_TEXT, "b\xFF", 2, &err);
    slm_chat_output_push(o, SLM_PIECE_SPECIAL, "</think>", 8, &err);
    slm_chat_output_push(o, SLM_PIECE_TEXT, "c\xF0", 2, &err);
    slm_chat_output_push(o, SLM_PIECE_END, NULL, 0, &err);
    assert_int_equal(drain(o, &l, &err), SLM_OK);
    assert_string_equal(l.text, "R(a\xEF\xBF\xBD"
                                "b\xEF\xBF\xBD)A(c\xEF\xBF\xBD)");
    assert_int_equal(slm_chat_output_push(o, SLM_PIECE_TEXT, "x", 1, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_chat_output_push(o, 9, "x", 1, &err), SLM_E_ARGUMENT);
    assert_int_equal(slm_chat_output_push(o, SLM_PIECE_TEXT, NULL, 1, &err), SLM_E_ARGUMENT);
    slm_chat_output_free(o);
}

static void a_long_call_is_text(void **state)
{
    slm_chat_output *o = NULL;
    slm_chat_output_options options;
    slm_error err;
    struct log l;
    (void)state;
    slm_chat_output_options_init(&options, sizeof options);
    options.tool_calls = "hermes";
    options.max_call_bytes = 64;
    assert_int_equal(slm_chat_output_create(&o, NULL, &options, &err), SLM_OK);
    const char *text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": "
                       "\"0123456789012345678901234567890123456789\"}}</tool_call>";
    char expected[256];
    snprintf(expected, sizeof expected, "A(%s)", text);
    read_cut(o, text, 0, &l);
    assert_string_equal(l.text, expected);
    slm_chat_output_free(o);
}

/* Bytes are decided on one at a time, so two delimiters looked for together must not begin alike. */
static void no_delimiter_begins_another(void **state)
{
    (void)state;
    for (int32_t r = 0; r < SLM_COUNT(output_reasonings); r++) {
        for (int32_t c = 0; c < SLM_COUNT(output_calls_table); c++) {
            struct output_machine m;
            memset(&m, 0, sizeof m);
            m.reasoning = &output_reasonings[r];
            m.calls = &output_calls_table[c];
            output_enter(&m, SLM_CHAT_ANSWER, 1);
            assert_true(m.n_delimiters < OUTPUT_DELIMITERS);
            for (int32_t i = 0; i < m.n_delimiters; i++) {
                assert_in_range(m.delimiters[i].n, 1, OUTPUT_DELIMITER - 1);
                assert_in_range((uint8_t)m.delimiters[i].text[0], ' ', '~');
                for (int32_t j = 0; j < m.n_delimiters; j++) {
                    assert_true(i == j || strncmp(m.delimiters[i].text, m.delimiters[j].text,
                                                  (size_t)m.delimiters[i].n) != 0);
                }
            }
        }
    }
}

/* ---- Templates ------------------------------------------------------------------------------- */

static slm_chat_template *template_of(const char *text, size_t size)
{
    slm_chat_template *t = NULL;
    slm_error err;
    slm_chat_template_options options;
    slm_chat_template_options_init(&options, sizeof options);
    options.bos_token = "<s>";
    options.eos_token = "</s>";
    if (slm_chat_template_create(&t, NULL, text, size, &options, &err) != SLM_OK) {
        fail_msg("%s", err.message);
    }
    return t;
}

static void assert_style(const char *name, const char *text, size_t size, const char *reasoning,
                         const char *calls, int is_open)
{
    slm_chat_template *t = template_of(text, size);
    slm_chat_output *o = NULL;
    slm_error err;
    slm_chat_output_info info = {.struct_size = sizeof info};
    assert_int_equal(slm_chat_output_create(&o, t, NULL, &err), SLM_OK);
    assert_int_equal(slm_chat_output_get_info(o, &info, &err), SLM_OK);
    print_message("%-40.40s %-8s %-12s%s\n", name, info.reasoning, info.tool_calls,
                  info.kind == SLM_CHAT_REASONING ? " open" : "");
    if (reasoning != NULL) {
        assert_string_equal(info.reasoning, reasoning);
        assert_string_equal(info.tool_calls, calls);
        assert_int_equal(info.kind == SLM_CHAT_REASONING, is_open);
    }
    slm_chat_output_free(o);
    slm_chat_template_free(t);
}

/* Phi-4-mini's is not among the published ones here: its form. */
static const char phi4[] =
    "{% for m in messages %}{% if m['role'] == 'system' and 'tools' in m and m['tools'] is not "
    "none "
    "%}{{ '<|' + m['role'] + '|>' + m['content'] + '<|tool|>' + m['tools'] + '<|/tool|>' + "
    "'<|end|>' }}{% else %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

static const char qwen3[] =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.reasoning_content %}"
    "{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ '\n<tool_call>\n{\"name\": \"' + c.function.name + '\", "
    "\"arguments\": ' }}{{ c.function.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}"
    "{% elif enable_thinking is defined %}{{ '<think>\n' }}{% endif %}{% endif %}";

/* Tools under another name, as SmolLM3 takes them; and a syntax about the tag of hermes that is not
 * that of hermes. */
static const char xml_tools[] = "{% if xml_tools %}Calls: <tool_call>\n{\"name\": <name>, "
                                "\"arguments\": <object>}\n</tool_call>"
                                "{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}";
static const char other_tags[] =
    "{% if tools %}Calls: <tool_call>NAME: VALUE</tool_call>{% endif %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}";

static void small_templates_have_their_styles(void **state)
{
    (void)state;
    assert_style("xml_tools", xml_tools, sizeof xml_tools - 1, "", "hermes", 0);
    assert_style("other tags", other_tags, sizeof other_tags - 1, "", "", 0);
    assert_style("phi4", phi4, sizeof phi4 - 1, "", "phi4", 0);
    assert_style("qwen3", qwen3, sizeof qwen3 - 1, "think", "hermes", 0);
    for (int32_t i = 0;; i++) {
        slm_chat_builtin b = {.struct_size = sizeof b};
        if (slm_chat_builtin_find(i, NULL, &b, NULL) != SLM_OK) {
            break;
        }
        assert_style(b.name, b.text, b.size, "", "", 0);
    }
}

static void the_prompt_says_whether_reasoning_is_open(void **state)
{
    static const char typed[] = "[{\"role\": \"user\", \"content\": \"<think>\"}]";
    slm_chat_template *t = template_of(qwen3, sizeof qwen3 - 1);
    slm_chat_output *o = NULL;
    slm_error err;
    (void)state;
    assert_int_equal(slm_chat_output_create(&o, t, NULL, &err), SLM_OK);
    for (int32_t thinking = SLM_AUTO; thinking <= 1; thinking++) {
        slm_chat_prompt *p = NULL;
        slm_chat_options options;
        slm_chat_output_info info = {.struct_size = sizeof info};
        slm_chat_options_init(&options, sizeof options);
        options.enable_thinking = thinking;
        assert_int_equal(slm_chat_render(&p, t, typed, sizeof typed - 1, &options, &err), SLM_OK);
        assert_int_equal(slm_chat_output_begin(o, p, &err), SLM_OK);
        assert_int_equal(slm_chat_output_get_info(o, &info, &err), SLM_OK);
        assert_int_equal(info.kind, thinking == 1 ? SLM_CHAT_REASONING : SLM_CHAT_ANSWER);
        slm_chat_prompt_free(p);
    }
    slm_chat_output_free(o);
    slm_chat_template_free(t);
}

static void published_templates_have_their_styles(void **state)
{
    static const struct {
        const char *name, *reasoning, *calls;
        int is_open;
    } rows[] = {{"Qwen-Qwen3-0.6B", "think", "hermes", 0},
                {"Qwen-Qwen2.5-7B-Instruct", "", "hermes", 0},
                {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "", "hermes", 0},
                {"Qwen-QwQ-32B", "think", "hermes", 0},
                {"Qwen3.5-4B", "think", "qwen-tags", 1},
                {"Qwen3-Coder", "", "qwen-tags", 0},
                {"ByteDance-Seed-OSS", "seed", "seed", 0},
                {"meta-llama-Llama-3.1-8B-Instruct", "", "llama3", 0},
                {"meta-llama-Llama-3.2-3B-Instruct", "", "llama3", 0},
                {"google-gemma-2-2b-it", "", "", 0},
                {"google-gemma-4-31B-it", "gemma4", "gemma4", 0},
                {"ibm-granite-granite-3.3-2B-Instruct", "granite", "granite", 0},
                {"ibm-granite-granite-4.0", "", "hermes", 0},
                {"mistralai-Mistral-Nemo-Instruct-2407", "", "mistral", 0},
                {"Mistral-Small-3.2-24B-Instruct-2506", "", "mistral", 0},
                {"mistralai-Ministral-3-14B-Reasoning-2512", "mistral", "mistral", 0},
                {"deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "think", "deepseek-r1", 1},
                {"deepseek-ai-DeepSeek-V3.1", "think", "deepseek-v3", 0},
                {"deepseek-ai-DeepSeek-V3.2", "think", "dsml", 0},
                {"openai-gpt-oss-120b", "harmony", "harmony", 0},
                {"GLM-4.6", "think", "glm", 0},
                {"LFM2.5-8B-A1B", "think", "lfm2", 0},
                {"HuggingFaceTB-SmolLM3-3B", "think", "", 0},
                {"openbmb-MiniCPM5-1B", "think", "minicpm", 0},
                {"moonshotai-Kimi-K2", "", "kimi", 0},
                {"Kimi-K2-Thinking", "think", "kimi", 0},
                {"Kimi-K3", "kimi-k3", "kimi-k3", 1},
                {"tencent-Hy3", "hy", "hy", 0},
                {"GigaChat3-10B-A1.8B", "", "gigachat3", 0},
                {"fireworks-ai-llama-3-firefunction-v2", "", "functools", 0},
                {"CohereForAI-c4ai-command-r-plus-tool_use", "", "command-r", 0},
                {"muse-glimmer", "", "atem", 0},
                {"Kimi-K2-Instruct", "", "kimi", 0},
                {"MiniMax-M3", "minimax", "", 0},
                {"LFM2.5-Instruct", "", "", 0},
                {"meetkai-functionary-medium-v3.2", "", "", 0}};
    (void)state;
    DIR *folder = opendir(SHARED);
    if (folder == NULL) {
        printf("skipped: %s is not here\n", SHARED);
        skip();
    }
    int found = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[512];
        size_t size = 0;
        const char *end = strstr(entry->d_name, ".jinja");
        snprintf(path, sizeof path, SHARED "%s", entry->d_name);
        char *text = end != NULL ? testing_read(path, &size) : NULL;
        int32_t i = 0;
        while (text != NULL && i < SLM_COUNT(rows) &&
               (strncmp(entry->d_name, rows[i].name, strlen(rows[i].name)) != 0 ||
                rows[i].name + strlen(rows[i].name) != rows[i].name + (end - entry->d_name))) {
            i++;
        }
        if (text != NULL && i < SLM_COUNT(rows)) {
            assert_style(entry->d_name, text, size, rows[i].reasoning, rows[i].calls,
                         rows[i].is_open);
            found++;
        } else if (text != NULL) {
            assert_style(entry->d_name, text, size, NULL, NULL, 0);
        }
        free(text);
    }
    closedir(folder);
    assert_int_equal(found, SLM_COUNT(rows));
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static int with_memory(struct counting *c, slm_error *err)
{
    static const char text[] = "<think>a</think>b<tool_call>{\"name\": \"f\", \"arguments\": "
                               "{\"s\": \"0123456789012345678901234567890123456789\"}}</tool_call>";
    slm_chat_template *t = NULL;
    slm_chat_output *o = NULL;
    struct log l;
    slm_chat_template_options to;
    slm_chat_output_options oo;
    memset(&l, 0, sizeof l);
    slm_chat_template_options_init(&to, sizeof to);
    slm_chat_output_options_init(&oo, sizeof oo);
    to.alloc = oo.alloc = counting_alloc;
    to.alloc_user = oo.alloc_user = c;
    oo.tools = TOOLS;
    oo.tools_size = strlen(TOOLS);
    int status = slm_chat_template_create(&t, NULL, qwen3, sizeof qwen3 - 1, &to, err);
    if (status == SLM_OK) {
        status = slm_chat_output_create(&o, t, &oo, err);
    }
    if (status == SLM_OK) {
        status = slm_chat_output_push(o, SLM_PIECE_TEXT, text, sizeof text - 1, err);
    }
    if (status == SLM_OK) {
        int first = drain(o, &l, err);
        /* A try that failed is taken up again. */
        status = first == SLM_OK ? first : drain(o, &l, NULL) == SLM_OK ? first : -99;
        assert_string_equal(l.text,
                            "R(a)A(b)C0(|f|{\"s\": \"0123456789012345678901234567890123456789\"})");
    }
    slm_chat_output_free(o);
    slm_chat_template_free(t);
    return status;
}

static void a_wrong_struct_size_takes_no_event(void **state)
{
    slm_chat_output *o = output_of("", "", NULL);
    slm_chat_event e = {.struct_size = 0};
    slm_error err;
    (void)state;
    assert_int_equal(slm_chat_output_push(o, SLM_PIECE_TEXT, "abc", 3, &err), SLM_OK);
    assert_int_equal(slm_chat_output_next(o, &e, &err), SLM_E_ARGUMENT);
    e.struct_size = sizeof e;
    assert_int_equal(slm_chat_output_next(o, &e, &err), SLM_OK);
    assert_int_equal(e.kind, SLM_CHAT_ANSWER);
    assert_int_equal(e.size, 3);
    slm_chat_output_free(o);
}

static void every_allocation_that_fails_is_a_status(void **state)
{
    int status = SLM_E_MEMORY;
    int64_t at = 0;
    (void)state;
    for (at = 1; status != SLM_OK; at++) {
        struct counting c;
        slm_error err;
        memset(&c, 0, sizeof c);
        memset(&err, 0, sizeof err);
        c.fail_at = at;
        status = with_memory(&c, &err);
        assert_true(status == SLM_OK || (status == SLM_E_MEMORY && err.code == SLM_E_MEMORY));
        assert_int_equal(c.n_blocks, 0);
    }
    print_message("%lld points of failure\n", (long long)at - 2);
    assert_true(at > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_style_is_read),
        cmocka_unit_test(what_is_no_call_comes_back_as_text),
        cmocka_unit_test(text_is_not_kept_longer_than_it_must),
        cmocka_unit_test(control_tokens_are_delimiters_or_nothing),
        cmocka_unit_test(a_long_call_is_text),
        cmocka_unit_test(no_delimiter_begins_another),
        cmocka_unit_test(small_templates_have_their_styles),
        cmocka_unit_test(the_prompt_says_whether_reasoning_is_open),
        cmocka_unit_test(published_templates_have_their_styles),
        cmocka_unit_test(a_wrong_struct_size_takes_no_event),
        cmocka_unit_test(every_allocation_that_fails_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
