/* The start of the program: puts the tree of files that it carries on a disk, once, and becomes the program.
 *
 * The tree is a Python with all its modules; see __main__.py for what is in it. It goes to a directory named
 * after its content, so that a start that finds it there unpacks nothing. Everything below the base directory
 * is done under a lock on that directory, which the kernel gives up however this process ends:
 *
 *     base/program-<hash>     complete: it was renamed to this name after its last file was written
 *     base/program-partial    what a launcher that was killed has left; the next one removes it
 *
 * A running program keeps a lock on its own directory. A start removes all others that nobody holds: what was
 * unpacked does not pile up, and no program loses its files while it runs.
 *
 * This process becomes the program (execve), it does not wait for it: there is one process, with the process
 * ID that systemd knows, and what the launcher took of memory is given back.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zlib.h>

#define PREFIX "program-"
#define PROGRAM PREFIX HASH
#define PARTIAL PREFIX "partial"
#define VARIABLE "SPEGEL_UNPACK_DIR"

/* What archive.py packs: a line for every directory and file, "<mode> <size> <path>", where a directory has no
 * mode (0) and comes before what is in it; and the content of all files, one after another, in zlib's format. */
__asm__(".section .rodata\n"
        "listing: .incbin \"" LISTING "\"\n"
        ".byte 0\n"
        "content: .incbin \"" CONTENT "\"\n"
        "content_end:\n"
        ".previous\n");
extern const char listing[];
extern unsigned char content[], content_end[];

struct entry {
    mode_t mode;
    size_t size;
    char path[256];
};

/* Why the last base directory that was tried cannot be used. */
static char reason[PATH_MAX + 200];

__attribute__((format(printf, 1, 2))) static int because(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vsnprintf(reason, sizeof reason, format, values);
    va_end(values);
    return -1;
}

/* Reads the line at *line and moves on to the next one; false at the end. */
static bool next_entry(const char **line, struct entry *entry) {
    int length;
    if (sscanf(*line, "%o %zu %255[^\n]%n", &entry->mode, &entry->size, entry->path, &length) != 3) return false;
    *line += length + 1;
    return true;
}

/* Tells whether all files are there in their size. After a loss of power a file system may have kept the
 * directory's new name, but not yet what was written to the files: those are too short then. */
static bool is_complete(int program) {
    struct entry entry;
    struct stat found;
    for (const char *line = listing; next_entry(&line, &entry);)
        if (entry.mode && (fstatat(program, entry.path, &found, AT_SYMLINK_NOFOLLOW) ||
                           !S_ISREG(found.st_mode) || (size_t)found.st_size != entry.size))
            return false;
    return true;
}

/* Fills a buffer with what comes next of the content. */
static int inflate_next(z_stream *stream, unsigned char *buffer, size_t size) {
    stream->next_out = buffer;
    stream->avail_out = (unsigned)size;
    int result = inflate(stream, Z_SYNC_FLUSH);
    if ((result == Z_OK || result == Z_STREAM_END) && stream->avail_out == 0) return 0;
    errno = EBADMSG;
    return -1;
}

static int write_all(int file, const unsigned char *bytes, size_t size) {
    while (size > 0) {
        ssize_t count = write(file, bytes, size);
        if (count < 0) return -1;
        bytes += count;
        size -= (size_t)count;
    }
    return 0;
}

/* Writes the next file of the content. */
static int write_file(int directory, const struct entry *entry, z_stream *stream) {
    static unsigned char buffer[1 << 16];
    int file = openat(directory, entry->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, entry->mode);
    if (file < 0) return -1;
    int result = 0;
    for (size_t left = entry->size, step; result == 0 && left > 0; left -= step) {
        step = left < sizeof buffer ? left : sizeof buffer;
        result = inflate_next(stream, buffer, step) || write_all(file, buffer, step) ? -1 : 0;
    }
    int error = errno;
    close(file);
    errno = error;
    return result;
}

/* Writes all directories and files; what was damaged on its way here is noticed by the content's checksum. */
static int write_tree(int directory) {
    z_stream stream = {.next_in = content, .avail_in = (unsigned)(content_end - content)};
    struct entry entry;
    int result = inflateInit(&stream) == Z_OK ? 0 : -1;
    for (const char *line = listing; result == 0 && next_entry(&line, &entry);)
        result = entry.mode ? write_file(directory, &entry, &stream) : mkdirat(directory, entry.path, 0755);
    int error = errno;
    if (result == 0 && inflate(&stream, Z_FINISH) != Z_STREAM_END) {
        error = EBADMSG;
        result = -1;
    }
    inflateEnd(&stream);
    errno = error;
    return result;
}

/* Removes a file, or a directory with all that is in it. */
static int remove_all(int parent, const char *name) {
    if (!unlinkat(parent, name, 0) || errno == ENOENT) return 0;
    int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = directory < 0 ? NULL : fdopendir(directory);
    if (!listing) return -1;
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(listing));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            result = remove_all(directory, entry->d_name);
    closedir(listing);
    return result ? result : unlinkat(parent, name, AT_REMOVEDIR);
}

/* Has the kernel drop the content from memory, which is this service's as long as it is in the page cache. */
static void forget_content(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)content + page - 1) / page * page, end = (uintptr_t)content_end / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0) return;
    posix_fadvise(self, 0, 0, POSIX_FADV_DONTNEED);
    close(self);
}

static int unpack(int base) {
    if (remove_all(base, PARTIAL) || remove_all(base, PROGRAM) || mkdirat(base, PARTIAL, 0755)) return -1;
    int partial = openat(base, PARTIAL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (partial < 0) return -1;
    int result = write_tree(partial);
    int error = errno;
    close(partial);
    forget_content();
    if (result == 0) return renameat(base, PARTIAL, base, PROGRAM);
    remove_all(base, PARTIAL); /* the disk may be full: not with this */
    errno = error;
    return -1;
}

/* Removes the programs of other versions that nobody runs. That one cannot be removed is not worth a word:
 * the next start tries again. */
static void sweep(int base) {
    int copy = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) || !strcmp(entry->d_name, PROGRAM)) continue;
        int other = openat(base, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (other < 0) continue;
        if (!flock(other, LOCK_EX | LOCK_NB)) remove_all(base, entry->d_name);
        close(other);
    }
    closedir(listing);
}

/* Opens a directory that nobody else can write to, and that programs can be run from. */
static int open_base(const char *path) {
    if (mkdir(path, 0755) && errno != EEXIST) return because("%s: %s", path, strerror(errno));
    int base = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (base < 0) return because("%s: %s", path, strerror(errno));
    struct stat owner;
    struct statvfs system;
    if (fstat(base, &owner) || fstatvfs(base, &system))
        because("%s: %s", path, strerror(errno));
    else if (owner.st_uid != geteuid() || owner.st_mode & (S_IWGRP | S_IWOTH))
        because("%s: it is another user's, or others can write to it", path);
    else if (system.f_flag & ST_NOEXEC)
        because("%s: its file system is mounted noexec", path);
    else
        return base;
    close(base);
    return -1;
}

/* Returns the program's directory, locked and complete. */
static int program_in(const char *path) {
    int base = open_base(path);
    if (base < 0) return -1;
    int program = -1;
    if (flock(base, LOCK_EX) == 0) {
        program = openat(base, PROGRAM, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (program < 0 || !is_complete(program)) {
            if (program >= 0) close(program);
            program = unpack(base) ? -1 : openat(base, PROGRAM, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        }
    }
    if (program < 0 || flock(program, LOCK_SH))
        because("%s: %s", path, errno == EBADMSG ? "the program's own file is damaged" : strerror(errno));
    else
        sweep(base);
    close(base);
    return program;
}

static char *joined(const char *first, const char *second) {
    char *result;
    if (asprintf(&result, "%s%s", first, second) < 0) abort();
    return result;
}

/* Sets *base to the directory that the program's is in. */
static int find_program(char **base) {
    const char *chosen = getenv(VARIABLE);
    if (chosen && *chosen) return program_in(*base = joined(chosen, ""));
    /* Memory is dear and /tmp may be memory: disks first. */
    const char *temporary = getenv("TMPDIR");
    char own[32];
    snprintf(own, sizeof own, "/spegel-%u", geteuid());
    char *places[] = {joined("/var/lib/spegel/", "program"), joined(temporary ? temporary : "/var/tmp", own),
                      joined("/var/tmp", own), joined("/tmp", own)};
    for (size_t number = 0; number < sizeof places / sizeof *places; number++) {
        int program = program_in(*base = places[number]);
        if (program >= 0) return program;
    }
    return -1;
}

int main(int argc, char **argv) {
    char *base;
    mode_t mask = umask(022);
    if (find_program(&base) < 0) {
        fprintf(stderr, "spegel: cannot be unpacked to %s; " VARIABLE " names another directory\n", reason);
        return 1;
    }
    umask(mask);

    /* -I: no variable and no directory of the user's has a say; -S: all modules are in one place;
     * utf8: also where no locale is set. */
    char *directory = joined(base, "/" PROGRAM);
    char *const options[] = {joined(directory, "/bin/spegel"), "-I", "-S", "-X", "utf8", "-m", "daemon"};
    size_t count = sizeof options / sizeof *options;
    char **arguments = calloc(count + (size_t)argc, sizeof *arguments);
    if (!arguments) abort();
    memcpy(arguments, options, sizeof options);
    for (int number = 1; number < argc; number++) arguments[count++] = argv[number];
    setenv("LD_LIBRARY_PATH", joined(directory, "/lib"), 1);
    execv(options[0], arguments);
    fprintf(stderr, "spegel: %s: %s\n", options[0], strerror(errno));
    return 1;
}
