"""Talks with a program on a terminal of its own.

usage: pty_talk.py [NAME=VALUE ...] PROGRAM WORDS... < script > what the terminal shows

A line of the script is what to wait for, a tab, and what to type then, with Python's escapes; behind
the last one the end of the output is waited for. Exits as the program does, or 99 after 60 seconds.
"""
import os, pty, select, sys, time


def wait_for(terminal, wanted, shown, deadline):
    """Reads until `wanted` has come (None: until the end); returns what came behind it."""
    while wanted is None or wanted not in shown:
        if time.time() > deadline:
            sys.stdout.buffer.write(b"\n[waited in vain for %r in %r]\n" % (wanted, shown[-400:]))
            sys.exit(99)
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            data = b""
        if not data:
            if wanted is not None:
                sys.stdout.buffer.write(b"\n[the end came before %r]\n" % wanted)
                sys.exit(99)
            return b""
        sys.stdout.buffer.write(data)
        shown += data
    return shown[shown.index(wanted) + len(wanted):]


def unescape(text):
    return text.encode().decode("unicode_escape").encode("latin-1")


def main():
    words = sys.argv[1:]
    script = [line.rstrip("\n").split("\t") for line in sys.stdin if line.strip()]
    while words and "=" in words[0] and "/" not in words[0].split("=")[0]:
        name, value = words.pop(0).split("=", 1)
        os.environ[name] = value
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(words[0], words)
    deadline = time.time() + 60
    shown = b""
    for wanted, typed in script:
        shown = wait_for(terminal, unescape(wanted), shown, deadline)
        os.write(terminal, unescape(typed))
    wait_for(terminal, None, shown, deadline)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


main()
