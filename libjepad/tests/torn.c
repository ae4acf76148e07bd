/* SPDX-License-Identifier: Apache-2.0
 *
 * torn READERS VALIDATED TORN: readers race a writer over two slots until together they have
 * validated that many records and rejected that many that were truly torn.
 * Prints validated, rejected, truly torn among those, and torn but undetected: that one must be 0.
 */
#define _GNU_SOURCE
#include "rig.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#define WORDS 128 /* 1 KiB: long enough to be torn, short enough for many looks */
#define GIVE_UP UINT64_C(2000000000) /* looks in all: a bound where no reader ever meets a tear */

struct counts {
  _Atomic uint64_t validated, rejected, torn, undetected, looks;
};

/* Looks half-way in the copy: a yield there lets the writer in, also on a single core. */
static void look(const jepad_reader *r, uint64_t *copy, uint64_t step, struct counts *sum) {
  struct jepad_view view;
  atomic_fetch_add_explicit(&sum->looks, 1, memory_order_relaxed);
  if (jepad_view_latest(r, &view) != JEPAD_OK) return;
  memcpy(copy, view.payload, WORDS * 4);
  if (step % 512 == 0) sched_yield();
  memcpy(copy + WORDS / 2, (const uint64_t *)view.payload + WORDS / 2, WORDS * 4);
  const bool accepted = jepad_check(r, &view) == JEPAD_OK;
  const bool whole = rig_whole(copy, WORDS, view.n);
  atomic_fetch_add_explicit(accepted ? &sum->validated : &sum->rejected, 1, memory_order_relaxed);
  if (!whole)
    atomic_fetch_add_explicit(accepted ? &sum->undetected : &sum->torn, 1, memory_order_relaxed);
}

static void read_on(const char *path, uint64_t wanted, uint64_t torn, struct counts *sum) {
  uint64_t copy[WORDS];
  jepad_reader *r = rig_reader(path);
  for (uint64_t step = 0;; step++) {
    look(r, copy, step, sum);
    if (step % 64) continue;
    if (atomic_load(&sum->looks) > GIVE_UP) break;
    if (atomic_load(&sum->validated) >= wanted && atomic_load(&sum->torn) >= torn) break;
  }
  jepad_reader_close(r);
}

static void write_on(jepad_writer *w) {
  uint64_t words[WORDS];
  const struct jepad_meta meta = {0};
  for (uint64_t n = 0;; n++) {
    rig_fill(words, WORDS, n);
    jepad_publish(w, words, sizeof words, &meta);
  }
}

int main(int argc, char **argv) {
  if (argc != 4) rig_die("usage", "torn READERS VALIDATED TORN");
  char path[128];
  rig_path(path, "torn");
  struct counts *sum = rig_shared(sizeof *sum);
  const struct jepad_layout layout = rig_layout("torn", WORDS, 2);
  jepad_writer *w = rig_writer(path, &layout);
  const pid_t writer = fork();
  if (writer == 0) write_on(w);
  const int readers = atoi(argv[1]);
  for (int i = 0; i < readers; i++) {
    if (fork() == 0) {
      read_on(path, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), sum);
      _exit(0);
    }
  }
  int failed = 0;
  for (int i = 0; i < readers; i++) {
    int status;
    wait(&status);
    failed |= status;
  }
  kill(writer, SIGKILL);
  waitpid(writer, NULL, 0);
  jepad_writer_close(w, 1);
  printf("{\"validated\": %llu, \"rejected\": %llu, \"torn_rejected\": %llu, \"torn_undetected\": %llu}\n",
         (unsigned long long)sum->validated, (unsigned long long)sum->rejected,
         (unsigned long long)sum->torn, (unsigned long long)sum->undetected);
  return failed || sum->undetected != 0;
}
