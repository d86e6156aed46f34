/* Records what a process does to the files below $POWERCUT_ROOT, in order, into $POWERCUT_LOG.

   Loaded with LD_PRELOAD. Each record is a line, for a write followed by its bytes:

       P                       a process begins
       O fd flags path         opened ("c" created where missing, "t" emptied, "d" a directory, "-" neither)
       W fd offset length      written
       T fd size               truncated or extended
       S fd                    flushed; recorded when the kernel has said so
       R from to               renamed
       U path                  removed
       C fd                    closed

   One lock is held over operation and record, so that the order is the true one. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;
static const char *root;
static char known[4096];

#define REAL(name, type, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

static ssize_t raw(int fd, const void *bytes, size_t length) {
    REAL(write, ssize_t, int, const void *, size_t)
    return real(fd, bytes, length);
}

static int below(const char *path) { return out >= 0 && path && root && !strncmp(path, root, strlen(root)); }
static int ours(int fd) { return out >= 0 && fd >= 0 && fd < 4096 && known[fd]; }

static void record(const char *format, ...) {
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (raw(out, line, length) != length) abort();
}

__attribute__((constructor)) static void begin(void) {
    root = getenv("POWERCUT_ROOT");
    const char *path = getenv("POWERCUT_LOG");
    if (!root || !path) return;
    int (*real_open)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    out = real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (out >= 0) record("P\n");
}

static int opened(int fd, const char *path, int flags, int there) {
    struct stat facts;
    if (fd < 0 || fd >= 4096) return fd;
    int directory = !fstat(fd, &facts) && S_ISDIR(facts.st_mode);
    known[fd] = 1;
    char how = directory ? 'd' : (flags & O_TRUNC) ? 't' : !there ? 'c' : '-';
    record("O %d %c %s\n", fd, how, path);
    return fd;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name, int, const char *, int, ...) \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = (flags & O_CREAT) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        if (!below(path)) return real(path, flags, mode); \
        pthread_mutex_lock(&lock); \
        int there = !access(path, F_OK); \
        int fd = opened(real(path, flags, mode), path, flags, there); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(name, int, int, const char *, int, ...) \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = (flags & O_CREAT) ? va_arg(arguments, mode_t) : 0; \
        va_end(arguments); \
        if (!below(path)) return real(at, path, flags, mode); \
        pthread_mutex_lock(&lock); \
        int there = !access(path, F_OK); \
        int fd = opened(real(at, path, flags, mode), path, flags, there); \
        pthread_mutex_unlock(&lock); \
        return fd; \
    }
OPENAT(openat)
OPENAT(openat64)

static void wrote(int fd, const void *bytes, off_t offset, ssize_t length) {
    if (length <= 0) return;
    record("W %d %lld %lld\n", fd, (long long)offset, (long long)length);
    if (raw(out, bytes, length) != length) abort();
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!ours(fd)) return raw(fd, bytes, length);
    pthread_mutex_lock(&lock);
    ssize_t done = raw(fd, bytes, length);
    if (done > 0) wrote(fd, bytes, lseek(fd, 0, SEEK_CUR) - done, done);
    pthread_mutex_unlock(&lock);
    return done;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *bytes, size_t length, off_t offset) { \
        REAL(name, ssize_t, int, const void *, size_t, off_t) \
        if (!ours(fd)) return real(fd, bytes, length, offset); \
        pthread_mutex_lock(&lock); \
        ssize_t done = real(fd, bytes, length, offset); \
        wrote(fd, bytes, offset, done); \
        pthread_mutex_unlock(&lock); \
        return done; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name) \
    int name(int fd, off_t size) { \
        REAL(name, int, int, off_t) \
        if (!ours(fd)) return real(fd, size); \
        pthread_mutex_lock(&lock); \
        int result = real(fd, size); \
        if (!result) record("T %d %lld\n", fd, (long long)size); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name) \
    int name(int fd) { \
        REAL(name, int, int) \
        if (!ours(fd)) return real(fd); \
        pthread_mutex_lock(&lock); \
        int result = getenv("POWERCUT_QUICK") ? 0 : real(fd); \
        if (!result) record("S %d\n", fd); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
SYNC(fsync)
SYNC(fdatasync)

int rename(const char *from, const char *to) {
    REAL(rename, int, const char *, const char *)
    if (!below(to)) return real(from, to);
    pthread_mutex_lock(&lock);
    int result = real(from, to);
    if (!result) record("R %s %s\n", from, to);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    REAL(unlink, int, const char *)
    if (!below(path)) return real(path);
    pthread_mutex_lock(&lock);
    int result = real(path);
    if (!result) record("U %s\n", path);
    pthread_mutex_unlock(&lock);
    return result;
}

int close(int fd) {
    REAL(close, int, int)
    if (!ours(fd)) return real(fd);
    pthread_mutex_lock(&lock);
    known[fd] = 0;
    record("C %d\n", fd);
    int result = real(fd);
    pthread_mutex_unlock(&lock);
    return result;
}
