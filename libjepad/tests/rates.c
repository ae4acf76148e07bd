/* SPDX-License-Identifier: Apache-2.0
 *
 * rates publish|publish-clock|read BYTES BLOCKS: the ring beside a bare memcpy over the same kind
 * of memory, block about block; prints the ratio of speeds, ring / memcpy.
 * publish has its time stamp from the caller, publish-clock looks at the clock for each record.
 * rates crowd THREADS RECORDS: the time of one publish while nobody waits and while THREADS
 * wait; prints p50 and p99 of both, in ns, phases alternating.
 */
#define _GNU_SOURCE
#include "rig.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define BLOCK_BYTES (UINT64_C(4) << 20)
#define PHASES 10
#define GAP_NS 200000

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(double *values, size_t count, double q) {
  qsort(values, count, sizeof *values, by_value);
  return values[(size_t)(q * (double)(count - 1))];
}

static jepad_writer *ring(const char *name, uint64_t bytes, uint64_t slots, jepad_reader **r) {
  char path[128];
  rig_path(path, name);
  const struct jepad_layout layout = rig_layout(name, bytes / 8, slots);
  jepad_writer *w = rig_writer(path, &layout);
  if (r) *r = rig_reader(path);
  return w;
}

/* ---- one core, no contention: what the protocol adds to a copy ---- */

struct bench {
  jepad_writer *w, *plain; /* `plain` is the same object, used as bare memory */
  jepad_reader *r, *bare;
  uint8_t *local;
  uint64_t stamp; /* 0: each publish reads the clock */
  uint64_t bytes, ops, at; /* both sides step through the slots at the same pace */
};

static uint64_t ring_block(const struct bench *b, bool publish) {
  const struct jepad_meta meta = {.t_capture_ns = 1, .t_publish_ns = b->stamp};
  struct jepad_view view;
  const uint64_t oldest = b->w->next - b->r->mask - 1;
  const uint64_t start = jepad_now_ns();
  for (uint64_t i = 0; i < b->ops; i++) {
    if (publish)
      jepad_publish(b->w, b->local, b->bytes, &meta);
    else if (jepad_read(b->r, oldest + ((b->at + i) & b->r->mask), b->local, b->bytes, &view) != JEPAD_OK)
      rig_die("read", "lapped with no writer about");
  }
  return jepad_now_ns() - start;
}

static uint64_t bare_block(const struct bench *b, bool publish) {
  const uint64_t start = jepad_now_ns();
  for (uint64_t i = 0; i < b->ops; i++) {
    const uint64_t offset = ((b->at + i) & b->plain->mask) * b->plain->stride;
    uint8_t *at = b->plain->data + offset;
    if (publish)
      memcpy(at, b->local, b->bytes);
    else
      memcpy(b->local, b->bare->data + offset, b->bytes);
    __asm__ volatile("" : : "r"(at), "r"(b->local) : "memory");
  }
  return jepad_now_ns() - start;
}

static void swap_roles(struct bench *b) {
  jepad_writer *w = b->w;
  jepad_reader *r = b->r;
  b->w = b->plain;
  b->r = b->bare;
  b->plain = w;
  b->bare = r;
}

/* Each object plays both parts, as one may have the luckier pages; of each part's times the
 * tenth percentile counts, as the machine may be busy with other things. */
static double speed_ratio(uint64_t bytes, int blocks, bool publish, bool stamped) {
  const uint64_t slots = bytes < 65536 ? 64 : 4;
  struct bench b = {.stamp = stamped, .bytes = bytes, .ops = BLOCK_BYTES / bytes + 1};
  double *took[2] = {calloc((size_t)blocks, sizeof(double)), calloc((size_t)blocks, sizeof(double))};
  b.local = aligned_alloc(4096, (bytes + 4095) & ~UINT64_C(4095));
  if (!took[0] || !took[1] || !b.local) rig_die("malloc", "no memory");
  memset(b.local, 1, bytes);
  b.w = ring("ring", bytes, slots, &b.r);
  b.plain = ring("plain", bytes, slots, &b.bare);
  const struct jepad_meta meta = {0};
  for (uint64_t i = 0; i < 2 * slots; i++) { /* every page is touched before the clock runs */
    jepad_publish(b.w, b.local, bytes, &meta);
    jepad_publish(b.plain, b.local, bytes, &meta);
  }
  for (int i = 0; i < blocks; i++) {
    for (int part = 0; part < 2; part++) {
      const bool bare = (part + i) % 2;
      took[bare][i] = (double)(bare ? bare_block(&b, publish) : ring_block(&b, publish));
    }
    b.at += b.ops;
    if (i % 2) swap_roles(&b);
  }
  jepad_writer_close(b.w, 1);
  jepad_writer_close(b.plain, 1);
  return quantile(took[1], (size_t)blocks, 0.1) / quantile(took[0], (size_t)blocks, 0.1);
}

/* ---- a crowd of waiters ---- */

struct gate {
  _Atomic uint32_t open; /* 1: wait on the ring; 0: wait here */
};

static jepad_reader *crowd_reader;
static struct gate *crowd_gate;

static void *loiter(void *unused) {
  _Atomic uint32_t *word = (_Atomic uint32_t *)(uintptr_t)&crowd_reader->live->notify;
  for (;;) {
    if (atomic_load(&crowd_gate->open))
      syscall(SYS_futex, word, FUTEX_WAIT, atomic_load(word), NULL, NULL, 0);
    else
      syscall(SYS_futex, &crowd_gate->open, FUTEX_WAIT, 0, NULL, NULL, 0);
  }
  return unused;
}

static pid_t start_crowd(int threads, const char *path) {
  const pid_t child = fork();
  if (child) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  crowd_reader = rig_reader(path);
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 32768);
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, &attr, loiter, NULL)) rig_die("pthread_create", "too many threads");
  }
  for (;;) pause();
}

static void *notifier(void *w) {
  jepad_notifier_run(w);
  return NULL;
}

static void pause_ns(long ns) {
  const struct timespec t = {0, ns};
  nanosleep(&t, NULL);
}

static void phase(jepad_writer *w, const uint8_t *payload, double *took, size_t records) {
  const struct jepad_meta meta = {0};
  for (size_t i = 0; i < records; i++) {
    const uint64_t start = jepad_now_ns();
    jepad_publish(w, payload, RIG_WORDS * 8, &meta);
    jepad_kick(w);
    took[i] = (double)(jepad_now_ns() - start);
    pause_ns(GAP_NS);
  }
}

static int crowd(int threads, size_t records) {
  char path[128];
  pthread_t waker;
  uint8_t *payload = calloc(RIG_WORDS, 8);
  double *took[2] = {calloc(records, sizeof(double)), calloc(records, sizeof(double))};
  if (!payload || !took[0] || !took[1]) rig_die("malloc", "no memory");
  rig_path(path, "crowd");
  jepad_writer *w = ring("crowd", RIG_WORDS * 8, 64, NULL);
  crowd_gate = rig_shared(sizeof *crowd_gate);
  const pid_t child = start_crowd(threads, path);
  pthread_create(&waker, NULL, notifier, w);
  const size_t each = records / PHASES;
  for (size_t i = 0; i < 2 * PHASES; i++) {
    atomic_store(&crowd_gate->open, (uint32_t)(i % 2));
    syscall(SYS_futex, &crowd_gate->open, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    jepad_notify(w);
    pause_ns(300000000);
    phase(w, payload, took[i % 2] + i / 2 * each, each);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  jepad_notifier_stop(w);
  pthread_join(waker, NULL);
  jepad_writer_close(w, 1);
  const size_t count = each * PHASES;
  printf("{\"alone_p50\": %.0f, \"alone_p99\": %.0f, ", quantile(took[0], count, 0.5),
         quantile(took[0], count, 0.99));
  printf("\"crowd_p50\": %.0f, \"crowd_p99\": %.0f}\n", quantile(took[1], count, 0.5),
         quantile(took[1], count, 0.99));
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4) rig_die("usage", "rates publish|publish-clock|read|crowd SIZE COUNT");
  const uint64_t size = strtoull(argv[2], NULL, 10);
  const int count = atoi(argv[3]);
  if (strcmp(argv[1], "crowd") == 0) return crowd((int)size, (size_t)count);
  const bool stamped = strcmp(argv[1], "publish") == 0;
  const bool publish = stamped || strcmp(argv[1], "publish-clock") == 0;
  printf("{\"ratio\": %.4f}\n", speed_ratio(size, count, publish, stamped));
  return 0;
}
