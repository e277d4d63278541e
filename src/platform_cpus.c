/* platform_cpus.c - two numbers: the CPUs that this process may use at once, by its affinity mask
 * and the quota of its control groups; and how many of them are worth a thread by default. Siblings
 * of one core share its arithmetic, and a region waits for its slowest part: one thread a core, fast
 * cores only.
 *
 * Files of the system are read as if they came from a stranger: into buffers of fixed size, numbers
 * saturate, what cannot be understood counts as not there. */

#if !defined(SLM_NO_THREADS)

#define PLATFORM_CPUS 8192 /* the most a Linux kernel is built for */

/* A set of CPUs: bit c % 64 of word c / 64 is CPU c. The layout of cpu_set_t where it is used. */
struct platform_cpus {
    uint64_t words[PLATFORM_CPUS / 64];
};

static SLM_UNUSED int platform_cpus_has(const struct platform_cpus *set, int32_t cpu)
{
    return (int)(set->words[cpu / 64] >> (cpu % 64) & 1);
}

static SLM_UNUSED int32_t platform_cpus_count(const struct platform_cpus *set)
{
    int32_t n = 0;
    for (int32_t i = 0; i < SLM_COUNT(set->words); i++) {
        for (uint64_t bits = set->words[i]; bits != 0; bits &= bits - 1) {
            n++;
        }
    }
    return n;
}

/* Takes out what `others` does not have; nothing, if that would be all. */
static SLM_UNUSED void platform_cpus_prefer(struct platform_cpus *set,
                                            const struct platform_cpus *others)
{
    uint64_t left = 0;
    for (int32_t i = 0; i < SLM_COUNT(set->words); i++) {
        left |= set->words[i] & others->words[i];
    }
    for (int32_t i = 0; left != 0 && i < SLM_COUNT(set->words); i++) {
        set->words[i] &= others->words[i];
    }
}

#endif

#if defined(PLATFORM_LINUX) && !defined(SLM_NO_THREADS) && !defined(SLM_NO_FILES)

/* Where a limit on CPU time may stand. A group's limit holds for all groups below it. */
static const struct platform_quota_source {
    const char *controller; /* as in /proc/self/cgroup; "" is version 2 */
    const char *mount;
    const char *quota;  /* us per period, or "max" or -1 */
    const char *period; /* NULL: the second number of quota */
} platform_quota_sources[] = {
    {"", "/sys/fs/cgroup", "cpu.max", NULL},
    {"", "/sys/fs/cgroup/unified", "cpu.max", NULL},
    {"cpu", "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "cpu.cfs_period_us"},
    {"cpu", "/sys/fs/cgroup/cpu,cpuacct", "cpu.cfs_quota_us", "cpu.cfs_period_us"},
};

/* Where the speed of a CPU may stand, and what share of the fastest one's makes it a fast one. The
 * small cores of phones and boards have 13 to 53 % of the capacity and 60 to 75 % of the clock; the
 * big ones, which differ among themselves, have more. The clock says that of Arm cores only: the
 * slower cores of x86 are told apart by /sys/devices/cpu_core, or are as good clock for clock. */
static const struct platform_speed_source {
    const char *file;
    int32_t least_percent;
} platform_speed_sources[] = {
    {"cpu_capacity", 60},
#if !defined(__x86_64__) && !defined(__i386__)
    {"cpufreq/cpuinfo_max_freq", 80},
#endif
};

/* The beginning of a small file as text; empty if it cannot be read. */
static struct text platform_read_text(const char *path, char *buffer, size_t capacity)
{
    struct platform_file f;
    struct text text = {buffer, 0};
    int code = 0;
    memset(&f, 0, sizeof f);
    int fd = platform_open_read_only(path);
    if (fd < 0) {
        return text;
    }
    f.descriptor_plus_1 = fd + 1;
    while (text.n < capacity) {
        int64_t n = platform_read_some(&f, text.n, buffer + text.n, capacity - text.n, &code);
        if (n <= 0) {
            break;
        }
        text.n += (size_t)n;
    }
    platform_file_close(&f);
    return text;
}

/* Takes a number and one character behind it; 0 if there is none. */
static int64_t platform_take_number(struct text *t)
{
    int64_t value = 0;
    while (t->n > 0 && t->s[0] >= '0' && t->s[0] <= '9') {
        value = min_i64(value * 10 + (t->s[0] - '0'), INT64_C(1) << 50);
        t->s++;
        t->n--;
    }
    if (t->n > 0) {
        t->s++;
        t->n--;
    }
    return value;
}

/* Cuts off what stands before the next `end` or the end of the text. */
static struct text platform_take_field(struct text *t, char end)
{
    struct text field = {t->s, 0};
    while (field.n < t->n && t->s[field.n] != end) {
        field.n++;
    }
    size_t taken = field.n < t->n ? field.n + 1 : field.n;
    t->s += taken;
    t->n -= taken;
    return field;
}

/* ---- The quota of control groups ------------------------------------------------------------- */

/* CPUs that one group may use, rounded up; INT32_MAX without a limit. */
static int32_t SLM_NOINLINE platform_group_cpus(const struct platform_quota_source *source,
                                                struct text group)
{
    char path[768];
    char numbers[64];
    format_text(path, sizeof path, "%s%.*s/%s", source->mount, (int)group.n, group.s,
                source->quota);
    struct text text = platform_read_text(path, numbers, sizeof numbers);
    int64_t quota = platform_take_number(&text);
    if (source->period != NULL && quota > 0) {
        format_text(path, sizeof path, "%s%.*s/%s", source->mount, (int)group.n, group.s,
                    source->period);
        text = platform_read_text(path, numbers, sizeof numbers);
    }
    int64_t period = platform_take_number(&text);
    if (quota <= 0 || period <= 0) {
        return INT32_MAX;
    }
    return (int32_t)min_i64((quota + period - 1) / period, INT32_MAX);
}

/* The smallest limit of a group and all above it. A container often sees a path of the host that
 * does not exist inside: the walk up then ends at the container's own root. */
static int32_t platform_group_chain_cpus(const struct platform_quota_source *source,
                                         struct text group)
{
    int32_t cpus = INT32_MAX;
    while (group.n > 0) {
        while (group.n > 0 && group.s[group.n - 1] == '/') {
            group.n--;
        }
        if (group.n < 512) { /* a longer path would be cut short; those above it still count */
            cpus = min_i32(cpus, platform_group_cpus(source, group));
        }
        while (group.n > 0 && group.s[group.n - 1] != '/') {
            group.n--;
        }
    }
    return cpus;
}

/* 1 if `name` is one of the comma-separated names; the empty list has the empty name. */
static int platform_list_has(struct text list, const char *name)
{
    for (;;) {
        size_t before = list.n;
        struct text item = platform_take_field(&list, ',');
        if (text_is(item, name)) {
            return 1;
        }
        if (item.n == before) {
            return 0;
        }
    }
}

/* The smallest limit that /proc/self/cgroup leads to. Its lines are "number:controllers:group". */
static int32_t platform_quota_of(struct text text)
{
    int32_t cpus = INT32_MAX;
    while (text.n > 0) {
        struct text line = platform_take_field(&text, '\n');
        platform_take_field(&line, ':');
        struct text controllers = platform_take_field(&line, ':');
        for (int32_t i = 0; i < SLM_COUNT(platform_quota_sources); i++) {
            const struct platform_quota_source *source = &platform_quota_sources[i];
            if (platform_list_has(controllers, source->controller)) {
                cpus = min_i32(cpus, platform_group_chain_cpus(source, line));
            }
        }
    }
    return cpus;
}

static int32_t SLM_NOINLINE platform_quota_cpus(void)
{
    char buffer[3072];
    return platform_quota_of(platform_read_text("/proc/self/cgroup", buffer, sizeof buffer));
}

/* ---- Cores ----------------------------------------------------------------------------------- */

/* The set that a list like "0-3,8\n" names, up to the first item that is none. */
static void platform_parse_cpus(struct text list, struct platform_cpus *set)
{
    memset(set, 0, sizeof *set);
    while (list.n > 0 && list.s[0] >= '0' && list.s[0] <= '9') {
        struct text item = platform_take_field(&list, ',');
        struct text low = platform_take_field(&item, '-');
        int64_t first = platform_take_number(&low);
        int64_t last = item.n > 0 ? platform_take_number(&item) : first;
        for (int64_t cpu = first; cpu <= last && cpu < PLATFORM_CPUS; cpu++) {
            set->words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
        }
    }
}

/* Empty if there is no such file. */
static void SLM_NOINLINE platform_read_cpus(const char *path, struct platform_cpus *set)
{
    char buffer[512];
    struct text list = platform_read_text(path, buffer, sizeof buffer);
    if (list.n == sizeof buffer) { /* the end was cut off, maybe within a number */
        while (list.n > 0 && list.s[list.n - 1] != ',') {
            list.n--;
        }
    }
    platform_parse_cpus(list, set);
}

/* 0 if there is no such file. */
static int64_t SLM_NOINLINE platform_cpu_number(int32_t cpu, const char *file)
{
    char path[128];
    char number[32];
    format_text(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, file);
    struct text text = platform_read_text(path, number, sizeof number);
    return platform_take_number(&text);
}

/* Leaves the fast ones, if the file tells the speed of all and it differs. */
static void SLM_NOINLINE platform_keep_fast(const struct platform_speed_source *source,
                                            struct platform_cpus *set)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (int32_t cpu = 0; cpu < PLATFORM_CPUS && least > 0; cpu++) {
        if (platform_cpus_has(set, cpu)) {
            int64_t speed = platform_cpu_number(cpu, source->file);
            least = min_i64(least, speed);
            most = speed > most ? speed : most;
        }
    }
    if (least <= 0 || least * 100 >= most * source->least_percent) {
        return;
    }
    for (int32_t cpu = 0; cpu < PLATFORM_CPUS; cpu++) {
        if (platform_cpus_has(set, cpu) &&
            platform_cpu_number(cpu, source->file) * 100 < most * source->least_percent) {
            set->words[cpu / 64] &= ~(UINT64_C(1) << (cpu % 64));
        }
    }
}

/* The first file is the newer name of the second. A CPU of which neither tells is a core. */
static void SLM_NOINLINE platform_siblings(int32_t cpu, struct platform_cpus *siblings)
{
    static const char *const files[] = {"core_cpus_list", "thread_siblings_list"};
    char path[128];
    memset(siblings, 0, sizeof *siblings);
    for (int32_t i = 0; i < SLM_COUNT(files) && !platform_cpus_has(siblings, cpu); i++) {
        format_text(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, files[i]);
        platform_read_cpus(path, siblings);
    }
}

/* Cores that the set has a part in. It is used up. */
static int32_t platform_count_cores(struct platform_cpus *set)
{
    struct platform_cpus siblings;
    int32_t cores = 0;
    for (int32_t cpu = 0; cpu < PLATFORM_CPUS; cpu++) {
        if (platform_cpus_has(set, cpu)) {
            cores++;
            platform_siblings(cpu, &siblings);
            for (int32_t i = 0; i < SLM_COUNT(set->words); i++) {
                set->words[i] &= ~siblings.words[i];
            }
        }
    }
    return cores;
}

/* Intel's hybrids list their performance cores: set is left with those of it. */
static void SLM_NOINLINE platform_keep_performance(struct platform_cpus *set)
{
    struct platform_cpus performance;
    platform_read_cpus("/sys/devices/cpu_core/cpus", &performance);
    platform_cpus_prefer(set, &performance);
}

#endif

#if !defined(SLM_NO_THREADS)

#if defined(PLATFORM_LINUX)
extern int platform_os_sched_getaffinity(int pid, size_t size, void *mask)
    PLATFORM_SYMBOL("sched_getaffinity");

static void platform_affinity(struct platform_cpus *set)
{
    memset(set, 0, sizeof *set);
    if (platform_os_sched_getaffinity(0, sizeof *set, set) < 0) {
        memset(set, 0, sizeof *set);
    }
#if !defined(__LP64__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    /* The system's words are longs. */
    for (int32_t i = 0; i < SLM_COUNT(set->words); i++) {
        set->words[i] = set->words[i] << 32 | set->words[i] >> 32;
    }
#endif
}

static int32_t SLM_NOINLINE platform_affinity_cpus(void)
{
    struct platform_cpus set;
    platform_affinity(&set);
    return platform_cpus_count(&set);
}

static int32_t SLM_NOINLINE platform_affinity_cores(void)
{
    struct platform_cpus set;
    platform_affinity(&set);
#if defined(SLM_NO_FILES)
    return platform_cpus_count(&set);
#else
    platform_keep_performance(&set);
    for (int32_t i = 0; i < SLM_COUNT(platform_speed_sources); i++) {
        platform_keep_fast(&platform_speed_sources[i], &set);
    }
    return platform_count_cores(&set);
#endif
}

#elif defined(PLATFORM_WINDOWS)

static int32_t platform_affinity_cpus(void)
{
    DWORD_PTR process = 0;
    DWORD_PTR system = 0;
    int32_t cpus = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &system)) {
        for (; process != 0; process &= process - 1) {
            cpus++;
        }
    }
    return cpus;
}

/* Cores of this process's group of 64 CPUs, the most there is room for; all entries have the same
 * size. 0 where that is not known. */
static int32_t SLM_NOINLINE platform_affinity_cores(void)
{
    union {
        SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX entry; /* for its alignment */
        uint8_t bytes[3072];
    } buffer;
    DWORD size = sizeof buffer;
    DWORD_PTR process = 0;
    DWORD_PTR system = 0;
    PROCESSOR_NUMBER here;
    int32_t best = -1;
    int32_t cores = 0;
    GetCurrentProcessorNumberEx(&here);
    if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system) ||
        !GetLogicalProcessorInformationEx(RelationProcessorCore, &buffer.entry, &size)) {
        return 0;
    }
    for (DWORD at = 0; at + sizeof buffer.entry.Processor <= size;) {
        const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *e =
            (const SYSTEM_LOGICAL_PROCESSOR_INFORMATION_EX *)(const void *)(buffer.bytes + at);
        const GROUP_AFFINITY *group = &e->Processor.GroupMask[0];
        /* EfficiencyClass, the higher the faster; older headers have no name for it. */
        int32_t rank = ((const uint8_t *)&e->Processor)[1];
        if (e->Size == 0) {
            break;
        }
        at += e->Size;
        if (group->Group == here.Group && (group->Mask & process) != 0) {
            cores = rank > best ? 1 : cores + (rank == best);
            best = max_i32(rank, best);
        }
    }
    return cores;
}

#else

extern int platform_os_sysctlbyname(const char *name, void *value, size_t *size, void *new_value,
                                    size_t new_size) PLATFORM_SYMBOL("sysctlbyname");

/* 0 if there is no such value. */
static int32_t platform_sysctl(const char *name)
{
    int32_t value = 0;
    size_t size = sizeof value;
    return platform_os_sysctlbyname(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

static int32_t platform_affinity_cpus(void)
{
    return platform_sysctl("hw.logicalcpu");
}

/* Level 0 are the performance cores, where there are two kinds. */
static int32_t platform_affinity_cores(void)
{
    int32_t cores = platform_sysctl("hw.perflevel0.physicalcpu");
    return cores > 0 ? cores : platform_sysctl("hw.physicalcpu");
}

#endif

static int32_t platform_quota(int32_t cpus)
{
#if defined(PLATFORM_LINUX) && !defined(SLM_NO_FILES)
    cpus = min_i32(cpus, platform_quota_cpus());
#endif
    return max_i32(cpus, 1);
}

/* CPUs that this process may use at once, at least 1. */
static int32_t platform_cpu_count(void)
{
    return platform_quota(platform_affinity_cpus());
}

/* Cores of them that are worth a thread, at least 1. */
static int32_t platform_core_count(void)
{
    int32_t cores = platform_affinity_cores();
    return platform_quota(cores > 0 ? cores : platform_affinity_cpus());
}

#endif
