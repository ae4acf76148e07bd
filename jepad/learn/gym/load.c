/* A load of a chosen kind, for the gym's control groups.
 *
 *   load KIND [key=value...]
 *
 * leak    size= MB, rate= MB/s   takes memory until size, holds it a while, gives it back
 * hog     size= MB               walks and writes its memory without rest
 * stream  file= size= rate=      reads a file from end to end, again and again
 * thrash  file= size=            maps a file and reads it at random, in sets that grow beyond the group
 * flood   file= size= rate=      brings a file into the page cache in waves, with pauses
 * burst   size= MB               works for some seconds, rests for some
 * idle                           ten wake-ups a second
 * ask     port= path=            HTTP requests to 127.0.0.1, ten a second
 * Also: seed=.  Ten times a second it prints "OPS WORST": operations so far and the longest one
 * since the last line, in microseconds.  It never waits for whoever reads that.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS INT64_C(100000000)
#define MIB ((size_t)1 << 20)
#define PAGE ((size_t)4096)

static struct {
	size_t size;
	double rate;
	const char *file;
	const char *path;
	int port;
	uint64_t random;
} load = {.size = 64 * MIB, .rate = 0, .file = "", .path = "/", .port = 0, .random = 1};

static uint64_t ops;
static int64_t worst_ns;
static int64_t told_ns;

static void fail(const char *format, ...)
{
	va_list words;

	va_start(words, format);
	fputs("load: ", stderr);
	vfprintf(stderr, format, words);
	fputc('\n', stderr);
	va_end(words);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* xorshift64*: the twin of a session draws the same numbers. */
static uint64_t draw(uint64_t below)
{
	load.random ^= load.random >> 12;
	load.random ^= load.random << 25;
	load.random ^= load.random >> 27;
	return (load.random * UINT64_C(2685821657736338717) >> 11) % below;
}

static void tell(void)
{
	char line[64];
	int64_t t = now_ns();

	if (t - told_ns < TICK_NS)
		return;
	told_ns = t;
	int n = snprintf(line, sizeof line, "%" PRIu64 " %" PRId64 "\n", ops, worst_ns / 1000);
	/* A full pipe loses the line, not the load's time. */
	if (write(STDOUT_FILENO, line, (size_t)n) < 0 && errno != EAGAIN)
		exit(0);
	worst_ns = 0;
}

static void rest(double seconds)
{
	int64_t end = now_ns() + (int64_t)(seconds * 1e9);

	while (now_ns() < end) {
		int64_t left = end - now_ns();
		struct timespec t = {0, left < TICK_NS ? (left > 0 ? left : 0) : TICK_NS - 1};
		nanosleep(&t, NULL);
		tell();
	}
}

static void done(int64_t began_ns)
{
	int64_t took = now_ns() - began_ns;

	ops++;
	if (took > worst_ns)
		worst_ns = took;
	tell();
}

/* Sleep as long as `bytes` should have taken at the wished rate. */
static void pace(size_t bytes, int64_t began_ns)
{
	if (load.rate <= 0)
		return;
	double left = (double)bytes / (load.rate * MIB) - (double)(now_ns() - began_ns) * 1e-9;
	if (left > 0)
		rest(left);
}

static char *take(size_t bytes)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("no memory of %zu bytes", bytes);
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

static void touch(char *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		memory[i] = (char)(memory[i] + 1);
}

static void leak(void)
{
	for (;;) {
		char *memory = take(load.size);
		for (size_t held = 0; held + MIB <= load.size; held += MIB) {
			int64_t began = now_ns();
			touch(memory + held, MIB);
			done(began);
			pace(MIB, began);
		}
		rest(2 + (double)draw(8));
		munmap(memory, load.size);
		rest(1 + (double)draw(4));
	}
}

static void hog(void)
{
	char *memory = take(load.size);

	for (;;)
		for (size_t at = 0; at + MIB <= load.size; at += MIB) {
			int64_t began = now_ns();
			for (int i = 0; i < 20; i++)
				touch(memory + at, MIB);
			done(began);
		}
}

static void burst(void)
{
	for (;;) {
		size_t size = load.size / 4 + draw(load.size * 3 / 4);
		char *memory = take(size);
		int64_t end = now_ns() + (int64_t)(2 + draw(9)) * INT64_C(1000000000);

		while (now_ns() < end) {
			int64_t began = now_ns();
			touch(memory, size);
			done(began);
		}
		munmap(memory, size);
		rest(1 + (double)draw(12));
	}
}

static int opened(void)
{
	int fd = open(load.file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("%s: %s", load.file, strerror(errno));
	return fd;
}

/* One pass over the file's first `size` bytes. */
static void pass(int fd, size_t size)
{
	static char part[MIB];

	for (size_t at = 0; at + MIB <= size; at += MIB) {
		int64_t began = now_ns();
		if (pread(fd, part, MIB, (off_t)at) < 0)
			fail("%s: %s", load.file, strerror(errno));
		done(began);
		pace(MIB, began);
	}
}

/* The same without copying: the pages come into the cache, nobody looks at them. */
static void ahead(int fd, size_t size)
{
	for (size_t at = 0; at + MIB <= size; at += MIB) {
		int64_t began = now_ns();
		for (size_t part = 0; part < MIB; part += 32 * PAGE)
			readahead(fd, (off_t)(at + part), 32 * PAGE);
		done(began);
		pace(MIB, began);
	}
}

static void stream(void)
{
	int fd = opened();

	for (;;)
		pass(fd, load.size);
}

static void flood(void)
{
	int fd = opened();

	for (;;) {
		ahead(fd, load.size / 2 + draw(load.size / 2));
		rest(5 + (double)draw(20));
	}
}

/* Read a set of pages at random for so long, while the set grows from one size to another. */
static void wander(const char *map, size_t from, size_t to, uint64_t seconds)
{
	volatile char sink = 0;
	int64_t start = now_ns(), length = (int64_t)seconds * INT64_C(1000000000), past;

	while ((past = now_ns() - start) < length) {
		size_t set = from + (size_t)((double)(to - from) * (double)past / (double)length);
		int64_t began = now_ns();
		for (int i = 0; i < 64; i++)
			sink ^= map[draw(set) * PAGE];
		done(began);
	}
}

static void thrash(void)
{
	int fd = opened();
	const char *map = mmap(NULL, load.size, PROT_READ, MAP_SHARED, fd, 0);
	size_t pages = load.size / PAGE;

	if (map == MAP_FAILED)
		fail("%s: %s", load.file, strerror(errno));
	for (;;) {
		/* From a set that fits the group, slowly to one that doesn't: a stall with a past. */
		size_t calm = pages / 8 + draw(pages / 4);
		size_t most = pages * 6 / 10 + draw(pages * 4 / 10);

		wander(map, calm, calm, 10 + draw(30));
		wander(map, calm, most, 10 + draw(30));
		wander(map, most, most, 5 + draw(20));
		rest((double)draw(10));
	}
}

static void idle(void)
{
	for (;;) {
		int64_t began = now_ns();
		rest(0.1);
		done(began);
	}
}

/* Send the request and read the answer to its end; false when the service doesn't answer. */
static int asked(const char *request)
{
	static char part[65536];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
	struct timeval patience = {5, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ok = 0;

	if (fd < 0)
		fail("no socket: %s", strerror(errno));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
	    send(fd, request, strlen(request), MSG_NOSIGNAL) > 0) {
		ssize_t n, all = 0;
		while ((n = recv(fd, part, sizeof part, 0)) > 0)
			all += n;
		ok = n == 0 && all > 0;
	}
	close(fd);
	return ok;
}

static void ask(void)
{
	char request[256];

	for (;;) {
		int64_t began = now_ns();
		snprintf(request, sizeof request, "GET %s%u HTTP/1.0\r\n\r\n", load.path,
			 (unsigned)draw(64));
		if (!asked(request) && now_ns() - began < TICK_NS)
			rest(0.1); /* refused: it is not up yet */
		else
			done(began);
		rest(0.1);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} kinds[] = {{"leak", leak},   {"hog", hog},     {"stream", stream}, {"thrash", thrash},
	     {"flood", flood}, {"burst", burst}, {"idle", idle},     {"ask", ask}};

static void set(const char *word)
{
	const char *value = strchr(word, '=');

	if (!value)
		fail("%s: not key=value", word);
	value++;
	if (!strncmp(word, "size=", 5))
		load.size = strtoull(value, NULL, 10) * MIB;
	else if (!strncmp(word, "rate=", 5))
		load.rate = strtod(value, NULL);
	else if (!strncmp(word, "file=", 5))
		load.file = value;
	else if (!strncmp(word, "path=", 5))
		load.path = value;
	else if (!strncmp(word, "port=", 5))
		load.port = atoi(value);
	else if (!strncmp(word, "seed=", 5))
		load.random = strtoull(value, NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) | 1;
	else
		fail("%s: no such key", word);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		fail("name a kind");
	for (int i = 2; i < argc; i++)
		set(argv[i]);
	if (load.size < 8 * MIB)
		fail("size= is in MB, 8 at least");
	fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (!strcmp(argv[1], kinds[i].name))
			kinds[i].run();
	fail("%s: no such kind", argv[1]);
}
