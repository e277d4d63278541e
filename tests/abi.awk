# abi.awk - reads slm.h and writes a C program that prints what a compiled caller relies on: the
# functions and callbacks with their types, the size of every struct with offset, size and type of
# its fields, and the value of every constant.
#
#     awk -f tests/abi.awk slm.h > abi.c
#
# Nothing is listed by hand. What is found in the header but not understood is an error, so that a
# new kind of declaration cannot go unseen. Constants are the macros outside of inner #if blocks; the
# version is left out, as it changes with every release and no caller depends on it.

function fail(text) {
    gsub(/[ \t]+/, " ", text)
    print "abi.awk: not understood: " text >"/dev/stderr"
    failed = 1
    exit 1
}

function squeeze(text) {
    gsub(/[ \t]+/, " ", text)
    sub(/^ /, "", text)
    sub(/ $/, "", text)
    return text
}

# A line of text, as it is, in the output of the program.
function say(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    gsub(/%/, "%%", text)
    printf "    printf(\"%s\\n\");\n", text
}

function directive(line) {
    if (line ~ /^# *if/) {
        depth++
    } else if (line ~ /^# *endif/) {
        depth--
    } else if (line ~ /^# *define/ && depth == 1) {
        sub(/^# *define +/, "", line)
        line = squeeze(line)
        if (line ~ /^[A-Za-z_0-9]+\(/) {
            macros[++n_macros] = line
        } else if (line ~ / / && line !~ /^SLM_VERSION/) {
            sub(/ .*/, "", line)
            constants[++n_constants] = line
        }
    } else if (line !~ /^# *(define|include|else|elif)/) {
        fail(line)
    }
}

function declare_struct(text,    name, body, fields, n, i, field) {
    name = body = text
    sub(/^typedef struct /, "", name)
    sub(/ .*/, "", name)
    sub(/^[^{]*\{/, "", body)
    if (body !~ "} ?" name "$") {
        fail(text)
    }
    sub(/\}[^}]*$/, "", body)
    if (body ~ /[{}(),:]/) {
        fail(text)
    }
    n = split(body, fields, ";") - 1
    printf "    printf(\"struct %s: %%zu bytes%s\\n\", sizeof(%s));\n", name,
        fields[1] ~ /uint32_t struct_size$/ ? ", may grow" : "", name
    for (i = 1; i <= n; i++) {
        field = squeeze(fields[i])
        sub(/ ?\[.*/, "", field)
        sub(/.*[ *]/, "", field)
        printf "    printf(\"field %s.%s: offset %%zu, %%zu bytes: %s\\n\", offsetof(%s, %s), " \
               "sizeof(((%s *)0)->%s));\n", name, field, squeeze(fields[i]), name, field, name, field
    }
    # A field put there later would stand where callers of today have bytes that nobody sets.
    printf "    _Static_assert(offsetof(%s, %s) + sizeof(((%s *)0)->%s) == sizeof(%s), " \
           "\"%s ends in padding: give it a reserved field\");\n", name, field, name, field, name, name
}

function declare(text) {
    if (text == "") {
        return
    }
    if (text ~ /^SLM_API [^{]*\)$/) {
        sub(/^SLM_API /, "", text)
        say("function " text)
    } else if (text ~ /^typedef struct slm_[a-z_]+ ?\{.*\} ?slm_[a-z_]+$/) {
        declare_struct(text)
    } else if (text ~ /^typedef struct slm_[a-z_]+ slm_[a-z_]+$/) {
        sub(/.* /, "", text)
        say("opaque " text)
    } else if (text ~ /^typedef [^{]*\(\*slm_[a-z_]+\)\([^{]*\)$/) {
        sub(/^typedef /, "", text)
        say("callback " text)
    } else {
        fail(text)
    }
}

{
    sub(/\r$/, "")
    text = text $0 "\n"
}

END {
    # Comments go, then lines that a backslash continues become one.
    while ((at = index(text, "/*")) > 0) {
        rest = substr(text, at + 2)
        clean = clean substr(text, 1, at - 1) " "
        text = substr(rest, index(rest, "*/") + 2)
    }
    clean = clean text
    gsub(/\\\n/, " ", clean)
    n_lines = split(clean, lines, "\n")
    for (i = 1; i <= n_lines; i++) {
        if (lines[i] ~ /^#/) {
            directive(lines[i])
        } else if (depth <= 1) {
            body = body " " lines[i]
        }
    }
    if (depth != 0) {
        fail("an #if without its #endif")
    }
    print "#include \"slm.h\"\n#include <stdio.h>\n"
    print "#define CONSTANT(x) \\"
    print "    ((x) < 1 ? printf(\"constant %s: %lld\\n\", #x, (long long)(x)) \\"
    print "             : printf(\"constant %s: %llu\\n\", #x, (unsigned long long)(x)))\n"
    print "int main(void)\n{"
    print "    if (sizeof(void *) != 8 || sizeof(long) != 8) {"
    print "        printf(\"skipped: the snapshot is of a machine with pointers and longs of 64 bits\\n\");"
    print "        return 77;\n    }"
    for (i = 1; i <= n_constants; i++) {
        printf "    CONSTANT(%s);\n", constants[i]
    }
    for (i = 1; i <= n_macros; i++) {
        say("macro " macros[i])
    }
    n = split(squeeze(body), parts, ";")
    statement = ""
    for (i = 1; i <= n; i++) {
        statement = statement (statement == "" ? "" : ";") parts[i]
        opened = gsub(/\{/, "{", statement)
        if (opened == gsub(/\}/, "}", statement)) {
            declare(squeeze(statement))
            statement = ""
        }
    }
    if (squeeze(statement) != "") {
        fail(statement)
    }
    print "    return 0;\n}"
}
