/* sweep_host.h - the host of test_sweep: the allocator and every call of the system that slm makes, each
 * of which counts and refuses on demand. Brings slm.c, built upon it, and cmocka. */
#ifndef SWEEP_HOST_H
#define SWEEP_HOST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- The host, which refuses on demand ------------------------------------------------------- */

enum host_call {
    HOST_HEAP,
    HOST_OPEN,
    HOST_STAT,
    HOST_SEEK,
    HOST_MAP,
    HOST_READ,
    HOST_CALLBACK,
    HOST_ATTR,
    HOST_STACK,
    HOST_THREAD,
    HOST_LOCK,
    HOST_CALLS
};

/* Faults that are no errno. */
#define HOST_SHORT (-1) /* one byte */
#define HOST_END (-2)   /* no byte */
#define HOST_WILD (-3)  /* a callback that claims more than it was asked for */

static struct {
    enum host_call call; /* what is refused, with code, from call number at (0: never) */
    int code;
    int64_t at;
    int lasting; /* and ever after */
    int64_t calls[HOST_CALLS];
    int64_t n_files, n_maps; /* open */
    int64_t n_attrs;         /* of threads, not destroyed */
    int32_t n_threads;       /* running; atomic */
} host;

/* 0, or the code of the fault for this call. */
static int host_fault(enum host_call call)
{
    int64_t n = ++host.calls[call];
    if (call != host.call || host.at == 0 || n < host.at || (n > host.at && !host.lasting)) {
        return 0;
    }
    return host.code;
}

static int host_open(const char *path, int flags)
{
    int code = host_fault(HOST_OPEN);
    int fd = -1;
    if (code == 0) {
        fd = open(path, flags);
        host.n_files += fd >= 0;
    } else {
        errno = code;
    }
    return fd;
}

static int host_close(int fd)
{
    host.n_files--;
    return close(fd);
}

static int host_stat(int fd, struct stat *info)
{
    int code = host_fault(HOST_STAT);
    if (code != 0) {
        errno = code;
        return -1;
    }
    return fstat(fd, info);
}

static int64_t host_seek(int fd, int64_t offset, int whence)
{
    int code = host_fault(HOST_SEEK);
    if (code != 0) {
        errno = code;
        return -1;
    }
    return (int64_t)lseek(fd, (off_t)offset, whence);
}

static long host_read(int fd, void *buffer, size_t size, int64_t offset)
{
    int code = host_fault(HOST_READ);
    if (code > 0) {
        errno = code;
        return -1;
    }
    if (code == HOST_END) {
        return 0;
    }
    return (long)pread(fd, buffer, code == HOST_SHORT ? 1 : size, (off_t)offset);
}

static void *host_map(size_t size, int fd)
{
    int code = host_fault(HOST_MAP);
    if (code != 0) {
        errno = code;
        return MAP_FAILED;
    }
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    host.n_maps += p != MAP_FAILED;
    return p;
}

static int host_unmap(void *p, size_t size)
{
    host.n_maps--;
    return munmap(p, size);
}

static int host_attr(pthread_attr_t *attr)
{
    int code = host_fault(HOST_ATTR);
    code = code != 0 ? code : pthread_attr_init(attr);
    host.n_attrs += code == 0;
    return code;
}

static int host_attr_stack(pthread_attr_t *attr, size_t size)
{
    int code = host_fault(HOST_STACK);
    return code != 0 ? code : pthread_attr_setstacksize(attr, size);
}

static int host_attr_destroy(pthread_attr_t *attr)
{
    host.n_attrs--;
    return pthread_attr_destroy(attr);
}

struct host_thread {
    void *(*fn)(void *);
    void *arg;
};

static void *host_thread_main(void *arg)
{
    struct host_thread t = *(struct host_thread *)arg;
    free(arg);
    void *result = t.fn(t.arg);
    __atomic_sub_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
    return result;
}

static int host_thread(pthread_t *id, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    int code = host_fault(HOST_THREAD);
    struct host_thread *t = code == 0 ? (struct host_thread *)malloc(sizeof *t) : NULL;
    if (t == NULL) {
        return code != 0 ? code : EAGAIN;
    }
    t->fn = fn;
    t->arg = arg;
    __atomic_add_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
    code = pthread_create(id, attr, host_thread_main, t);
    if (code != 0) {
        __atomic_sub_fetch(&host.n_threads, 1, __ATOMIC_SEQ_CST);
        free(t);
    }
    return code;
}

static int host_mutex(pthread_mutex_t *mutex)
{
    int code = host_fault(HOST_LOCK);
    return code != 0 ? code : pthread_mutex_init(mutex, NULL);
}

static int host_cond(pthread_cond_t *cond)
{
    int code = host_fault(HOST_LOCK);
    return code != 0 ? code : pthread_cond_init(cond, NULL);
}

#define PLATFORM_OPEN(path, flags) host_open(path, flags)
#define PLATFORM_CLOSE(fd) host_close(fd)
#define PLATFORM_FSTAT(fd, info) host_stat(fd, info)
#define PLATFORM_LSEEK(fd, offset, whence) host_seek(fd, offset, whence)
#define PLATFORM_PREAD(fd, buffer, size, offset) host_read(fd, buffer, size, offset)
#define PLATFORM_MMAP(size, fd) host_map(size, fd)
#define PLATFORM_MUNMAP(address, size) host_unmap(address, size)
#define PLATFORM_ATTR_INIT(attr) host_attr(attr)
#define PLATFORM_ATTR_STACK(attr, size) host_attr_stack(attr, size)
#define PLATFORM_ATTR_DESTROY(attr) host_attr_destroy(attr)
#define PLATFORM_THREAD_CREATE(id, attr, fn, arg) host_thread(id, attr, fn, arg)
#define PLATFORM_MUTEX_INIT(mutex) host_mutex(mutex)
#define PLATFORM_COND_INIT(cond) host_cond(cond)
#include "../slm.c"

#include "calls.h"
#include "counting.h"
#include "gguf_build.h"

static struct counting heap;

static void *host_alloc(void *user, void *ptr, size_t old_size, size_t new_size, size_t align)
{
    if (new_size != 0 && host_fault(HOST_HEAP) != 0) {
        return NULL;
    }
    return counting_alloc(user, ptr, old_size, new_size, align);
}

/* The read callback of slm_model_open_callback; user is the array of files. */
static int64_t host_callback(void *user, int32_t file, uint64_t offset, void *buffer, size_t size)
{
    const struct build *b = &((const struct build *)user)[file];
    int code = host_fault(HOST_CALLBACK);
    if (code > 0) {
        return -1;
    }
    if (code == HOST_END || code == HOST_WILD) {
        return code == HOST_END ? 0 : (int64_t)size + 1;
    }
    size = code == HOST_SHORT ? 1 : size;
    assert_true(offset <= b->file.size && size <= b->file.size - offset);
    memcpy(buffer, b->file.data + offset, size);
    return (int64_t)size;
}

#endif
