/* platform.c - everything the operating system gives: clock, process id, files, maps and
 * threads. Nothing else but platform_cpus.c, which counts CPUs, calls the system.
 *
 * Branches: Linux (glibc, musl, Android), macOS, Windows, and none. SLM_NO_FILES and SLM_NO_THREADS
 * leave out their parts; a system without a branch must define both, and may give a clock as
 * PLATFORM_CLOCK_NS.
 *
 * slm.c must compile under strict -std=c11 and after any other include, so no feature macro is
 * defined here and none may be relied on. What a header hides without one (pread, clock_gettime,
 * sched_getaffinity, pthread_sigmask) is declared here under a name of our own that is bound to the
 * system's symbol, and can therefore never clash with a header that does declare it.
 *
 * Tests and firmware replace a system call by defining its macro before slm.c is included. They
 * have the arguments and results of the call they stand for, errno included:
 *     PLATFORM_OPEN(path, flags)                  PLATFORM_CLOSE(fd)
 *     PLATFORM_PREAD(fd, buffer, size, offset)    PLATFORM_LSEEK(fd, offset, whence)
 *     PLATFORM_FSTAT(fd, info)                    PLATFORM_GETPID()
 *     PLATFORM_MMAP(size, fd)                     PLATFORM_MUNMAP(address, size)
 *     PLATFORM_ATTR_INIT(attr)                    PLATFORM_ATTR_STACK(attr, size)
 *     PLATFORM_ATTR_DESTROY(attr)                 PLATFORM_THREAD_CREATE(id, attr, fn, arg)
 *     PLATFORM_MUTEX_INIT(mutex)                  PLATFORM_COND_INIT(cond)
 *     PLATFORM_CLOCK_NS()
 *
 * Traps: a FIFO would block open (O_NONBLOCK, then refused as not regular); macOS refuses reads
 * over 2 GiB; on 32-bit Linux the plain symbols have 32-bit offsets. */

#if defined(_WIN32)
#define PLATFORM_WINDOWS 1
#elif defined(__linux__)
#define PLATFORM_LINUX 1
#define PLATFORM_POSIX 1
#elif defined(__APPLE__)
#define PLATFORM_POSIX 1
#elif !defined(SLM_NO_FILES) || !defined(SLM_NO_THREADS)
#error "slm: no platform branch for this system: define SLM_NO_FILES and SLM_NO_THREADS"
#endif

#if defined(PLATFORM_WINDOWS)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#elif defined(PLATFORM_POSIX)
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifndef SLM_NO_FILES
#include <sys/mman.h>
#include <sys/stat.h>
#endif
#ifndef SLM_NO_THREADS
#include <pthread.h>
#endif
#endif

/* ---- Symbols that strict headers hide -------------------------------------------------------- */

#if defined(PLATFORM_POSIX)
#define PLATFORM_TEXT_OF(x) #x
#define PLATFORM_TEXT(x) PLATFORM_TEXT_OF(x)
/* macOS puts an underscore before every C name. */
#define PLATFORM_SYMBOL(name) __asm__(PLATFORM_TEXT(__USER_LABEL_PREFIX__) name)
/* glibc and Android keep 32-bit offsets behind the plain names; musl and macOS never had them. */
#if !defined(__LP64__) && (defined(__GLIBC__) || defined(__BIONIC__))
#define PLATFORM_LARGE(name) PLATFORM_SYMBOL(name "64")
#else
#define PLATFORM_LARGE(name) PLATFORM_SYMBOL(name)
#endif

/* What stands behind the symbol clock_gettime: of 64 bits only where long or the kernel says so. Room
 * for that is there in any case. */
struct platform_timespec {
#if defined(__x86_64__) || (defined(__riscv) && __riscv_xlen == 32)
    int64_t s, ns;
#else
    long s, ns;
#endif
    int64_t spare[2];
};

extern int platform_os_clock_gettime(int clock, struct platform_timespec *time)
    PLATFORM_SYMBOL("clock_gettime");
#if defined(PLATFORM_LINUX)
extern int platform_os_madvise(void *address, size_t size, int advice) PLATFORM_SYMBOL("madvise");
#endif
#if !defined(SLM_NO_FILES)
extern long platform_os_pread(int fd, void *buffer, size_t size, int64_t offset)
    PLATFORM_LARGE("pread");
extern int64_t platform_os_lseek(int fd, int64_t offset, int whence) PLATFORM_LARGE("lseek");
#endif
#endif

/* ---- Clock and process ----------------------------------------------------------------------- */

/* Monotonic; 0 where there is no clock. */
static int64_t platform_clock_ns(void)
{
#if defined(PLATFORM_CLOCK_NS)
    return PLATFORM_CLOCK_NS();
#elif defined(PLATFORM_WINDOWS)
    LARGE_INTEGER ticks;
    LARGE_INTEGER frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    int64_t seconds = ticks.QuadPart / frequency.QuadPart;
    int64_t rest = ticks.QuadPart % frequency.QuadPart;
    return seconds * 1000000000 + rest * 1000000000 / frequency.QuadPart;
#elif defined(PLATFORM_POSIX)
#if defined(PLATFORM_LINUX)
    const int monotonic = 1;
#else
    const int monotonic = 6;
#endif
    struct platform_timespec t = {0, 0, {0, 0}};
    platform_os_clock_gettime(monotonic, &t);
    return (int64_t)t.s * 1000000000 + (int64_t)t.ns;
#else
    return 0;
#endif
}

#if defined(PLATFORM_POSIX) && !defined(PLATFORM_GETPID)
#define PLATFORM_GETPID() getpid()
#endif

/* Differs in a forked child; constant where there is no fork. */
static int64_t platform_process_id(void)
{
#if defined(PLATFORM_POSIX)
    return (int64_t)PLATFORM_GETPID();
#else
    return 0;
#endif
}

/* Asks for pages of 2 MiB: reading memory in streams would spend up to a fifth of its time on
 * finding pages of 4 KiB, more on a virtual machine. A wish, nobody says if it is granted. */
static void platform_wish_large_pages(const void *memory, uint64_t bytes)
{
#if defined(PLATFORM_LINUX)
    const uintptr_t large = (uintptr_t)1 << 21;
    uintptr_t first = ((uintptr_t)memory + large - 1) & ~(large - 1);
    uintptr_t end = ((uintptr_t)memory + (size_t)bytes) & ~(large - 1);
    if (first < end) {
        (void)platform_os_madvise((void *)first, end - first, 14 /* MADV_HUGEPAGE */);
    }
#else
    (void)memory;
    (void)bytes;
#endif
}

/* The same of memory that was not touched yet; of a host's own allocator we know nothing. */
static void platform_prefer_large_pages(const struct memory *from, const void *memory,
                                        uint64_t bytes)
{
    if (from->alloc == memory_libc) {
        platform_wish_large_pages(memory, bytes);
    }
}

static SLM_UNUSED void platform_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* yield is a no-op on most cores, this waits a little */
#endif
}

/* ---- Reasons --------------------------------------------------------------------------------- */

#if !defined(SLM_NO_FILES) || !defined(SLM_NO_THREADS)

/* strerror depends on the locale and keeps a global. */
static const struct platform_reason {
    int code;
    const char *text;
} platform_reasons[] = {
#if defined(PLATFORM_WINDOWS)
    {ERROR_FILE_NOT_FOUND, "no such file"},
    {ERROR_PATH_NOT_FOUND, "no such directory"},
    {ERROR_ACCESS_DENIED, "permission denied, or it is a directory"},
    {ERROR_SHARING_VIOLATION, "another process has it open"},
    {ERROR_INVALID_NAME, "not a valid file name"},
    {ERROR_TOO_MANY_OPEN_FILES, "too many open files"},
    {ERROR_NOT_ENOUGH_MEMORY, "out of memory"},
    {ERROR_HANDLE_EOF, "the file ends before"},
#else
    {ENOENT, "no such file or directory"},
    {EACCES, "permission denied"},
    {EPERM, "not permitted"},
    {EISDIR, "it is a directory"},
    {ENOTDIR, "a part of the path is not a directory"},
    {ENAMETOOLONG, "the name is too long"},
    {ELOOP, "too many symbolic links"},
    {EMFILE, "too many open files in this process"},
    {ENFILE, "too many open files in the system"},
    {ENOMEM, "out of memory"},
    {EIO, "input/output error"},
    {ENXIO, "no such device"},
    {ENODEV, "the file system cannot do this"},
    {EAGAIN, "a limit of the system is reached"},
    {EINVAL, "invalid argument"},
    {EOVERFLOW, "too large"},
#endif
};

static const char *platform_reason_of(int code)
{
    for (int32_t i = 0; i < SLM_COUNT(platform_reasons); i++) {
        if (platform_reasons[i].code == code) {
            return platform_reasons[i].text;
        }
    }
    return "system error";
}

#endif

/* ---- Files ----------------------------------------------------------------------------------- */

#if !defined(SLM_NO_FILES)

#if defined(PLATFORM_POSIX)
#ifndef PLATFORM_OPEN
#define PLATFORM_OPEN(path, flags) open(path, flags)
#endif
#ifndef PLATFORM_CLOSE
#define PLATFORM_CLOSE(fd) close(fd)
#endif
#ifndef PLATFORM_PREAD
#define PLATFORM_PREAD(fd, buffer, size, offset) platform_os_pread(fd, buffer, size, offset)
#endif
#ifndef PLATFORM_LSEEK
#define PLATFORM_LSEEK(fd, offset, whence) platform_os_lseek(fd, offset, whence)
#endif
#ifndef PLATFORM_FSTAT
#define PLATFORM_FSTAT(fd, info) fstat(fd, info)
#endif
#ifndef PLATFORM_MMAP
#define PLATFORM_MMAP(size, fd) mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)
#endif
#ifndef PLATFORM_MUNMAP
#define PLATFORM_MUNMAP(address, size) munmap(address, size)
#endif
#endif

/* A regular file, open for reading. Zeroed and closed are the same state. Reading is thread-safe.
 * The map outlives platform_file_close, which gives back the descriptor only. */
struct platform_file {
#if defined(PLATFORM_WINDOWS)
    HANDLE handle; /* NULL: closed */
#else
    int descriptor_plus_1; /* 0: closed */
#endif
    uint64_t size;
    const uint8_t *map;
};

/* Where an empty file is mapped, so that no caller meets NULL. */
static const uint8_t platform_empty[1] = {0};

/* One read of at most this: macOS and Windows take no more than 2 GiB at once. */
#define PLATFORM_READ_BYTES ((size_t)1 << 30)

/* Keeps room in the message for the reason: of a long path only the end is shown. */
static int platform_path_error(const char *path, const char *reason, int code, slm_error *err)
{
    size_t n = string_length(path);
    size_t skip = n > 120 ? n - 117 : 0;
    SLM_FAIL(err, SLM_E_IO, -1, "cannot open '%s%s': %s (%d)", skip > 0 ? "..." : "", path + skip,
             reason, code);
}

static uint64_t platform_file_size(const struct platform_file *f)
{
    return f->size;
}

#if defined(PLATFORM_POSIX)

static int platform_open_read_only(const char *path)
{
    int flags = O_RDONLY | O_NONBLOCK;
#if defined(O_CLOEXEC)
    flags |= O_CLOEXEC;
#elif defined(__O_CLOEXEC)
    flags |= __O_CLOEXEC;
#endif
#if defined(__O_LARGEFILE)
    flags |= __O_LARGEFILE;
#endif
    int fd = 0;
    do {
        fd = PLATFORM_OPEN(path, flags);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static void platform_file_close(struct platform_file *f)
{
    if (f->descriptor_plus_1 != 0) {
        PLATFORM_CLOSE(f->descriptor_plus_1 - 1);
        f->descriptor_plus_1 = 0;
    }
}

/* What makes an open descriptor no file of ours, NULL if nothing does. */
static const char *platform_refuse(int fd, int *code)
{
    struct stat info;
    int status = PLATFORM_FSTAT(fd, &info);
    *code = status != 0 ? errno : 0;
    /* Of a file over 2 GiB a 32-bit fstat says EOVERFLOW; only a regular file grows to that. */
    if (*code == EOVERFLOW) {
        return NULL;
    }
    if (*code == 0 && S_ISDIR(info.st_mode)) {
        *code = EISDIR;
    }
    if (*code != 0) {
        return platform_reason_of(*code);
    }
    return S_ISREG(info.st_mode) ? NULL : "it is not a regular file";
}

/* Bytes of an open file now, or -1 and *code. */
static int64_t platform_size_now(int fd, int *code)
{
    int64_t size = PLATFORM_LSEEK(fd, 0, 2 /* SEEK_END */);
    *code = size < 0 ? errno : 0;
    return size;
}

static int platform_file_open(struct platform_file *f, const char *path, slm_error *err)
{
    memset(f, 0, sizeof *f);
    int fd = platform_open_read_only(path);
    if (fd < 0) {
        int code = errno;
        return platform_path_error(path, platform_reason_of(code), code, err);
    }
    f->descriptor_plus_1 = fd + 1;
    int code = 0;
    const char *reason = platform_refuse(fd, &code);
    int64_t size = 0;
    if (reason == NULL) {
        size = platform_size_now(fd, &code);
        reason = size < 0 ? platform_reason_of(code) : NULL;
    }
    if (reason != NULL) {
        platform_file_close(f);
        return platform_path_error(path, reason, code, err);
    }
    f->size = (uint64_t)size;
    return SLM_OK;
}

/* Up to size bytes into buffer: how many, 0 at the end of the file, or -1 and *code. */
static int64_t platform_read_some(struct platform_file *f, uint64_t offset, void *buffer,
                                  size_t size, int *code)
{
    for (;;) {
        int64_t n = PLATFORM_PREAD(f->descriptor_plus_1 - 1, buffer, size, (int64_t)offset);
        if (n >= 0) {
            return n;
        }
        *code = errno;
        if (*code != EINTR) {
            return -1;
        }
    }
}

static const uint8_t *platform_map_bytes(struct platform_file *f, int *code)
{
    void *p = PLATFORM_MMAP((size_t)f->size, f->descriptor_plus_1 - 1);
    if (p == MAP_FAILED) {
        *code = errno;
        return NULL;
    }
    platform_wish_large_pages(p, f->size);
    return (const uint8_t *)p;
}

/* Of a file that was shortened since it was opened, the end can be mapped but not read: SIGBUS. */
static int platform_check_size(struct platform_file *f, slm_error *err)
{
    int code = 0;
    int64_t size = platform_size_now(f->descriptor_plus_1 - 1, &code);
    if (size < 0) {
        SLM_FAIL(err, SLM_E_IO, -1, "cannot map a file of %llu bytes: %s (%d)",
                 (unsigned long long)f->size, platform_reason_of(code), code);
    }
    if ((uint64_t)size < f->size) {
        SLM_FAIL(err, SLM_E_IO, size,
                 "the file was shortened from %llu to %lld bytes while it was opened",
                 (unsigned long long)f->size, (long long)size);
    }
    return SLM_OK;
}

static void platform_unmap_bytes(const uint8_t *map, uint64_t size)
{
    PLATFORM_MUNMAP((void *)(uintptr_t)map, (size_t)size);
}

#else /* Windows */

static void platform_file_close(struct platform_file *f)
{
    if (f->handle != NULL) {
        CloseHandle(f->handle);
        f->handle = NULL;
    }
}

static int platform_file_open(struct platform_file *f, const char *path, slm_error *err)
{
    WCHAR wide[LIMIT_PATH_CHARACTERS + 1];
    LARGE_INTEGER size;
    memset(f, 0, sizeof *f);
    if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, SLM_COUNT(wide)) == 0) {
        SLM_FAIL(err, SLM_E_IO, -1, "cannot open a path that is not UTF-8 or over %d characters",
                 LIMIT_PATH_CHARACTERS);
    }
    HANDLE handle = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING,
                                FILE_ATTRIBUTE_NORMAL, NULL);
    if (handle == INVALID_HANDLE_VALUE) {
        int code = (int)GetLastError();
        return platform_path_error(path, platform_reason_of(code), code, err);
    }
    f->handle = handle;
    if (GetFileType(handle) != FILE_TYPE_DISK || !GetFileSizeEx(handle, &size)) {
        platform_file_close(f);
        return platform_path_error(path, "it is not a regular file", 0, err);
    }
    f->size = (uint64_t)size.QuadPart;
    return SLM_OK;
}

static int64_t platform_read_some(struct platform_file *f, uint64_t offset, void *buffer,
                                  size_t size, int *code)
{
    OVERLAPPED at;
    DWORD n = 0;
    memset(&at, 0, sizeof at);
    at.Offset = (DWORD)(offset & 0xffffffffu);
    at.OffsetHigh = (DWORD)(offset >> 32);
    if (!ReadFile(f->handle, buffer, (DWORD)size, &n, &at)) {
        *code = (int)GetLastError();
        return *code == ERROR_HANDLE_EOF ? 0 : -1;
    }
    return (int64_t)n;
}

static const uint8_t *platform_map_bytes(struct platform_file *f, int *code)
{
    const uint8_t *map = NULL;
    HANDLE mapping = CreateFileMappingW(f->handle, NULL, PAGE_READONLY, 0, 0, NULL);
    if (mapping != NULL) {
        map = (const uint8_t *)MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    }
    *code = (int)GetLastError();
    if (mapping != NULL) {
        CloseHandle(mapping); /* the view keeps it */
    }
    return map;
}

/* A mapped file cannot be shortened, and until then nobody else may write it: see CreateFileW. */
static int platform_check_size(struct platform_file *f, slm_error *err)
{
    (void)f;
    (void)err;
    return SLM_OK;
}

static void platform_unmap_bytes(const uint8_t *map, uint64_t size)
{
    (void)size;
    UnmapViewOfFile(map);
}

#endif

/* All of size bytes or an error. */
static int platform_file_read(struct platform_file *f, uint64_t offset, void *buffer, size_t size,
                              slm_error *err)
{
    uint8_t *to = (uint8_t *)buffer;
    uint64_t at = offset;
    size_t left = size;
    while (left > 0) {
        size_t step = left < PLATFORM_READ_BYTES ? left : PLATFORM_READ_BYTES;
        int code = 0;
        int64_t n =
            at <= (uint64_t)INT64_MAX - step ? platform_read_some(f, at, to, step, &code) : 0;
        if (n < 0) {
            SLM_FAIL(err, SLM_E_IO, (int64_t)at, "cannot read %zu bytes at offset %llu: %s (%d)",
                     left, (unsigned long long)at, platform_reason_of(code), code);
        }
        if (n == 0) {
            SLM_FAIL(err, SLM_E_IO, at <= (uint64_t)INT64_MAX ? (int64_t)at : -1,
                     "the file ends at offset %llu: %zu more bytes expected",
                     (unsigned long long)at, left);
        }
        to += n;
        at += (uint64_t)n;
        left -= (size_t)n;
    }
    return SLM_OK;
}

static void platform_file_unmap(struct platform_file *f)
{
    if (f->map != NULL && f->map != platform_empty) {
        platform_unmap_bytes(f->map, f->size);
    }
    f->map = NULL;
}

/* The whole file, read-only and private, at its size when it was opened. */
static int platform_file_map(struct platform_file *f, const uint8_t **data, slm_error *err)
{
    int code = 0;
    if (f->size > SIZE_MAX / 2) {
        SLM_FAIL(err, SLM_E_MEMORY, -1, "a file of %llu bytes does not fit this address space",
                 (unsigned long long)f->size);
    }
    f->map = f->size == 0 ? platform_empty : platform_map_bytes(f, &code);
    if (f->map == NULL) {
        SLM_FAIL(err, SLM_E_IO, -1, "cannot map a file of %llu bytes: %s (%d)",
                 (unsigned long long)f->size, platform_reason_of(code), code);
    }
    int status = platform_check_size(f, err);
    if (status != SLM_OK) {
        platform_file_unmap(f);
        return status;
    }
    *data = f->map;
    return SLM_OK;
}

#else /* SLM_NO_FILES: the same calls, which have nothing to open */

struct platform_file {
    uint64_t size;
};

static int platform_file_open(struct platform_file *f, const char *path, slm_error *err)
{
    (void)path;
    f->size = 0;
    SLM_FAIL(err, SLM_E_UNSUPPORTED, -1, "slm was built without files (SLM_NO_FILES)");
}

static uint64_t platform_file_size(const struct platform_file *f)
{
    return f->size;
}

static int platform_file_read(struct platform_file *f, uint64_t offset, void *buffer, size_t size,
                              slm_error *err)
{
    (void)f;
    (void)buffer;
    (void)size;
    SLM_FAIL(err, SLM_E_UNSUPPORTED, (int64_t)offset, "slm was built without files");
}

static int platform_file_map(struct platform_file *f, const uint8_t **data, slm_error *err)
{
    *data = NULL;
    return platform_file_read(f, 0, NULL, 0, err);
}

static void platform_file_unmap(struct platform_file *f)
{
    (void)f;
}

static void platform_file_close(struct platform_file *f)
{
    (void)f;
}

#endif

/* ---- Threads --------------------------------------------------------------------------------- */

#if !defined(SLM_NO_THREADS)

#define PLATFORM_STACK_BYTES ((size_t)256 << 10)

#if defined(PLATFORM_POSIX)

#ifndef PLATFORM_ATTR_INIT
#define PLATFORM_ATTR_INIT(attr) pthread_attr_init(attr)
#endif
#ifndef PLATFORM_ATTR_STACK
#define PLATFORM_ATTR_STACK(attr, size) pthread_attr_setstacksize(attr, size)
#endif
#ifndef PLATFORM_ATTR_DESTROY
#define PLATFORM_ATTR_DESTROY(attr) pthread_attr_destroy(attr)
#endif
#ifndef PLATFORM_THREAD_CREATE
#define PLATFORM_THREAD_CREATE(id, attr, fn, arg) pthread_create(id, attr, fn, arg)
#endif
#ifndef PLATFORM_MUTEX_INIT
#define PLATFORM_MUTEX_INIT(mutex) pthread_mutex_init(mutex, NULL)
#endif
#ifndef PLATFORM_COND_INIT
#define PLATFORM_COND_INIT(cond) pthread_cond_init(cond, NULL)
#endif

struct platform_thread {
    pthread_t id;
};
struct platform_mutex {
    pthread_mutex_t os;
};
struct platform_cond {
    pthread_cond_t os;
};

/* A set of signals: as large as the largest libc has it, bit n - 1 is signal n. */
struct platform_signals {
    unsigned long words[128 / sizeof(unsigned long)];
};

extern int platform_os_cond_signal(pthread_cond_t *cond) PLATFORM_SYMBOL("pthread_cond_signal");
extern int platform_os_sigmask(int how, const struct platform_signals *set,
                               struct platform_signals *old) PLATFORM_SYMBOL("pthread_sigmask");

#if defined(__APPLE__) || defined(__mips__)
#define PLATFORM_SIG_SETMASK 3
#else
#define PLATFORM_SIG_SETMASK 2
#endif

/* Signals that a worker leaves open: those that its own instructions raise (a host's handler for
 * the SIGBUS of a mapped file that was shortened must run where it happens), and on Linux 32 to 34,
 * which belong to the libc: a thread that blocks them hangs setuid and thread cancellation under
 * musl. */
#if defined(PLATFORM_LINUX)
static const uint8_t platform_open_signals[] = {4, 5, 7, 8, 11, 32, 33, 34};
#else
static const uint8_t platform_open_signals[] = {4, 5, 8, 10, 11};
#endif

/* Blocks all other signals in this thread, and gives what was blocked before. */
static void platform_signals_block(struct platform_signals *old)
{
    struct platform_signals all;
    const size_t width = 8 * sizeof(unsigned long);
    memset(old, 0, sizeof *old);
    memset(&all, 0xff, sizeof all);
    for (int32_t i = 0; i < SLM_COUNT(platform_open_signals); i++) {
        size_t bit = platform_open_signals[i] - (size_t)1;
        all.words[bit / width] &= ~(1ul << bit % width);
    }
    platform_os_sigmask(PLATFORM_SIG_SETMASK, &all, old);
}

/* What a worker's stack takes: more than asked where the system's minimum is higher. */
static size_t platform_stack_bytes(void)
{
    size_t bytes = PLATFORM_STACK_BYTES;
#if defined(_SC_THREAD_STACK_MIN)
    long least = sysconf(_SC_THREAD_STACK_MIN);
    if (least > 0 && (size_t)least > bytes) {
        bytes = ((size_t)least + 65535) & ~(size_t)65535;
    }
#endif
    return bytes;
}

/* A thread inherits the mask of signals: with all of them blocked during creation no signal ever
 * runs a handler of the host on a worker's small stack. */
static int platform_thread_start(struct platform_thread *t, void *(*fn)(void *), void *arg,
                                 slm_error *err)
{
    pthread_attr_t attr;
    struct platform_signals old;
    int code = PLATFORM_ATTR_INIT(&attr);
    if (code == 0) {
        code = PLATFORM_ATTR_STACK(&attr, platform_stack_bytes());
        if (code == 0) {
            platform_signals_block(&old);
            code = PLATFORM_THREAD_CREATE(&t->id, &attr, fn, arg);
            platform_os_sigmask(PLATFORM_SIG_SETMASK, &old, NULL);
        }
        PLATFORM_ATTR_DESTROY(&attr);
    }
    if (code != 0) {
        SLM_FAIL(err, SLM_E_THREAD, -1, "cannot start a thread: %s (%d)", platform_reason_of(code),
                 code);
    }
    return SLM_OK;
}

static void platform_thread_join(struct platform_thread *t)
{
    pthread_join(t->id, NULL);
}

static int platform_mutex_init(struct platform_mutex *m, slm_error *err)
{
    int code = PLATFORM_MUTEX_INIT(&m->os);
    if (code != 0) {
        SLM_FAIL(err, SLM_E_THREAD, -1, "cannot make a mutex: %s (%d)", platform_reason_of(code),
                 code);
    }
    return SLM_OK;
}

static void platform_mutex_lock(struct platform_mutex *m)
{
    pthread_mutex_lock(&m->os);
}

static void platform_mutex_unlock(struct platform_mutex *m)
{
    pthread_mutex_unlock(&m->os);
}

static void platform_mutex_destroy(struct platform_mutex *m)
{
    pthread_mutex_destroy(&m->os);
}

static int platform_cond_init(struct platform_cond *c, slm_error *err)
{
    int code = PLATFORM_COND_INIT(&c->os);
    if (code != 0) {
        SLM_FAIL(err, SLM_E_THREAD, -1, "cannot make a condition variable: %s (%d)",
                 platform_reason_of(code), code);
    }
    return SLM_OK;
}

/* May return without a broadcast. */
static void platform_cond_wait(struct platform_cond *c, struct platform_mutex *m)
{
    pthread_cond_wait(&c->os, &m->os);
}

static void platform_cond_broadcast(struct platform_cond *c)
{
    pthread_cond_broadcast(&c->os);
}

/* Wakes one. */
static void platform_cond_signal(struct platform_cond *c)
{
    platform_os_cond_signal(&c->os);
}

static void platform_cond_destroy(struct platform_cond *c)
{
    pthread_cond_destroy(&c->os);
}

#else /* Windows */

struct platform_thread {
    HANDLE handle;
    void *(*fn)(void *);
    void *arg;
};
struct platform_mutex {
    SRWLOCK os;
};
struct platform_cond {
    CONDITION_VARIABLE os;
};

static size_t platform_stack_bytes(void)
{
    return PLATFORM_STACK_BYTES;
}

static DWORD WINAPI platform_thread_main(LPVOID arg)
{
    struct platform_thread *t = (struct platform_thread *)arg;
    t->fn(t->arg);
    return 0;
}

/* *t stays where it is until the thread is joined. */
static int platform_thread_start(struct platform_thread *t, void *(*fn)(void *), void *arg,
                                 slm_error *err)
{
    t->fn = fn;
    t->arg = arg;
    t->handle = CreateThread(NULL, platform_stack_bytes(), platform_thread_main, t,
                             STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (t->handle == NULL) {
        int code = (int)GetLastError();
        SLM_FAIL(err, SLM_E_THREAD, -1, "cannot start a thread: %s (%d)", platform_reason_of(code),
                 code);
    }
    return SLM_OK;
}

static void platform_thread_join(struct platform_thread *t)
{
    WaitForSingleObject(t->handle, INFINITE);
    CloseHandle(t->handle);
}

static int platform_mutex_init(struct platform_mutex *m, slm_error *err)
{
    (void)err;
    InitializeSRWLock(&m->os);
    return SLM_OK;
}

static void platform_mutex_lock(struct platform_mutex *m)
{
    AcquireSRWLockExclusive(&m->os);
}

static void platform_mutex_unlock(struct platform_mutex *m)
{
    ReleaseSRWLockExclusive(&m->os);
}

static void platform_mutex_destroy(struct platform_mutex *m)
{
    (void)m;
}

static int platform_cond_init(struct platform_cond *c, slm_error *err)
{
    (void)err;
    InitializeConditionVariable(&c->os);
    return SLM_OK;
}

static void platform_cond_wait(struct platform_cond *c, struct platform_mutex *m)
{
    SleepConditionVariableSRW(&c->os, &m->os, INFINITE, 0);
}

static void platform_cond_broadcast(struct platform_cond *c)
{
    WakeAllConditionVariable(&c->os);
}

static void platform_cond_signal(struct platform_cond *c)
{
    WakeConditionVariable(&c->os);
}

static void platform_cond_destroy(struct platform_cond *c)
{
    (void)c;
}

#endif

#endif /* SLM_NO_THREADS */
