/* Records what a process does to the files below a folder, in the order in which it is done.

   Loaded by LD_PRELOAD. RECORD_ROOT is the folder, RECORD_LOG the file for the record, which must be
   elsewhere. A record is a header and two byte strings; tests/system/power/recording.py reads it.
   Calls that change files and are not understood end the process: a gap would prove nothing. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/types.h>
#include <unistd.h>

struct header { char kind; char rest[7]; uint64_t inode, offset, first, second; };

static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static const char *root;
static int record = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__)) dlsym(RTLD_NEXT, #name)

static ssize_t really_write(int file, const void *from, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    return real(file, from, size);
}

static int really_open(const char *path, int flags, mode_t mode) {
    REAL(int, open64, const char *, int, ...);
    return real(path, flags, mode);
}

static void give_up(const char *why) {
    really_write(2, why, strlen(why));
    really_write(2, " is not recorded\n", 17);
    _exit(99);
}

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("RECORD_LOG");
    root = getenv("RECORD_ROOT");
    if (root && log) record = really_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    unsetenv("LD_PRELOAD"); /* programs that this one starts change nothing there */
}

static void put(const void *from, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t more = really_write(record, (const char *) from + done, size - done);
        if (more < 0) give_up("a full disk");
        done += more;
    }
}

static void note(char kind, uint64_t inode, uint64_t offset, const void *first, size_t length,
                 const void *second, size_t second_length) {
    struct header header = {kind, {0}, inode, offset, length, second_length};
    int error = errno;
    put(&header, sizeof header);
    put(first, length);
    put(second, second_length);
    errno = error;
}

static int is_below(const char *path) {
    size_t length = strlen(root);
    return !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

/* Whether the file is one that is recorded; fills in its inode. */
static int knows(int file, uint64_t *inode) {
    char name[64], path[PATH_MAX];
    struct stat status;
    if (record < 0 || file == record) return 0;
    int error = errno;
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length > 0) path[length] = 0;
    int known = length > 0 && is_below(path) && !fstat(file, &status);
    if (known) *inode = status.st_ino;
    errno = error;
    return known;
}

/* The absolute path, or NULL if it is not one that is recorded. */
static const char *place(int folder, const char *path, char *found) {
    if (record < 0) return NULL;
    if (path[0] == '/') return is_below(path) ? path : NULL;
    char name[64];
    if (folder == AT_FDCWD) strcpy(name, "/proc/self/cwd");
    else snprintf(name, sizeof name, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(name, found, PATH_MAX / 2);
    if (length <= 0) return NULL;
    snprintf(found + length, PATH_MAX - length, "/%s", path);
    return is_below(found) ? found : NULL;
}

/* What is to be looked for besides, by the program: an acknowledgement. */
void record_mark(const char *text, size_t length) {
    if (record < 0) return;
    pthread_mutex_lock(&lock);
    note('!', 0, 0, text, length, "", 0);
    pthread_mutex_unlock(&lock);
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    REAL(int, openat64, int, const char *, int, ...);
    char buffer[PATH_MAX];
    const char *where = flags & (O_CREAT | O_TRUNC) ? place(folder, path, buffer) : NULL;
    if (!where) return real(folder, path, flags, mode);
    struct stat status;
    pthread_mutex_lock(&lock);
    int is_new = lstat(where, &status) < 0;
    int file = real(folder, path, flags, mode);
    if (file >= 0 && !fstat(file, &status)) {
        if (is_new) note('c', status.st_ino, 0, where, strlen(where), "", 0);
        else if (flags & O_TRUNC) note('t', status.st_ino, 0, "", 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return file;
}

#define OPEN(name, parameters, folder) \
    int name parameters { \
        mode_t mode = 0; \
        if (flags & O_CREAT) { \
            va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
        } \
        return opened(folder, path, flags, mode); \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder)

static ssize_t written(int file, const void *from, ssize_t size, uint64_t inode, off_t offset) {
    if (size > 0) note('w', inode, offset, from, size, "", 0);
    pthread_mutex_unlock(&lock);
    return size;
}

ssize_t write(int file, const void *from, size_t size) {
    uint64_t inode;
    if (!knows(file, &inode)) return really_write(file, from, size);
    struct stat status;
    pthread_mutex_lock(&lock);
    off_t offset = lseek(file, 0, SEEK_CUR);
    if (fcntl(file, F_GETFL) & O_APPEND && !fstat(file, &status)) offset = status.st_size;
    return written(file, from, really_write(file, from, size), inode, offset);
}

#define PWRITE(name) \
    ssize_t name(int file, const void *from, size_t size, off_t offset) { \
        REAL(ssize_t, name, int, const void *, size_t, off_t); \
        uint64_t inode; \
        if (!knows(file, &inode)) return real(file, from, size, offset); \
        pthread_mutex_lock(&lock); \
        return written(file, from, real(file, from, size, offset), inode, offset); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define TRUNCATE(name) \
    int name(int file, off_t size) { \
        REAL(int, name, int, off_t); \
        uint64_t inode; \
        if (!knows(file, &inode)) return real(file, size); \
        pthread_mutex_lock(&lock); \
        int result = real(file, size); \
        if (!result) note('t', inode, size, "", 0, "", 0); \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name) \
    int name(int file) { \
        REAL(int, name, int); \
        uint64_t inode; \
        if (!knows(file, &inode)) return real(file); \
        pthread_mutex_lock(&lock); \
        note('s', inode, 0, "", 0, "", 0); /* of files that end with the test, so never waited for */ \
        pthread_mutex_unlock(&lock); \
        return 0; \
    }
SYNC(fsync)
SYNC(fdatasync)

#define PATHS(name, kind, parameters, arguments, folder, path, other_folder, other) \
    int name parameters { \
        static int (*real) parameters; if (!real) real = (int (*) parameters) dlsym(RTLD_NEXT, #name); \
        char one[PATH_MAX], two[PATH_MAX]; \
        const char *first = place(folder, path, one); \
        const char *second = place(other_folder, other, two); \
        if (!first && !second) return real arguments; \
        if (!first || !second) give_up(#name " into or out of the folder"); \
        struct stat status = {0}; \
        pthread_mutex_lock(&lock); \
        int result = real arguments; \
        if (!result) { \
            lstat(second, &status); \
            note(kind, status.st_ino, 0, first, strlen(first), second, strlen(second)); \
        } \
        pthread_mutex_unlock(&lock); \
        return result; \
    }
PATHS(rename, 'r', (const char *old, const char *new), (old, new), AT_FDCWD, old, AT_FDCWD, new)
PATHS(renameat, 'r', (int from, const char *old, int to, const char *new), (from, old, to, new),
      from, old, to, new)
PATHS(link, 'l', (const char *old, const char *new), (old, new), AT_FDCWD, old, AT_FDCWD, new)
PATHS(linkat, 'l', (int from, const char *old, int to, const char *new, int flags),
      (from, old, to, new, flags), from, old, to, new)
PATHS(mkdir, 'm', (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, AT_FDCWD, path)
PATHS(mkdirat, 'm', (int folder, const char *path, mode_t mode), (folder, path, mode),
      folder, path, folder, path)
PATHS(unlink, 'u', (const char *path), (path), AT_FDCWD, path, AT_FDCWD, path)
PATHS(rmdir, 'u', (const char *path), (path), AT_FDCWD, path, AT_FDCWD, path)
PATHS(unlinkat, 'u', (int folder, const char *path, int flags), (folder, path, flags),
      folder, path, folder, path)

/* Not used by what is tried. */
#define REFUSE(type, name, parameters, arguments, file) \
    type name parameters { \
        static type (*real) parameters; if (!real) real = (type (*) parameters) dlsym(RTLD_NEXT, #name); \
        uint64_t inode; \
        if (knows(file, &inode)) give_up(#name); \
        return real arguments; \
    }
REFUSE(ssize_t, writev, (int file, const struct iovec *from, int count), (file, from, count), file)
REFUSE(ssize_t, pwritev, (int file, const struct iovec *from, int count, off_t offset),
       (file, from, count, offset), file)
REFUSE(ssize_t, sendfile, (int file, int from, off_t *offset, size_t size),
       (file, from, offset, size), file)
REFUSE(ssize_t, sendfile64, (int file, int from, off_t *offset, size_t size),
       (file, from, offset, size), file)
REFUSE(ssize_t, copy_file_range,
       (int from, off_t *start, int file, off_t *offset, size_t size, unsigned flags),
       (from, start, file, offset, size, flags), file)
REFUSE(int, fallocate, (int file, int mode, off_t offset, off_t size), (file, mode, offset, size),
       file)
REFUSE(int, posix_fallocate, (int file, off_t offset, off_t size), (file, offset, size), file)
