# layout.awk - what the program of tests/abi.awk prints, as plain words for the bindings' tests:
#
#     const SLM_E_FORMAT -4
#     opaque slm_model
#     struct slm_span 32                                            bytes
#     field slm_span.tokens 16 8 const_int32_t*                     offset, bytes, type
#     function slm_logits 4 int const_slm_context* int32_t ...      parameters, result, their types
#     callback slm_progress_fn 3 int32_t void* uint64_t uint64_t    the same
#
# A type has no blanks inside: "_" stands between words, and arrays are int64_t[4].

# The type of "const int32_t *tokens"; that of "char message[240]" keeps its [240].
function type_of(declaration,    bounds) {
    bounds = declaration
    if (!sub(/^[^[]*/, "", bounds)) {
        bounds = ""
    }
    sub(/ ?\[.*/, "", declaration)
    if (declaration ~ /[ *][a-z_0-9]+$/) {
        sub(/[a-z_0-9]+$/, "", declaration)
    }
    gsub(/ *\* */, "*", declaration)
    sub(/ +$/, "", declaration)
    gsub(/ +/, "_", declaration)
    return declaration bounds
}

# "int slm_x(A a, B b)" or "int32_t (*slm_y)(A a)" as a line.
function say(kind, declaration,    at, result, name, parameters, list, n, i, line) {
    at = match(declaration, "[(][*]slm_[a-z0-9_]+[)][(]|slm_[a-z0-9_]+[(]")
    result = substr(declaration, 1, at - 1)
    name = substr(declaration, at, RLENGTH)
    gsub(/[(*)]/, "", name)
    parameters = substr(declaration, at + RLENGTH)
    sub(/\)$/, "", parameters)
    n = parameters == "void" ? 0 : split(parameters, list, /, */)
    line = kind " " name " " n " " type_of(result "x")
    for (i = 1; i <= n; i++) {
        line = line " " type_of(list[i])
    }
    print line
}

{
    text = $0
    sub(/^[a-z]+ /, "", text)
}
/^constant / {
    sub(/:$/, "", $2)
    print "const", $2, $3
}
/^opaque / {
    print
}
/^struct / {
    sub(/:$/, "", $2)
    print "struct", $2, $3
}
/^field / {
    declaration = text
    sub(/^[^:]*:[^:]*: /, "", declaration)
    sub(/:$/, "", $2)
    sub(/,$/, "", $4)
    print "field", $2, $4, $5, type_of(declaration)
}
/^(function|callback) / {
    say($1, text)
}
