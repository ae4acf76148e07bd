/* SPDX-License-Identifier: Apache-2.0
 * What the test programs share: a stream of words that show whether they belong together. */
#ifndef JEPAD_RIG_H
#define JEPAD_RIG_H

#include "../jepad_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RIG_WORDS 512 /* 4 KiB */

static inline void rig_die(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(2);
}

static inline void rig_path(char path[128], const char *what) {
  snprintf(path, 128, "/dev/shm/jepad-test-c-%d.%s", (int)getpid(), what);
}

static inline struct jepad_layout rig_layout(const char *name, uint64_t words, uint64_t slots) {
  struct jepad_layout layout = {.name = name, .dtype_code = JEPAD_UINT, .bits = 64, .lanes = 1,
                                .ndim = 1, .shape = {words}, .slot_count = slots,
                                .schema = "{}", .schema_len = 2};
  return layout;
}

static inline jepad_writer *rig_writer(const char *path, const struct jepad_layout *layout) {
  char err[JEPAD_ERR_SIZE];
  jepad_writer *w;
  const struct jepad_access access = {0600, (gid_t)-1};
  if (jepad_writer_open(&w, path, layout, &access, err)) rig_die("writer", err);
  return w;
}

static inline jepad_reader *rig_reader(const char *path) {
  char err[JEPAD_ERR_SIZE];
  jepad_reader *r;
  if (jepad_reader_open(&r, path, NULL, JEPAD_NOBODY, err)) rig_die("reader", err);
  return r;
}

/* Every word of record n is the same mixture of n. */
static inline uint64_t rig_word(uint64_t n) { return (n + 1) * UINT64_C(0x9e3779b97f4a7c15); }

static inline void rig_fill(uint64_t *words, uint64_t count, uint64_t n) {
  for (uint64_t i = 0; i < count; i++) words[i] = rig_word(n);
}

static inline bool rig_whole(const uint64_t *words, uint64_t count, uint64_t n) {
  for (uint64_t i = 0; i < count; i++)
    if (words[i] != rig_word(n)) return false;
  return true;
}

/* Memory that forked children count in. */
static inline void *rig_shared(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) rig_die("mmap", "no memory");
  return p;
}

#endif
