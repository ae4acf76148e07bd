/* SPDX-License-Identifier: Apache-2.0
 *
 * kill ROUNDS: for each point of publishing, creating and taking over, ROUNDS times, a writer is
 * killed there and a next one takes over, under four readers that opened the stream once.
 * Prints kills, and bad reads, epoch regressions and remaps: those must be 0.
 */
#define _GNU_SOURCE
#include "rig.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define READERS 4
#define WORDS 64
#define SLOTS 4
#define PUBLISH_POINTS 7
#define FAULT_CREATED_EMPTY 7
#define FAULT_BEFORE_MAGIC 8
#define FAULT_BEFORE_EPOCH 9
#define FAULT_BEFORE_UNLINK 10

struct counts {
  _Atomic uint64_t reads, bad, regressions, remaps, stop;
};

static char path[128];

/* Publishes until it dies at the point, or `records` times. The number goes on where it stopped. */
static void write_until(int point, uint64_t after, uint64_t records, uint64_t slots) {
  uint64_t words[WORDS];
  const struct jepad_meta meta = {0};
  jepad_fault_point = point;
  jepad_fault_after = after;
  const struct jepad_layout layout = rig_layout("kill", WORDS, slots);
  jepad_writer *w = rig_writer(path, &layout);
  for (uint64_t i = 0; i < records; i++) {
    rig_fill(words, WORDS, w->next);
    jepad_publish(w, words, sizeof words, &meta);
    jepad_notify(w);
  }
  jepad_writer_close(w, 0);
}

static bool dies(int point, uint64_t after, uint64_t slots) {
  const pid_t child = fork();
  if (child == 0) {
    write_until(point, after, after + 8, slots);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void read_on(struct counts *sum) {
  uint64_t copy[WORDS], epoch = 0, last = 0;
  struct stat first, now;
  jepad_reader *r = rig_reader(path);
  if (stat(path, &first) != 0) rig_die("stat", path);
  while (!atomic_load(&sum->stop)) {
    struct jepad_view view;
    jepad_wait(r, last + 1, 2000000, 0);
    const uint64_t newer = jepad_epoch(r);
    if (newer < epoch) atomic_fetch_add(&sum->regressions, 1);
    epoch = newer;
    int rc = jepad_read_latest(r, copy, sizeof copy, &view);
    if (rc == JEPAD_E_LAPPED || rc == JEPAD_E_EMPTY) continue;
    atomic_fetch_add(&sum->reads, 1);
    if (rc || !rig_whole(copy, WORDS, view.n) || view.n < last) atomic_fetch_add(&sum->bad, 1);
    last = view.n;
  }
  if (stat(path, &now) != 0 || now.st_ino != first.st_ino) atomic_fetch_add(&sum->remaps, 1);
  jepad_reader_close(r);
}

static uint64_t publish_matrix(int rounds) {
  uint64_t kills = 0;
  for (int round = 0; round < rounds; round++) {
    for (int point = 0; point < PUBLISH_POINTS; point++) kills += dies(point, (uint64_t)round % 11, SLOTS);
    kills += dies(FAULT_BEFORE_EPOCH, 0, SLOTS);
  }
  return kills;
}

/* Without readers, as nobody can have opened an object that is not there yet. */
static uint64_t create_matrix(int rounds) {
  uint64_t kills = 0;
  for (int round = 0; round < rounds; round++) {
    unlink(path);
    kills += dies(FAULT_CREATED_EMPTY, 0, SLOTS);
    kills += dies(FAULT_BEFORE_MAGIC, 0, SLOTS);
    kills += dies(-1, 0, SLOTS); /* adds none: this one must live */
    kills += dies(FAULT_BEFORE_UNLINK, 0, 2 * SLOTS);
    kills += dies(-1, 0, 2 * SLOTS);
  }
  return kills;
}

int main(int argc, char **argv) {
  if (argc != 2) rig_die("usage", "kill ROUNDS");
  const int rounds = atoi(argv[1]);
  char lock[160];
  struct counts *sum = rig_shared(sizeof *sum);
  rig_path(path, "kill");
  snprintf(lock, sizeof lock, "%s.lock", path);
  const uint64_t creations = create_matrix(rounds);
  unlink(path);
  write_until(-1, 0, 3, SLOTS);
  for (int i = 0; i < READERS; i++) {
    if (fork() == 0) {
      read_on(sum);
      _exit(0);
    }
  }
  const uint64_t kills = publish_matrix(rounds);
  atomic_store(&sum->stop, 1);
  int failed = 0, status;
  while (wait(&status) > 0) failed |= status;
  unlink(path);
  unlink(lock);
  const bool all = kills == (uint64_t)rounds * (PUBLISH_POINTS + 1) && creations == (uint64_t)rounds * 3;
  printf("{\"kills\": %llu, \"creation_kills\": %llu, \"reads\": %llu, \"bad\": %llu, \"regressions\": %llu, \"remaps\": %llu}\n",
         (unsigned long long)kills, (unsigned long long)creations, (unsigned long long)sum->reads,
         (unsigned long long)sum->bad, (unsigned long long)sum->regressions,
         (unsigned long long)sum->remaps);
  return failed || !all || sum->bad || sum->regressions || sum->remaps;
}
