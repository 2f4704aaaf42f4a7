/* What the crash laboratory sees of a process's input and output below one directory.
 *
 * Preloaded (LD_PRELOAD); asleep until shim_watch() is called. Then every call that changes a file
 * or a name below the root is, in order and one at a time, counted, perhaps made the last one,
 * perhaps refused, carried out, and written to a trace with its data.
 *
 * Not looked at: the shared memory of the WAL index (never durable), run/ (sockets), commit.lock.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC, SYNC_DIRECTORY, CREATE, LINK, UNLINK, RENAME, MKDIR, RMDIR, MARK };

struct record {
    uint32_t kind, path_octets, other_octets, data_octets;
    uint64_t inode;
    int64_t at;
};

static char root[PATH_MAX];
static size_t root_octets;
static int trace = -1;
static long calls;
static long die_at = -1, die_torn;
static long fail_from = -1, fail_until;
static int fail_errno;
static unsigned fail_kinds;
static unsigned lie_kinds;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

/* ---- control, called through ctypes ---- */

void shim_watch(const char *directory, const char *trace_file) {
    snprintf(root, sizeof root, "%s/", directory);
    root_octets = strlen(root);
    calls = 0;
    if (trace >= 0) syscall(SYS_close, trace);
    trace = trace_file ? (int)syscall(SYS_openat, AT_FDCWD, trace_file,
                                      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)
                       : -1;
}

void shim_die(long at, long torn) { die_at = at < 0 ? -1 : calls + at; die_torn = torn; }

void shim_fail(long from, long until, int number, unsigned kinds) {
    fail_from = from < 0 ? -1 : calls + from;
    fail_until = calls + until;
    fail_errno = number;
    fail_kinds = kinds;
}

void shim_lie(unsigned kinds) { lie_kinds = kinds; }

long shim_calls(void) { return calls; }

/* ---- which calls concern us ---- */

static const char *inside(const char *path) {
    if (!root_octets || strncmp(path, root, root_octets) != 0) return NULL;
    const char *rest = path + root_octets;
    size_t octets = strlen(rest);
    if (octets >= 4 && strcmp(rest + octets - 4, "-shm") == 0) return NULL;
    if (strcmp(rest, "commit.lock") == 0 || strstr(rest, "/commit.lock")) return NULL;
    if (strncmp(rest, "run/", 4) == 0 || strstr(rest, "/run/")) return NULL;
    return rest;
}

static int named(int fd, char *buffer) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t octets = syscall(SYS_readlinkat, AT_FDCWD, link, buffer, PATH_MAX - 1);
    buffer[octets < 0 ? 0 : octets] = 0;
    return octets > 0;
}

static const char *of_fd(int fd, char *buffer) {
    return root_octets && named(fd, buffer) ? inside(buffer) : NULL;
}

static const char *of_path(int directory, const char *path, char *buffer) {
    if (!root_octets || !path) return NULL;
    if (path[0] == '/') return inside(path);
    if (directory == AT_FDCWD) return NULL;
    if (!named(directory, buffer)) return NULL;
    size_t octets = strlen(buffer);
    snprintf(buffer + octets, PATH_MAX - octets, "/%s", path);
    return inside(buffer);
}

/* ---- one call at a time ---- */

static void enter(void) {
    pthread_mutex_lock(&gate);
    if (trace >= 0) flock(trace, LOCK_EX);
}

static void leave(void) {
    int kept = errno;
    if (trace >= 0) flock(trace, LOCK_UN);
    pthread_mutex_unlock(&gate);
    errno = kept;
}

static void die(void) { syscall(SYS_exit_group, 86); }

/* Returns whether the call is refused. A torn last write is the business of `torn`. */
static int counted(unsigned kind) {
    long number = calls++;
    if (number == die_at && !(die_torn && kind == WRITE)) die();
    if (fail_from >= 0 && number >= fail_from && number < fail_until && (fail_kinds >> kind & 1)) {
        errno = fail_errno;
        return 1;
    }
    return 0;
}

static int is_last(void) { return calls - 1 == die_at; }

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

static uint64_t inode_at(int directory, const char *path) {
    struct stat found;
    return fstatat(directory, path, &found, AT_SYMLINK_NOFOLLOW) == 0 ? found.st_ino : 0;
}

static void note(uint32_t kind, uint64_t inode, int64_t at, const char *path, const char *other,
                 const void *data, size_t octets) {
    if (trace < 0) return;
    struct record record = {kind, path ? strlen(path) : 0, other ? strlen(other) : 0, octets, inode, at};
    struct iovec pieces[4] = {{&record, sizeof record},
                              {(void *)path, record.path_octets},
                              {(void *)other, record.other_octets},
                              {(void *)data, octets}};
    int kept = errno;
    if (syscall(SYS_writev, trace, pieces, 4) < 0) die();
    errno = kept;
}

void shim_mark(const char *text) {
    enter();
    note(MARK, 0, 0, text, NULL, NULL, 0);
    leave();
}

/* ---- data ---- */

static ssize_t written(int fd, const void *data, size_t octets, int64_t at, int is_positioned) {
    char buffer[PATH_MAX];
    if (!of_fd(fd, buffer))
        return is_positioned ? syscall(SYS_pwrite64, fd, data, octets, at)
                             : syscall(SYS_write, fd, data, octets);
    enter();
    ssize_t done = -1;
    if (!counted(WRITE)) {
        if (!is_positioned) at = syscall(SYS_lseek, fd, 0, SEEK_CUR);
        size_t some = octets;
        if (is_last()) some = (octets / 2 + 511) / 512 * 512;
        if (is_last() && octets <= 512) die(); /* one sector is written or not */
        done = is_positioned ? syscall(SYS_pwrite64, fd, data, some, at)
                             : syscall(SYS_write, fd, data, some);
        if (is_last()) die();
        if (done > 0) note(WRITE, inode_of(fd), at, NULL, NULL, data, done);
    }
    leave();
    return done;
}

ssize_t write(int fd, const void *data, size_t octets) { return written(fd, data, octets, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t octets, off_t at) {
    return written(fd, data, octets, at, 1);
}
ssize_t pwrite64(int fd, const void *data, size_t octets, off64_t at) {
    return written(fd, data, octets, at, 1);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    char buffer[PATH_MAX];
    if (!of_fd(fd, buffer)) return syscall(SYS_writev, fd, pieces, count);
    ssize_t total = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = written(fd, pieces[i].iov_base, pieces[i].iov_len, 0, 0);
        if (done < 0) return total ? total : done;
        total += done;
        if ((size_t)done < pieces[i].iov_len) break;
    }
    return total;
}

static int cut(int fd, int64_t octets) {
    char buffer[PATH_MAX];
    if (!of_fd(fd, buffer)) return syscall(SYS_ftruncate, fd, octets);
    enter();
    int result = counted(TRUNCATE) ? -1 : (int)syscall(SYS_ftruncate, fd, octets);
    if (result == 0) note(TRUNCATE, inode_of(fd), octets, NULL, NULL, NULL, 0);
    leave();
    return result;
}

int ftruncate(int fd, off_t octets) { return cut(fd, octets); }
int ftruncate64(int fd, off64_t octets) { return cut(fd, octets); }

/* Only makes a file longer: told as TRUNCATE when it does. */
static int allocated(int fd, int mode, int64_t from, int64_t octets) {
    char buffer[PATH_MAX];
    if (!of_fd(fd, buffer)) return syscall(SYS_fallocate, fd, mode, from, octets);
    enter();
    int result = counted(TRUNCATE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, from, octets);
    struct stat found;
    if (result == 0 && fstat(fd, &found) == 0)
        note(TRUNCATE, found.st_ino, found.st_size, NULL, NULL, NULL, 0);
    leave();
    return result;
}

int fallocate(int fd, int mode, off_t from, off_t octets) { return allocated(fd, mode, from, octets); }
int fallocate64(int fd, int mode, off64_t from, off64_t octets) {
    return allocated(fd, mode, from, octets);
}
int posix_fallocate(int fd, off_t from, off_t octets) {
    return allocated(fd, 0, from, octets) ? errno : 0;
}
int posix_fallocate64(int fd, off64_t from, off64_t octets) {
    return allocated(fd, 0, from, octets) ? errno : 0;
}

static int synced(int fd, long number) {
    char buffer[PATH_MAX];
    const char *path = of_fd(fd, buffer);
    struct stat found;
    if (!path && root_octets && strncmp(buffer, root, root_octets - 1) == 0 &&
        buffer[root_octets - 1] == 0)
        path = "";
    if (!path || fstat(fd, &found) != 0) return syscall(number, fd);
    int kind = S_ISDIR(found.st_mode) ? SYNC_DIRECTORY : SYNC;
    if (lie_kinds >> kind & 1) return 0;
    enter();
    int result = counted(kind) ? -1 : (int)syscall(number, fd);
    if (result == 0) note(kind, found.st_ino, 0, path, NULL, NULL, 0);
    leave();
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* ---- names ---- */

static int opened(int directory, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *name = flags & (O_CREAT | O_TRUNC) ? of_path(directory, path, buffer) : NULL;
    if (!name) return syscall(SYS_openat, directory, path, flags, mode);
    struct stat found;
    enter();
    int is_new = fstatat(directory, path, &found, 0) != 0;
    int is_cut = !is_new && flags & O_TRUNC;
    int result = -1;
    if (!((is_new || is_cut) && counted(is_new ? CREATE : TRUNCATE)))
        result = syscall(SYS_openat, directory, path, flags, mode);
    if (result >= 0 && is_new) note(CREATE, inode_of(result), 0, name, NULL, NULL, 0);
    if (result >= 0 && is_cut) note(TRUNCATE, found.st_ino, 0, NULL, NULL, NULL, 0);
    leave();
    return result;
}

#define MODE(flags)                                   \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
        va_list rest;                                 \
        va_start(rest, flags);                        \
        mode = va_arg(rest, mode_t);                  \
        va_end(rest);                                 \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }

static int linked(int from_at, const char *from, int to_at, const char *to, int flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *name = of_path(to_at, to, two);
    if (!name) return syscall(SYS_linkat, from_at, from, to_at, to, flags);
    enter();
    int result = counted(LINK) ? -1 : (int)syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (result == 0) note(LINK, inode_at(to_at, to), 0, name, of_path(from_at, from, one), NULL, 0);
    leave();
    return result;
}

int link(const char *from, const char *to) { return linked(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    return linked(from_at, from, to_at, to, flags);
}

static int unlinked(int at, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *name = of_path(at, path, buffer);
    if (!name) return syscall(SYS_unlinkat, at, path, flags);
    enter();
    int kind = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    int result = counted(kind) ? -1 : (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0) note(kind, 0, 0, name, NULL, NULL, 0);
    leave();
    return result;
}

int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return unlinked(at, path, flags); }
int rmdir(const char *path) { return unlinked(AT_FDCWD, path, AT_REMOVEDIR); }

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char one[PATH_MAX], two[PATH_MAX];
    const char *old = of_path(from_at, from, one), *name = of_path(to_at, to, two);
    if (!name && !old) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    enter();
    int result = counted(RENAME) ? -1 : (int)syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (result == 0) note(RENAME, inode_at(to_at, to), 0, name, old, NULL, 0);
    leave();
    return result;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return renamed(from_at, from, to_at, to, 0);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return renamed(from_at, from, to_at, to, flags);
}

static int made(int at, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *name = of_path(at, path, buffer);
    if (!name) return syscall(SYS_mkdirat, at, path, mode);
    enter();
    int result = counted(MKDIR) ? -1 : (int)syscall(SYS_mkdirat, at, path, mode);
    if (result == 0) note(MKDIR, inode_at(at, path), 0, name, NULL, NULL, 0);
    leave();
    return result;
}

int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return made(at, path, mode); }
