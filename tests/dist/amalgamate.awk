# amalgamate.awk - writes slm.c with every #include "..." of ours expanded, each part between
# `Begin file` and `End of` markers.
#
#     awk -f tests/dist/amalgamate.awk slm.c                  the slm.c that goes with slm.h
#     awk -v single=1 -f tests/dist/amalgamate.awk slm.c      slm_single.h: the header, and behind
#                                                             #ifdef SLM_IMPLEMENTATION the rest
#
# Names are looked up beside the including file, then from the working directory. In slm_single.h the
# macros of the implementation are undefined at its end: it shares a file with somebody's program.

function fail(text)
{
    print "amalgamate: " text > "/dev/stderr"
    failed = 1
    exit 1
}

function folder(path)
{
    return path ~ /\// ? substr(path, 1, match(path, /[^\/]*$/) - 1) : ""
}

function exists(path,    line, got)
{
    got = (getline line < path)
    close(path)
    return got >= 0
}

function find(name, from)
{
    if (exists(folder(from) name)) {
        return folder(from) name
    }
    return name
}

# Macros are remembered in the order of their first definition.
function note_define(line,    name)
{
    sub(/^[ \t]*#[ \t]*define[ \t]+/, "", line)
    match(line, /^[A-Za-z_0-9]+/)
    name = substr(line, 1, RLENGTH)
    if (in_header) {
        is_public[name] = 1
    } else if (!(name in is_public) && !(name in seen)) {
        seen[name] = 1
        macros[n_macros++] = name
    }
}

# Local variables stand behind the gap: awk has no other kind.
function expand(path,    line, name, parts, got)
{
    while ((got = (getline line < path)) > 0) {
        if (line ~ /^[ \t]*#[ \t]*include[ \t]*"/) {
            split(line, parts, "\"")
            name = find(parts[2], path)
            if (name == "slm.h") {
                if (!single) {
                    print line
                }
                continue
            }
            print "/**** Begin file " name " ****/"
            expand(name)
            print "/**** End of " name " ****/"
            continue
        }
        if (line ~ /^[ \t]*#[ \t]*define[ \t]/) {
            note_define(line)
        }
        print line
    }
    if (got < 0) {
        fail("cannot read " path)
    }
    close(path)
}

BEGIN {
    root = ARGV[1]
    if (single) {
        print "/* slm in one header. In one C or C++ file of a program:"
        print " *"
        print " *     #define SLM_IMPLEMENTATION"
        print " *     #include \"slm_single.h\""
        print " *"
        print " * and everywhere else the #include alone. Link with -pthread. */"
        in_header = 1
        print "/**** Begin file slm.h ****/"
        expand("slm.h")
        print "/**** End of slm.h ****/"
        in_header = 0
        print ""
        print "#if defined(SLM_IMPLEMENTATION) && !defined(SLM_IMPLEMENTED)"
        print "#define SLM_IMPLEMENTED"
    }
    print "/**** Begin file " root " ****/"
    expand(root)
    print "/**** End of " root " ****/"
    if (single) {
        print ""
        for (i = 0; i < n_macros; i++) {
            print "#undef " macros[i]
        }
        print "#endif /* SLM_IMPLEMENTATION */"
    }
    exit failed
}
