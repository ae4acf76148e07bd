/*
 * The gym's service inside a guest: process 1, telemetry clock and hand of the schedule.
 *
 * Owns: shipping the raw contents of /proc and /sys files once a tick, carrying out timed
 * commands, and the loads that are no Debian program (leak, hog, stream, files, burst, idle).
 * Does not know: what any file means; the host parses all of it.
 *
 * Commands, one a line, on /dev/vport0p1; AT is in seconds since "go":
 *     hz N | go | AT run UNIT KIND SEED A B C | AT stop UNIT | AT write PATH VALUE |
 *     AT act PATH VALUE | AT swapon PATH | AT noop -
 * Frames on /dev/vport0p2:  FRAME <monotonic ns> <files>\n  and per file  <path> <bytes>\n<data>
 * A command is carried out after the frame of its tick was sent; "act" writes from a process of
 * its own, as a limit is enforced in the writer's time and the clock must not wait for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { UNITS = 6, FILES = 64, COMMANDS = 512, LINE = 256, OUT = 1 << 19, CHUNK = 32768 };
#define MIB (1L << 20)
#define CGROUP "/sys/fs/cgroup"
#define RESTART_S 5.0

/* What a service tells of itself; written by the load, read and reset by the agent. */
struct told {
    volatile uint64_t requests, total_us, worst_us;
};

struct unit {
    char name[32], kind[16];
    long args[4]; /* seed, A, B, C */
    pid_t pid;
    double again; /* when to start it anew; 0 = not at all */
    unsigned deaths;
};

struct command {
    double at;
    char text[LINE];
};

static struct unit units[UNITS];
static struct command commands[COMMANDS];
static struct { char path[96]; int fd; } files[FILES];
static int unit_count, command_count, file_count, tick_ms = 1000, started;
static struct told *told;
static char out[OUT];
static size_t out_len;

static void die(const char *what)
{
    perror(what);
    for (;;)
        pause();
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_until(int64_t ns)
{
    struct timespec t = { ns / 1000000000LL, ns % 1000000000LL };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static void write_file(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        perror(path);
    close(fd);
}

/* ---- loads ---------------------------------------------------------------------------------- */

static uint64_t rng_state;

static uint64_t rng(void) /* xorshift64* */
{
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * 2685821657736338717ULL;
}

static void sleep_ms(long ms)
{
    sleep_until(now_ns() + ms * 1000000LL);
}

static char *map(long bytes)
{
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        _exit(3);
    madvise(p, bytes, MADV_NOHUGEPAGE);
    return p;
}

static void touch(char *p, long from, long to)
{
    for (long at = from & ~4095L; at < to; at += 4096)
        *(uint64_t *)(p + at) = rng();
}

/* Grows by A KiB/s to B MiB, holds for C s, lets go of all, and again. */
static void leak(long rate_kib, long most_mib, long hold_s)
{
    for (;;) {
        char *p = map(most_mib * MIB);
        for (long at = 0; at < most_mib * MIB; at += rate_kib * 1024 / 10) {
            long to = at + rate_kib * 1024 / 10;
            touch(p, at, to < most_mib * MIB ? to : most_mib * MIB);
            sleep_ms(100);
        }
        sleep_ms(hold_s * 1000);
        munmap(p, most_mib * MIB);
        sleep_ms(2000 + rng() % 4000);
    }
}

/* Takes A MiB at once and touches B pages a tenth of a second, a working set that stays hot. */
static void hog(long mib, long pages)
{
    char *p = map(mib * MIB);
    touch(p, 0, mib * MIB);
    for (;;) {
        for (long i = 0; i < pages; i++)
            touch(p + rng() % (mib * 256) * 4096L, 0, 1);
        sleep_ms(100);
    }
}

static long file_size(int i, int *fd)
{
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/srv/files/%04d", i);
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    return *fd < 0 || fstat(*fd, &st) ? -1 : (long)st.st_size;
}

static void scratch_write(int fd, const char *buffer, long bytes, long most)
{
    if (lseek(fd, 0, SEEK_CUR) > most)
        lseek(fd, 0, SEEK_SET);
    if (write(fd, buffer, bytes) < 0)
        sleep_ms(100);
}

/* Reads all files in order at A KiB/s; writes B % as much into a file of C MiB. */
static void stream(long rate_kib, long written_percent, long most_mib)
{
    static char buffer[65536];
    int64_t due = now_ns(), owed = 0;
    int log = open("/srv/scratch", O_RDWR | O_CREAT | O_CLOEXEC, 0600), fd;
    for (int i = rng() % 64;; i++) {
        if (file_size(i, &fd) < 0)
            i = -1;
        for (long got; fd >= 0 && (got = read(fd, buffer, sizeof buffer)) > 0;) {
            for (owed += got * written_percent; owed > (int64_t)sizeof buffer * 100;
                 owed -= sizeof buffer * 100)
                scratch_write(log, buffer, sizeof buffer, most_mib * MIB);
            due += got * 1000000000LL / (rate_kib * 1024);
            sleep_until(due);
            if (now_ns() - due > 1000000000LL)
                due = now_ns();
        }
        close(fd);
    }
}

static uint64_t sum(const char *data, long bytes)
{
    uint64_t total = 0;
    for (long i = 0; i + 8 <= bytes; i += 64)
        total += *(const uint64_t *)(data + i);
    return total;
}

/* Answers A requests a second, each one file of the first B, the low ones oftener; C % of what
 * it reads is kept in memory as sessions that come and go. */
static void serve(struct told *mine, long rate, long count, long kept_percent)
{
    static char buffer[65536];
    long kept_bytes = 24 * MIB;
    char *kept = map(kept_bytes);
    volatile uint64_t digest = 0;
    for (int64_t due = now_ns();; sleep_until(due)) {
        due += (int64_t)(1e9 / rate * 2 * (rng() % 1024) / 1024.0);
        int64_t began = now_ns();
        double u = (rng() % 65536) / 65536.0;
        int fd;
        if (file_size((int)(count * u * u), &fd) >= 0) {
            for (long got; (got = read(fd, buffer, sizeof buffer)) > 0;) {
                digest += sum(buffer, got);
                long at = rng() % (kept_bytes - (long)sizeof buffer);
                memcpy(kept + at, buffer, got * kept_percent / 100);
            }
            close(fd);
        }
        uint64_t us = (now_ns() - began) / 1000;
        mine->requests++;
        mine->total_us += us;
        mine->worst_us = us > mine->worst_us ? us : mine->worst_us;
        if (now_ns() - due > 3000000000LL)
            due = now_ns();
    }
}

/* A MiB touched over and over for about B s, then nothing for about C s. */
static void burst(long mib, long on_s, long off_s)
{
    for (;;) {
        char *p = map(mib * MIB);
        int64_t end = now_ns() + (on_s * 500 + rng() % (on_s * 1000)) * 1000000LL;
        while (now_ns() < end) {
            touch(p, 0, mib * MIB);
            sleep_ms(100);
        }
        munmap(p, mib * MIB);
        sleep_ms(off_s * 500 + rng() % (off_s * 1000));
    }
}

static void program(const struct unit *u)
{
    char script[64], args[4][24];
    for (int i = 0; i < 4; i++)
        snprintf(args[i], sizeof args[i], "%ld", u->args[i]);
    snprintf(script, sizeof script, "/srv/loads/%s", u->kind);
    execl("/bin/sh", "sh", script, args[0], args[1], args[2], args[3], (char *)NULL);
    _exit(4);
}

static void load(const struct unit *u)
{
    const long *a = u->args;
    const char *k = u->kind;
    rng_state = (uint64_t)a[0] * 0x9E3779B97F4A7C15ULL + u->deaths + 1;
    if (!strcmp(k, "leak"))
        leak(a[1], a[2], a[3]);
    else if (!strcmp(k, "hog"))
        hog(a[1], a[2]);
    else if (!strcmp(k, "stream"))
        stream(a[1], a[2], a[3]);
    else if (!strcmp(k, "files"))
        serve(&told[u - units], a[1], a[2], a[3]);
    else if (!strcmp(k, "burst"))
        burst(a[1], a[2], a[3]);
    while (!strcmp(k, "idle"))
        sleep_ms(500 + rng() % 1000);
    program(u);
}

/* ---- units ---------------------------------------------------------------------------------- */

static void watch(const char *path)
{
    if (file_count < FILES) {
        snprintf(files[file_count].path, sizeof files[0].path, "%s", path);
        files[file_count++].fd = open(path, O_RDONLY | O_CLOEXEC);
    }
}

static struct unit *find(const char *name)
{
    static const char *const kept[] = { "memory.current", "cpu.stat", "memory.pressure", "io.stat",
                                        "memory.events" };
    char path[128];
    for (int i = 0; i < unit_count; i++)
        if (!strcmp(units[i].name, name))
            return &units[i];
    if (unit_count == UNITS)
        return NULL;
    struct unit *u = &units[unit_count++];
    snprintf(u->name, sizeof u->name, "%s", name);
    snprintf(path, sizeof path, CGROUP "/%s", name);
    mkdir(path, 0755);
    for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++) {
        snprintf(path, sizeof path, CGROUP "/%s/%s", name, kept[i]);
        watch(path);
    }
    return u;
}

static void start(struct unit *u)
{
    char path[96];
    u->again = 0;
    u->pid = fork();
    if (u->pid)
        return;
    setsid();
    snprintf(path, sizeof path, CGROUP "/%s/cgroup.procs", u->name);
    write_file(path, "0");
    load(u);
}

static void stop(struct unit *u)
{
    char path[96];
    snprintf(path, sizeof path, CGROUP "/%s/cgroup.kill", u->name);
    u->pid = 0;
    u->again = 0;
    write_file(path, "1");
}

/* A service that was killed comes back after a while, as under any supervisor. */
static void reap(double t)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < unit_count; i++)
            if (units[i].pid == pid) {
                units[i].pid = 0;
                units[i].deaths++;
                units[i].again = t + RESTART_S;
            }
    for (int i = 0; i < unit_count; i++)
        if (units[i].again && t >= units[i].again)
            start(&units[i]);
}

/* ---- frames and commands -------------------------------------------------------------------- */

static void put(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    out_len += vsnprintf(out + out_len, OUT - out_len, format, args);
    va_end(args);
}

static void put_file(int i)
{
    static char data[65536];
    ssize_t total = 0, got;
    while (files[i].fd >= 0 && total < (ssize_t)sizeof data &&
           (got = pread(files[i].fd, data + total, sizeof data - total, total)) > 0)
        total += got;
    put("%s %zd\n", files[i].path, total);
    if (out_len + total < OUT)
        memcpy(out + out_len, data, total), out_len += total;
}

static void send_frame(int port, int64_t t_ns)
{
    out_len = 0;
    put("FRAME %lld %d\n", (long long)t_ns, file_count + unit_count);
    for (int i = 0; i < file_count; i++)
        put_file(i);
    for (int i = 0; i < unit_count; i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "%llu %llu %llu %u\n",
                         (unsigned long long)told[i].requests, (unsigned long long)told[i].total_us,
                         (unsigned long long)told[i].worst_us, units[i].deaths);
        told[i].worst_us = 0;
        put("/gym/%s %d\n%s", units[i].name, n, text);
    }
    for (size_t at = 0; at < out_len;) {
        ssize_t n = write(port, out + at, out_len - at < CHUNK ? out_len - at : CHUNK);
        if (n <= 0)
            die("frame");
        at += n;
    }
}

static void obey(char *text)
{
    char *verb = strsep(&text, " "), *first = strsep(&text, " ");
    struct unit *u;
    if (!first || !strcmp(verb, "noop"))
        return;
    if (!strcmp(verb, "write")) {
        write_file(first, text ? text : "");
    } else if (!strcmp(verb, "act")) {
        if (!fork()) {
            write_file(first, text ? text : "");
            _exit(0);
        }
    } else if (!strcmp(verb, "swapon")) {
        if (swapon(first, 0))
            perror(first);
    } else if ((u = find(first)) && !strcmp(verb, "stop")) {
        stop(u);
    } else if (u && !strcmp(verb, "run")) {
        sscanf(text ? text : "", "%15s %ld %ld %ld %ld", u->kind, &u->args[0], &u->args[1],
               &u->args[2], &u->args[3]);
        start(u);
    }
}

static void accept_line(const char *line)
{
    struct command *c = &commands[command_count];
    int at = 0, hz;
    if (!strcmp(line, "go"))
        started = 1;
    else if (sscanf(line, "hz %d", &hz) == 1 && hz > 0)
        tick_ms = 1000 / hz;
    else if (command_count < COMMANDS && sscanf(line, "%lf %n", &c->at, &at) == 1 && at) {
        snprintf(c->text, LINE, "%s", line + at);
        command_count++;
    }
}

static void read_commands(int port)
{
    static char line[LINE];
    static size_t len;
    char data[4096];
    for (ssize_t got; (got = read(port, data, sizeof data)) > 0;)
        for (ssize_t i = 0; i < got; i++) {
            if (data[i] != '\n') {
                len += len + 1 < LINE ? (line[len] = data[i], 1) : 0;
                continue;
            }
            line[len] = 0;
            len = 0;
            accept_line(line);
        }
}

static void carry_out(double t)
{
    char text[LINE];
    for (int i = 0; i < command_count; i++)
        if (commands[i].at >= 0 && commands[i].at <= t) {
            commands[i].at = -1;
            snprintf(text, LINE, "%s", commands[i].text);
            obey(text);
        }
}

static void prepare(void)
{
    static const char *const always[] = {
        "/proc/stat",         "/proc/meminfo",          "/proc/vmstat",
        "/proc/loadavg",      "/proc/pressure/cpu",     "/proc/pressure/memory",
        "/proc/pressure/io",  "/proc/diskstats",        "/proc/sys/fs/file-nr",
        CGROUP "/cgroup.controllers"
    };
    struct sched_param fifo = { .sched_priority = 50 };
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED || mount("none", CGROUP, "cgroup2", 0, NULL))
        die(CGROUP);
    write_file(CGROUP "/cgroup.subtree_control", "+memory +cpu +io");
    for (unsigned i = 0; i < sizeof always / sizeof *always; i++)
        watch(always[i]);
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &fifo);
    mlockall(MCL_CURRENT | MCL_FUTURE);
}

int main(void)
{
    /* The kernel found no console in the initramfs, and programs want descriptors 0 to 2. */
    while (open("/dev/console", O_RDWR) >= 0 && fcntl(2, F_GETFD) < 0)
        ;
    int in = open("/dev/vport0p1", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int port = open("/dev/vport0p2", O_WRONLY | O_CLOEXEC);
    if (in < 0 || port < 0)
        die("/dev/vport0p1, p2");
    prepare();
    if (write(port, "READY\n", 6) != 6)
        die("ready");
    while (!started) {
        sleep_ms(100);
        read_commands(in);
    }
    int64_t began = now_ns();
    for (int64_t tick = 0;; tick++) {
        sleep_until(began + tick * tick_ms * 1000000LL);
        double t = (now_ns() - began) / 1e9;
        read_commands(in);
        send_frame(port, now_ns());
        carry_out(t + tick_ms / 2000.0);
        reap(t);
    }
}
