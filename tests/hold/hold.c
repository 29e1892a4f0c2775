// Holds a process where it writes the log of state.db. Loaded with LD_PRELOAD, controlled by files in $HOLD_FOLDER:
//
// - write, sync, synced: hold at the next write to the log, before it is made durable, or right after that
// - held: exists once the process is held; it goes on when the file above is deleted
// - durable: what of the log survives a power failure, kept up to date

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_log(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && strcmp(name, "/state.db-wal") == 0;
}

static const char *file(char *path, const char *name) {
    snprintf(path, 4096, "%s/%s", getenv("HOLD_FOLDER"), name);
    return path;
}

static void hold(const char *step) {
    char path[4096], held[4096];
    if (access(file(path, step), F_OK) != 0) return;
    close(open(file(held, "held"), O_CREAT | O_WRONLY, 0600));
    while (access(path, F_OK) == 0) usleep(1000);
}

static void keep(int fd) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one);
    char path[4096], new[4096], buffer[65536];
    int copy = open(file(new, "new"), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    ssize_t length;
    for (off_t at = 0; (length = pread(fd, buffer, sizeof buffer, at)) > 0; at += length)
        if (write(copy, buffer, length) != length) abort();
    close(copy);
    if (rename(new, file(path, "durable")) != 0) abort();
    pthread_mutex_unlock(&one);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = dlsym(RTLD_NEXT, "write");
    if (is_log(fd)) hold("write");
    return next(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    static ssize_t (*next)(int, const void *, size_t, off64_t);
    if (!next) next = dlsym(RTLD_NEXT, "pwrite64");
    if (is_log(fd)) hold("write");
    return next(fd, bytes, length, at);
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = dlsym(RTLD_NEXT, "fdatasync");
    // SQLite itself, which writes; others only flush.
    if (!is_log(fd) || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) return next(fd);
    hold("sync");
    int result = next(fd);
    if (result == 0) keep(fd);
    hold("synced");
    return result;
}
