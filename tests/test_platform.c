/* platform.c: files and their errors, short and failing reads, the count of CPUs. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- Hooks ----------------------------------------------------------------------------------- */

static struct {
    size_t most;         /* bytes a read gives at most; 0: no limit */
    int interrupt_every; /* every n-th read is EINTR; 0: none */
    int64_t fail_at;     /* EIO for reads at or beyond; -1: none */
    int64_t ends_at;     /* the file seems to end here; -1: where it does */
    int reads;
    int map_error;
    const char *root; /* stands before /proc and /sys; NULL: the real ones */
} hook;

static int hook_open(const char *path, int flags)
{
    char fake[1024];
    if (hook.root != NULL && (strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0)) {
        snprintf(fake, sizeof fake, "%s%s", hook.root, path);
        path = fake;
    }
    return open(path, flags);
}

static long hook_pread(int fd, void *buffer, size_t size, int64_t offset)
{
    hook.reads++;
    if (hook.interrupt_every != 0 && hook.reads % hook.interrupt_every == 0) {
        errno = EINTR;
        return -1;
    }
    if (hook.fail_at >= 0 && offset >= hook.fail_at) {
        errno = EIO;
        return -1;
    }
    if (hook.ends_at >= 0 && offset >= hook.ends_at) {
        return 0;
    }
    if (hook.most != 0 && size > hook.most) {
        size = hook.most;
    }
    return (long)pread(fd, buffer, size, (off_t)offset);
}

static void *hook_mmap(size_t size, int fd)
{
    if (hook.map_error != 0) {
        errno = hook.map_error;
        return MAP_FAILED;
    }
    return mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
}

#define PLATFORM_OPEN(path, flags) hook_open(path, flags)
#define PLATFORM_PREAD(fd, buffer, size, offset) hook_pread(fd, buffer, size, offset)
#define PLATFORM_MMAP(size, fd) hook_mmap(size, fd)
#include "../slm.c"

#include "testing.h"

#define FILE_BYTES 100000

static char directory[64];

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *path, const void *data, size_t size)
{
    assert_int_equal(testing_put(fopen(path, "wb"), data, size), 0);
}

static uint8_t byte_of(size_t i)
{
    return (uint8_t)(i * 31 + i / 256);
}

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/slm_platform_XXXXXX");
    if (mkdtemp(directory) == NULL) {
        return -1;
    }
    uint8_t *data = (uint8_t *)malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        data[i] = byte_of(i);
    }
    write_file(path_of("data"), data, FILE_BYTES);
    free(data);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static int reset_hook(void **state)
{
    (void)state;
    memset(&hook, 0, sizeof hook);
    hook.fail_at = -1;
    hook.ends_at = -1;
    return 0;
}

static int lowest_free_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY);
    close(fd);
    return fd;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static void expect_refused(const char *path, const char *part, const char *reason)
{
    struct platform_file f;
    slm_error err;
    int before = lowest_free_descriptor();
    memset(&err, 0xff, sizeof err);
    assert_int_equal(platform_file_open(&f, path, &err), SLM_E_IO);
    assert_int_equal(err.code, SLM_E_IO);
    assert_non_null(strstr(err.message, part));
    assert_non_null(strstr(err.message, reason));
    assert_int_equal(lowest_free_descriptor(), before);
    platform_file_close(&f); /* of a file that never opened: nothing */
    assert_int_equal(platform_file_open(&f, path, NULL), SLM_E_IO);
}

static void missing_file_names_path_and_reason(void **state)
{
    (void)state;
    expect_refused(path_of("missing.gguf"), "missing.gguf", "no such file");
    expect_refused("", "''", "no such file");
    expect_refused(path_of("data/below"), "data/below", "not a directory");
}

static void long_path_keeps_the_reason(void **state)
{
    (void)state;
    char path[600];
    memset(path, 'x', sizeof path);
    memcpy(path + sizeof path - 9, "/end.bin", 9);
    path[0] = '/';
    expect_refused(path, "end.bin", "too long");
}

static void directory_is_refused(void **state)
{
    (void)state;
    expect_refused(directory, directory, "directory");
}

static void pipe_is_refused_without_blocking(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    expect_refused(path_of("pipe"), "pipe", "not a regular file");
    expect_refused("/dev/null", "/dev/null", "not a regular file");
}

static void descriptor_is_closed_on_exec(void **state)
{
    (void)state;
    struct platform_file f;
    assert_int_equal(platform_file_open(&f, path_of("data"), NULL), SLM_OK);
    assert_true(fcntl(f.descriptor_plus_1 - 1, F_GETFD) & FD_CLOEXEC);
    platform_file_close(&f);
    platform_file_close(&f);
}

static void empty_file_opens_and_maps(void **state)
{
    (void)state;
    struct platform_file f;
    const uint8_t *data = NULL;
    slm_error err;
    write_file(path_of("empty"), "", 0);
    assert_int_equal(platform_file_open(&f, path_of("empty"), &err), SLM_OK);
    assert_int_equal(platform_file_size(&f), 0);
    assert_int_equal(platform_file_map(&f, &data, &err), SLM_OK);
    assert_non_null(data);
    uint8_t byte = 0;
    assert_int_equal(platform_file_read(&f, 0, &byte, 0, &err), SLM_OK);
    assert_int_equal(platform_file_read(&f, 0, &byte, 1, &err), SLM_E_IO);
    platform_file_unmap(&f);
    platform_file_close(&f);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void expect_bytes(uint64_t offset, size_t size)
{
    struct platform_file f;
    slm_error err;
    uint8_t *buffer = (uint8_t *)malloc(size + 1);
    buffer[size] = 0xa5;
    assert_int_equal(platform_file_open(&f, path_of("data"), &err), SLM_OK);
    assert_int_equal(platform_file_size(&f), FILE_BYTES);
    assert_int_equal(platform_file_read(&f, offset, buffer, size, &err), SLM_OK);
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(buffer[i], byte_of((size_t)offset + i));
    }
    assert_int_equal(buffer[size], 0xa5);
    platform_file_close(&f);
    free(buffer);
}

static void reads_are_exact_through_short_and_interrupted_reads(void **state)
{
    (void)state;
    expect_bytes(0, FILE_BYTES);
    expect_bytes(777, 3333);
    hook.most = 777;
    expect_bytes(0, FILE_BYTES);
    hook.interrupt_every = 2;
    hook.reads = 0;
    expect_bytes(5, FILE_BYTES - 5);
    assert_true(hook.reads >= 2 * (FILE_BYTES / 777));
}

static void expect_read_fails(uint64_t offset, size_t size, int64_t position, const char *text)
{
    struct platform_file f;
    slm_error err;
    static uint8_t buffer[FILE_BYTES];
    assert_int_equal(platform_file_open(&f, path_of("data"), &err), SLM_OK);
    assert_int_equal(platform_file_read(&f, offset, buffer, size, &err), SLM_E_IO);
    assert_int_equal(err.position, position);
    assert_non_null(strstr(err.message, text));
    platform_file_close(&f);
}

static void end_of_file_names_the_offset(void **state)
{
    (void)state;
    expect_read_fails(FILE_BYTES - 10, 11, FILE_BYTES, "ends at offset 100000: 1 more");
    expect_read_fails(FILE_BYTES + 5, 1, FILE_BYTES + 5, "offset 100005");
    expect_read_fails(UINT64_MAX - 3, 1, -1, "offset 18446744073709551612");
    expect_read_fails((uint64_t)INT64_MAX, 1, INT64_MAX, "offset 9223372036854775807");
    hook.ends_at = 4096; /* the file shrank after it was opened */
    hook.most = 4096;
    expect_read_fails(0, 8192, 4096, "offset 4096: 4096 more");
}

static void read_error_names_offset_and_reason(void **state)
{
    (void)state;
    hook.most = 1000;
    hook.fail_at = 3000;
    expect_read_fails(0, 5000, 3000, "input/output error");
    expect_read_fails(0, 5000, 3000, "offset 3000");
}

static void offsets_over_4_gib_work(void **state)
{
    (void)state;
    const uint64_t at = ((uint64_t)4 << 30) + 12345;
    uint8_t mark[4] = {1, 2, 3, 4};
    uint8_t got[4] = {0, 0, 0, 0};
    struct platform_file f;
    slm_error err;
    int fd = open(path_of("large"), O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    if (pwrite(fd, mark, 4, (off_t)at) != 4) {
        close(fd);
        print_message("skipped: no sparse file over 4 GiB here\n");
        skip();
    }
    close(fd);
    assert_int_equal(platform_file_open(&f, path_of("large"), &err), SLM_OK);
    assert_true(platform_file_size(&f) == at + 4);
    assert_int_equal(platform_file_read(&f, at, got, 4, &err), SLM_OK);
    assert_memory_equal(mark, got, 4);
    const uint8_t *data = NULL;
    if (sizeof(void *) == 4) {
        assert_int_equal(platform_file_map(&f, &data, &err), SLM_E_MEMORY);
        assert_non_null(strstr(err.message, "address space"));
    } else {
        assert_int_equal(platform_file_map(&f, &data, &err), SLM_OK);
        assert_memory_equal(data + at, mark, 4);
        platform_file_unmap(&f);
    }
    platform_file_close(&f);
    unlink(path_of("large"));
}

/* ---- Mapping --------------------------------------------------------------------------------- */

static void map_and_read_give_equal_bytes(void **state)
{
    (void)state;
    struct platform_file f;
    slm_error err;
    const uint8_t *data = NULL;
    static uint8_t buffer[FILE_BYTES];
    assert_int_equal(platform_file_open(&f, path_of("data"), &err), SLM_OK);
    assert_int_equal(platform_file_read(&f, 0, buffer, FILE_BYTES, &err), SLM_OK);
    assert_int_equal(platform_file_map(&f, &data, &err), SLM_OK);
    platform_file_close(&f); /* the map stays */
    assert_memory_equal(data, buffer, FILE_BYTES);
    platform_file_unmap(&f);
    platform_file_unmap(&f);
}

static void failing_map_is_an_error_and_reading_still_works(void **state)
{
    (void)state;
    struct platform_file f;
    slm_error err;
    const uint8_t *data = NULL;
    uint8_t byte = 0;
    hook.map_error = ENOMEM;
    assert_int_equal(platform_file_open(&f, path_of("data"), &err), SLM_OK);
    assert_int_equal(platform_file_map(&f, &data, &err), SLM_E_IO);
    assert_non_null(strstr(err.message, "out of memory"));
    assert_null(data);
    platform_file_unmap(&f);
    assert_int_equal(platform_file_read(&f, 3, &byte, 1, &err), SLM_OK);
    assert_int_equal(byte, byte_of(3));
    platform_file_close(&f);
}

/* The map would reach beyond the end, where reading is SIGBUS. */
static void a_file_shortened_since_it_was_opened_is_not_mapped(void **state)
{
    (void)state;
    static const uint8_t bytes[5000] = {1, 2, 3};
    struct platform_file f;
    slm_error err;
    const uint8_t *data = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("shortened"));
    for (off_t size = 0; size <= 6000; size += 1000) {
        write_file(path, bytes, sizeof bytes);
        assert_int_equal(platform_file_open(&f, path, &err), SLM_OK);
        assert_int_equal(truncate(path, size), 0);
        if (size < 5000) {
            assert_int_equal(platform_file_map(&f, &data, &err), SLM_E_IO);
            assert_non_null(strstr(err.message, "shortened from 5000 to"));
            assert_int_equal(err.position, size);
            assert_null(f.map);
        } else {
            assert_int_equal(platform_file_map(&f, &data, &err), SLM_OK);
            assert_memory_equal(data, bytes, sizeof bytes);
            data = NULL;
        }
        platform_file_unmap(&f);
        platform_file_close(&f);
    }
    unlink(path);
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

static void write_fake(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/fake%s", directory, path);
    for (char *p = full + strlen(directory) + 1; *p != 0; p++) {
        if (*p == '/') {
            *p = 0;
            mkdir(full, 0700);
            *p = '/';
        }
    }
    write_file(full, text, strlen(text));
}

static void remove_fakes(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s/fake'", directory);
    assert_int_equal(system(command), 0);
}

static void use_fakes(void)
{
    static char root[128];
    snprintf(root, sizeof root, "%s/fake", directory);
    hook.root = root;
}

static void affinity_mask_is_honoured(void **state)
{
    (void)state;
    assert_true(platform_cpu_count() >= 1);
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    use_fakes(); /* no control group: only the mask counts */
    assert_int_equal(platform_cpu_count(), CPU_COUNT(&set));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        size_t cpu = 0;
        while (!CPU_ISSET(cpu, &set)) {
            cpu++;
        }
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        _exit(sched_setaffinity(0, sizeof set, &set) == 0 && platform_cpu_count() == 1 &&
                      platform_core_count() == 1
                  ? 0
                  : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void quota_of_cgroup_2_and_its_parents_is_honoured(void **state)
{
    (void)state;
    use_fakes();
    assert_int_equal(platform_quota_cpus(), INT32_MAX);
    write_fake("/proc/self/cgroup", "0::/outer/inner\n");
    assert_int_equal(platform_quota_cpus(), INT32_MAX);
    write_fake("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
    assert_int_equal(platform_quota_cpus(), INT32_MAX);
    write_fake("/sys/fs/cgroup/outer/inner/cpu.max", "600000 100000\n");
    assert_int_equal(platform_quota_cpus(), 6);
    write_fake("/sys/fs/cgroup/outer/cpu.max", "250001 100000\n");
    assert_int_equal(platform_quota_cpus(), 3);
    write_fake("/sys/fs/cgroup/cpu.max", "1000 100000\n");
    assert_int_equal(platform_quota_cpus(), 1);
    assert_int_equal(platform_cpu_count(), 1);
    hook.most = 1;
    hook.interrupt_every = 3;
    assert_int_equal(platform_quota_cpus(), 1);
    hook.most = 0;
    write_fake("/sys/fs/cgroup/cpu.max", "garbage\n");
    assert_int_equal(platform_quota_cpus(), 3);
    remove_fakes();
    write_fake("/proc/self/cgroup", "0::/\n");
    write_fake("/sys/fs/cgroup/cpu.max", "99999999999999999999999 1\n");
    assert_int_equal(platform_quota_cpus(), INT32_MAX);
    write_fake("/sys/fs/cgroup/cpu.max", "200000 100000");
    assert_int_equal(platform_quota_cpus(), 2);
    remove_fakes();
}

static void quota_of_cgroup_1_is_honoured(void **state)
{
    (void)state;
    use_fakes();
    write_fake("/proc/self/cgroup", "9:name=systemd:/a\n4:cpuset:/no\n3:cpu,cpuacct:/docker/x\n"
                                    "2:memory:/a\n0::/a");
    write_fake("/sys/fs/cgroup/cpu/no/cpu.cfs_quota_us", "1\n");
    write_fake("/sys/fs/cgroup/cpu/no/cpu.cfs_period_us", "1\n");
    write_fake("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "-1\n");
    write_fake("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
    assert_int_equal(platform_quota_cpus(), INT32_MAX);
    write_fake("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "450000\n");
    assert_int_equal(platform_quota_cpus(), 5);
    /* Inside a container the path of the host does not exist; its own root does. */
    write_fake("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
    write_fake("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(platform_quota_cpus(), 2);
    remove_fakes();
    write_fake("/proc/self/cgroup", "5:cpuacct,cpu:/a\n");
    write_fake("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300001\n");
    write_fake("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(platform_quota_cpus(), 4);
    remove_fakes();
}

static void quota_above_a_path_too_long_to_read_is_honoured(void **state)
{
    (void)state;
    char line[2000];
    int n = snprintf(line, sizeof line, "0::/outer");
    for (size_t i = (size_t)n; i < sizeof line - 1; i++) {
        line[i] = (i - (size_t)n) % 10 == 0 ? '/' : 'x';
    }
    line[sizeof line - 1] = 0;
    use_fakes();
    write_fake("/proc/self/cgroup", line);
    write_fake("/sys/fs/cgroup/outer/cpu.max", "100000 100000\n");
    write_fake("/sys/fs/cgroup/cpu.max", "700000 100000\n");
    assert_int_equal(platform_quota_cpus(), 1);
    remove_fakes();
}

/* ---- Cores ----------------------------------------------------------------------------------- */

static struct platform_cpus cpus_of(const char *list)
{
    struct platform_cpus set;
    struct text text = {list, strlen(list)};
    platform_parse_cpus(text, &set);
    return set;
}

static void assert_cpus(const struct platform_cpus *set, const char *list)
{
    struct platform_cpus expected = cpus_of(list);
    assert_memory_equal(set, &expected, sizeof expected);
}

static void lists_of_cpus_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        int32_t count, first, last;
    } cases[] = {
        {"0\n", 1, 0, 0},
        {"0-3\n", 4, 0, 3},
        {"0,4\n", 2, 0, 4},
        {"1-2,5,62-65\n", 7, 1, 65},
        {"8191", 1, 8191, 8191},
        {"8191-8192", 1, 8191, 8191},
        {"0-99999999999999999999999", 8192, 0, 8191},
        {"8192,7", 1, 7, 7},
        {"3-1", 0, 0, 0},
        {"", 0, 0, 0},
        {"\n", 0, 0, 0},
        {"-3", 0, 0, 0},
        {"x,1", 0, 0, 0},
        {"1,,2", 1, 1, 1},
        {"1, 2", 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct platform_cpus set = cpus_of(cases[i].list);
        assert_int_equal(platform_cpus_count(&set), cases[i].count);
        if (cases[i].count > 0) {
            assert_true(platform_cpus_has(&set, cases[i].first));
            assert_true(platform_cpus_has(&set, cases[i].last));
        }
    }
}

/* A list that the buffer cuts off within a number must not name another CPU. */
static void the_cut_end_of_a_long_list_is_left_out(void **state)
{
    (void)state;
    use_fakes();
    for (int zeros = 0; zeros < 6; zeros++) { /* move the place of the cut */
        struct platform_cpus set;
        char list[1024];
        char path[256];
        size_t n = (size_t)snprintf(list, sizeof list, "%0*d", zeros + 1, 0);
        for (int32_t cpu = 4000; n < 1000; cpu++) {
            n += (size_t)snprintf(list + n, sizeof list - n, ",%d", cpu);
        }
        write_fake("/list", list);
        snprintf(path, sizeof path, "%s/fake/list", directory);
        platform_read_cpus(path, &set);
        assert_true(platform_cpus_count(&set) > 80);
        for (int32_t cpu = 1; cpu < 4000; cpu++) {
            assert_false(platform_cpus_has(&set, cpu));
        }
    }
    remove_fakes();
}

static void write_cpu(int32_t cpu, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, file);
    write_fake(path, text);
}

static int32_t cores_of(const char *list)
{
    struct platform_cpus set = cpus_of(list);
    return platform_count_cores(&set);
}

static void siblings_count_as_one_core(void **state)
{
    (void)state;
    use_fakes();
    assert_int_equal(cores_of("0-7"), 8);   /* nothing is known */
    for (int32_t cpu = 0; cpu < 8; cpu++) { /* 0 and 4, 1 and 5, ... */
        char list[32];
        snprintf(list, sizeof list, "%d,%d\n", cpu % 4, cpu % 4 + 4);
        write_cpu(cpu, "topology/thread_siblings_list", list);
    }
    assert_int_equal(cores_of("0-7"), 4);
    assert_int_equal(cores_of("0-2,4"), 3);
    assert_int_equal(cores_of("4-7"), 4); /* only the second siblings may be used */
    assert_int_equal(cores_of("5"), 1);
    assert_int_equal(cores_of("0-8191"), 4 + 8192 - 8);
    write_cpu(0, "topology/core_cpus_list", "0-3\n"); /* the newer file counts */
    write_cpu(4, "topology/core_cpus_list", "4-7\n");
    assert_int_equal(cores_of("0-7"), 2);
    write_cpu(4, "topology/core_cpus_list", "garbage\n");
    assert_int_equal(cores_of("0-7"), 2 + 3);
    write_cpu(0, "topology/core_cpus_list", "0-99999999999\n");
    assert_int_equal(cores_of("0-7"), 1);
    write_cpu(0, "topology/core_cpus_list", "1-7\n"); /* a core without its CPU: the other file */
    write_cpu(0, "topology/thread_siblings_list", "7\n");
    assert_int_equal(cores_of("0"), 1);
    remove_fakes();
}

static void performance_cores_of_hybrids_are_preferred(void **state)
{
    (void)state;
    use_fakes();
    struct platform_cpus set = cpus_of("0-19");
    platform_keep_performance(&set);
    assert_cpus(&set, "0-19");
    write_fake("/sys/devices/cpu_core/cpus", "0-11\n");
    platform_keep_performance(&set);
    assert_cpus(&set, "0-11");
    set = cpus_of("10-19");
    platform_keep_performance(&set);
    assert_cpus(&set, "10-11");
    set = cpus_of("12-19"); /* bound to efficient cores: better than none */
    platform_keep_performance(&set);
    assert_cpus(&set, "12-19");
    remove_fakes();
}

static void big_cores_of_arm_are_preferred(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        const char *file;
        int32_t percent;
        const char *speeds[9];
        const char *kept;
    } chips[] = {
        {"a phone of three kinds",
         "cpu_capacity",
         60,
         {"325", "325", "325", "811", "811", "811", "811", "1024", NULL},
         "3-7"},
        {"a board of two kinds",
         "cpu_capacity",
         60,
         {"530", "530", "530", "530", "1024", "1024", "1024", "1024", NULL},
         "4-7"},
        {"the same by its clock",
         "cpufreq/cpuinfo_max_freq",
         80,
         {"1800000", "1800000", "1800000", "1800000", "2400000", "2400000", "2256000", "2256000",
          NULL},
         "4-7"},
        {"all alike", "cpu_capacity", 60, {"1024", "1024", "1024", "1024", NULL}, "0-3"},
        {"one that does not tell", "cpu_capacity", 60, {"100", "", "1024", "1024", NULL}, "0-3"},
        {"garbage", "cpu_capacity", 60, {"100", "x", "-5", "1024", NULL}, "0-3"},
        {"numbers over all bounds",
         "cpu_capacity",
         60,
         {"99999999999999999999999999", "1", "99999999999999999999999999", NULL},
         "0,2"},
    };
    use_fakes();
    for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
        struct platform_speed_source source = {chips[i].file, chips[i].percent};
        char list[16];
        int32_t n = 0;
        for (; chips[i].speeds[n] != NULL; n++) {
            write_cpu(n, chips[i].file, chips[i].speeds[n]);
        }
        snprintf(list, sizeof list, "0-%d", n - 1);
        struct platform_cpus set = cpus_of(list);
        platform_keep_fast(&source, &set);
        assert_cpus(&set, chips[i].kept);
        remove_fakes();
    }
}

/* Whatever the files say, between one and all of the CPUs that may be used. */
static void files_of_random_bytes_do_no_harm(void **state)
{
    static const char *const files[] = {"/proc/self/cgroup",
                                        "/sys/fs/cgroup/cpu.max",
                                        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                                        "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
                                        "/sys/devices/cpu_core/cpus",
                                        "/sys/devices/system/cpu/cpu0/cpu_capacity",
                                        "/sys/devices/system/cpu/cpu1/cpu_capacity",
                                        "/sys/devices/system/cpu/cpu0/topology/core_cpus_list",
                                        "/sys/devices/system/cpu/cpu1/topology/core_cpus_list"};
    static const char likely[] = "0123456789,-:/\n max";
    uint32_t random = 12345;
    (void)state;
    use_fakes();
    for (int32_t round = 0; round < 300; round++) {
        for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
            uint8_t bytes[5000];
            char path[256];
            random = random * 1664525u + 1013904223u;
            size_t n = random >> 16;
            n = round % 10 == 0 ? n % sizeof bytes : n % 40;
            for (size_t i = 0; i < n; i++) {
                random = random * 1664525u + 1013904223u;
                bytes[i] = (uint8_t)(random >> 24);
                if (round % 3 != 0) {
                    bytes[i] = (uint8_t)likely[bytes[i] % (sizeof likely - 1)];
                }
            }
            write_fake(files[f], "");
            snprintf(path, sizeof path, "%s/fake%s", directory, files[f]);
            write_file(path, bytes, n);
        }
        int32_t cores = platform_core_count();
        assert_true(cores >= 1 && cores <= platform_cpu_count());
    }
    remove_fakes();
}

static void the_quota_also_bounds_the_cores(void **state)
{
    (void)state;
    use_fakes();
    int32_t all = platform_core_count();
    assert_true(all >= 1);
    write_fake("/proc/self/cgroup", "0::/\n");
    write_fake("/sys/fs/cgroup/cpu.max", "10000 100000\n");
    assert_int_equal(platform_core_count(), 1);
    write_fake("/sys/fs/cgroup/cpu.max", "999900000 100000\n");
    assert_int_equal(platform_core_count(), all);
    remove_fakes();
}

/* ---- Clock and process ----------------------------------------------------------------------- */

static void clock_is_monotonic_and_in_nanoseconds(void **state)
{
    (void)state;
    int64_t start = platform_clock_ns();
    usleep(20000);
    int64_t end = platform_clock_ns();
    assert_true(start > 0);
    assert_true(end - start >= 20000000);
    assert_true(end - start < INT64_C(5000000000));
}

static void process_id_differs_in_a_child(void **state)
{
    (void)state;
    int64_t id = platform_process_id();
    assert_true(id == platform_process_id());
    pid_t child = fork();
    if (child == 0) {
        _exit(platform_process_id() != id ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(missing_file_names_path_and_reason, reset_hook),
        cmocka_unit_test_setup(long_path_keeps_the_reason, reset_hook),
        cmocka_unit_test_setup(directory_is_refused, reset_hook),
        cmocka_unit_test_setup(pipe_is_refused_without_blocking, reset_hook),
        cmocka_unit_test_setup(descriptor_is_closed_on_exec, reset_hook),
        cmocka_unit_test_setup(empty_file_opens_and_maps, reset_hook),
        cmocka_unit_test_setup(reads_are_exact_through_short_and_interrupted_reads, reset_hook),
        cmocka_unit_test_setup(end_of_file_names_the_offset, reset_hook),
        cmocka_unit_test_setup(read_error_names_offset_and_reason, reset_hook),
        cmocka_unit_test_setup(offsets_over_4_gib_work, reset_hook),
        cmocka_unit_test_setup(map_and_read_give_equal_bytes, reset_hook),
        cmocka_unit_test_setup(failing_map_is_an_error_and_reading_still_works, reset_hook),
        cmocka_unit_test_setup(a_file_shortened_since_it_was_opened_is_not_mapped, reset_hook),
        cmocka_unit_test_setup(affinity_mask_is_honoured, reset_hook),
        cmocka_unit_test_setup(quota_of_cgroup_2_and_its_parents_is_honoured, reset_hook),
        cmocka_unit_test_setup(quota_of_cgroup_1_is_honoured, reset_hook),
        cmocka_unit_test_setup(quota_above_a_path_too_long_to_read_is_honoured, reset_hook),
        cmocka_unit_test_setup(lists_of_cpus_are_understood, reset_hook),
        cmocka_unit_test_setup(the_cut_end_of_a_long_list_is_left_out, reset_hook),
        cmocka_unit_test_setup(siblings_count_as_one_core, reset_hook),
        cmocka_unit_test_setup(performance_cores_of_hybrids_are_preferred, reset_hook),
        cmocka_unit_test_setup(big_cores_of_arm_are_preferred, reset_hook),
        cmocka_unit_test_setup(files_of_random_bytes_do_no_harm, reset_hook),
        cmocka_unit_test_setup(the_quota_also_bounds_the_cores, reset_hook),
        cmocka_unit_test_setup(clock_is_monotonic_and_in_nanoseconds, reset_hook),
        cmocka_unit_test_setup(process_id_differs_in_a_child, reset_hook),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
