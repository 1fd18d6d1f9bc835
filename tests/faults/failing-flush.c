// SPDX-License-Identifier: MIT
/*
 * A library for LD_PRELOAD that makes fsync and fdatasync of chosen files fail with EIO, and that can lose what such a flush should have
 * stored, as a kernel does.
 *
 *     gcc -shared -fPIC -O2 -o failing-flush.so failing-flush.c -ldl
 *     FLEECE_FAULTS=./faults LD_PRELOAD=./failing-flush.so dotnet ...
 *
 * The file that FLEECE_FAULTS names holds one line, which is read before each flush and each write; without the file nothing fails:
 *
 *     NUMBER FIRST TIMES DROPS PATH
 *
 *     NUMBER  another one than before begins to count flushes anew
 *     FIRST   the first flush to fail; the first one of all is 1
 *     TIMES   how many fail from there on; 0 for all
 *     DROPS   1 to take back what was written since the last flush that worked
 *     PATH    how the paths of the files end
 *
 * Only what pwrite stored is taken back, not lengths and holes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct undo {
    struct undo *earlier;
    int fd;
    off_t offset;
    size_t length;
    char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct undo *unflushed;
static long number = -1;
static long flushes;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);

__attribute__((constructor)) static void find_real(void)
{
    real_fsync = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    real_pwrite = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite64");
}

static int is_meant(int fd, long *first, long *times, long *drops)
{
    const char *control = getenv("FLEECE_FAULTS");
    FILE *file = control ? fopen(control, "re") : NULL;
    char end[2048], link[64], path[4096];
    long now;
    int fields = file ? fscanf(file, "%ld %ld %ld %ld %2047[^\n]", &now, first, times, drops, end) : 0;
    if (file) fclose(file);
    if (fields != 5) return 0;
    if (now != number) {
        number = now;
        flushes = 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < (ssize_t)strlen(end)) return 0;
    path[length] = 0;
    return strcmp(path + length - strlen(end), end) == 0;
}

/* Takes the writes to one file off the list, newest first; they are put back as they were, or forgotten. */
static void end_writes(int fd, int take_back)
{
    for (struct undo **at = &unflushed; *at;) {
        struct undo *write = *at;
        if (write->fd != fd) {
            at = &write->earlier;
            continue;
        }
        if (take_back && real_pwrite(fd, write->bytes, write->length, write->offset) < 0) perror("failing-flush");
        *at = write->earlier;
        free(write);
    }
}

static int flush(int fd, int (*real)(int))
{
    long first, times, drops;
    int before = errno;
    pthread_mutex_lock(&lock);
    int meant = is_meant(fd, &first, &times, &drops);
    int fails = meant && ++flushes >= first && (times == 0 || flushes < first + times);
    int result = fails ? -1 : real(fd);
    int error = fails ? EIO : result ? errno : before;
    if (meant) end_writes(fd, fails && drops);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

int fsync(int fd) { return flush(fd, real_fsync); }

int fdatasync(int fd) { return flush(fd, real_fdatasync); }

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset)
{
    long first, times, drops;
    pthread_mutex_lock(&lock);
    if (is_meant(fd, &first, &times, &drops) && drops) {
        struct undo *write = calloc(1, sizeof *write + length);
        if (!write) abort();
        *write = (struct undo){ unflushed, fd, offset, length };
        if (pread(fd, write->bytes, length, offset) < 0) perror("failing-flush");
        unflushed = write;
    }
    ssize_t result = real_pwrite(fd, bytes, length, offset);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }
