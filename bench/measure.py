"""What the scripts of this folder share: running the programs, and reading the CSV they print.

Every program is started behind the words of BENCH_WRAP, if that is set: "taskset -c 0,1", say, or a
script that keeps the machine quiet meanwhile.
"""

import csv
import glob
import os
import platform
import shlex
import subprocess
import sys

WRAP = shlex.split(os.environ.get("BENCH_WRAP", ""))


def give_up(why):
    sys.exit(os.path.basename(sys.argv[0]) + ": " + why)


def output_of(command, may_fail=False):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0 and not may_fail:
        give_up("%s: %s" % (shlex.join(command), done.stderr.strip()[-500:]))
    return done.stdout


def rows_of(*commands):
    """The rows of CSV of commands run one after the other, behind BENCH_WRAP once for all."""
    together = "set -e; " + "; ".join(shlex.join(c) + " 2>/dev/null" for c in commands)
    command = WRAP + (["sh", "-c", together] if len(commands) > 1 else list(commands[0]))
    rows, names = [], None
    for line in csv.reader(output_of(command).splitlines()):
        if names is None or (line and line[0] == names[0]):
            names = line
        else:
            rows.append(dict(zip(names, line)))
    return rows


def rows_in_batches(commands, most):
    """The rows of [(cost, command)], with commands of a cost of `most` behind one BENCH_WRAP."""
    rows, batch, costs = [], [], 0
    for cost, command in commands:
        if batch and costs + cost > most:
            rows += rows_of(*batch)
            batch, costs = [], 0
        batch.append(command)
        costs += cost
    return rows + (rows_of(*batch) if batch else [])


def read_anew(path):
    """A file that was just written lies in small pages of memory, and reading it is a fifth slower than
    when it came from the disk, as models do; so let it come from there."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 24):
            pass


def write_rows(folder, name, rows):
    if folder is None or not rows:
        return
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def peers():
    """The llama-bench programs of LLAMA_BENCH, which may name several: NAME=PATH, with spaces between."""
    named = [word.rpartition("=")[::2] for word in shlex.split(os.environ.get("LLAMA_BENCH", ""))]
    return {name or "llama-bench": path for name, path in named}


class Programs:
    """The programs of a build folder."""

    def __init__(self, build, threads):
        self.build, self.threads = build, str(threads)
        self.slm = os.path.join(build, "slm")
        self.shapes = output_of([self.slm, "bench", "--shape", "list"])

    def model(self, shape, encoding):
        """The file of a shape, made now unless it is there; None where slm knows no such shape."""
        known = self.shapes.split("\n")[0].split(":")[1].split(",")
        if shape not in [name.strip() for name in known]:
            return None
        words = [self.slm, "bench", "--shape", shape, "--type", encoding]
        output_of(words + ["-p", "1", "-n", "0", "-r", "1"])
        folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), "slm-bench-%d" % os.getuid())
        files = glob.glob(os.path.join(folder, "%s-%s-*.gguf" % (shape, encoding.lower())))
        file = max(files, key=os.path.getmtime)
        read_anew(file)
        return file

    def bench(self, file, prefill=0, decode=0, depth=0, repeat=1, isa=None):
        words = [self.slm, "bench", "-m", file, "-t", self.threads, "--csv", "-r", str(repeat)]
        words += ["-p", str(prefill), "-n", str(decode), "-d", str(depth)]
        return words + (["--isa", isa] if isa else [])

    def bare(self, file, passes=32):
        return [os.path.join(self.build, "bare"), "--csv", "-t", self.threads, "-r", str(passes), file]

    def roofline(self, *options):
        return [os.path.join(self.build, "roofline"), "--csv", *options, self.threads]

    def read_roof(self):
        """GB/s that all threads read."""
        rows = rows_of(self.roofline("--read"))
        return max(float(r["value"]) for r in rows if r["threads"] == self.threads)

    def kv_bytes(self, file):
        """Bytes of an f16 cache that a position takes."""
        keys = {}
        for line in output_of([self.slm, "info", "--metadata", "-m", file]).splitlines():
            words = line.split()
            for key in ("block_count", "head_count_kv", "key_length", "value_length"):
                if len(words) > 1 and words[0].endswith("." + key):
                    keys[key] = int(words[-1])
        return keys["block_count"] * keys["head_count_kv"] * 2 * (keys["key_length"] + keys["value_length"])


def machine(programs):
    """What the numbers are numbers of: rows of name, value."""
    facts = {}
    try:
        for line in open("/proc/cpuinfo", encoding="utf-8"):
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
        memory = "%.0f GiB" % (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    except OSError:
        memory = ""
    caches = [line.split(":")[1].strip() for line in output_of(["lscpu"], True).splitlines() if " cache:" in line]
    rows = {
        "cpu": facts.get("model name", platform.processor()),
        "cpu_family_model": "%s %s" % (facts.get("cpu family", ""), facts.get("model", "")),
        "cpus": str(os.cpu_count()),
        "threads": programs.threads,
        "virtual": "yes" if "hypervisor" in facts.get("flags", "") else "no",
        "caches": ", ".join(caches),
        "memory": memory,
        "system": platform.system() + " " + platform.release(),
        "compiler": output_of(["cc", "--version"], True).split("\n")[0],
        "commit": output_of(["git", "describe", "--always", "--dirty"], True).strip(),
        "date": output_of(["date", "-u", "+%Y-%m-%d"]).strip(),
    }
    return [{"name": name, "value": value} for name, value in rows.items()]
