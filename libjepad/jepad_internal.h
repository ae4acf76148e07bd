/* SPDX-License-Identifier: Apache-2.0
 * What the three sources of libjepad share; not installed. */
#ifndef JEPAD_INTERNAL_H
#define JEPAD_INTERNAL_H

#include "jepad_shm.h"

#include <stdbool.h>

/* Two slots are lapped all the time: good to provoke torn reads, useless to serve readers. */
#ifdef JEPAD_TEST
#define JEPAD_MIN_SLOTS 2
#else
#define JEPAD_MIN_SLOTS 4
#endif

#define JEPAD_CRC_BYTES 0x100u /* of the header, covered by header_crc32c */
#define JEPAD_HASH_FROM 0x040u       /* layout_hash covers the header from here ... */
#define JEPAD_HASH_TO 0x100u         /* ... to here */

struct jepad_reader {
  const uint8_t *base;
  size_t mapped; /* 0: the memory is not ours to unmap */
  const struct jepad_header *live;
  const struct jepad_slot *slots;
  const uint8_t *data;
  uint64_t mask;
  char *schema;
  struct jepad_header header;
};

struct jepad_writer {
  uint8_t *base;
  struct jepad_header *live;
  struct jepad_slot *slots;
  uint8_t *data;
  uint64_t mask, stride, cap, next;
  uint32_t epoch, flags;
  size_t mapped;
  int lock_fd, kick_fd[2];
  _Atomic uint32_t pending, stop;
  char *path;
};

/* Leaves a sentence in err (may be NULL) and returns `error`. */
int jepad_fail(char *err, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t jepad_now_ns(void);
uint64_t jepad_layout_hash(const struct jepad_header *h, const void *schema);
/* Fills in sizes and offsets from shape and slot_count; JEPAD_E_INVALID if they can't be. */
int jepad_geometry(struct jepad_header *h, char *err);
void jepad_boot_id(uint8_t id[16]);
/* Builds a reader over `size` bytes at base, trusting nothing in them. */
int jepad_attach(jepad_reader **out, const void *base, uint64_t size, const char *name, char *err);
void jepad_wake_all(_Atomic uint32_t *word);
/* Creates or takes over `path`.lock; a descriptor, or an error. */
int jepad_lock(const char *path, char *err);
/* Regular, on tmpfs, of a trusted owner: else an error. *size is the object's. */
int jepad_check_object(int fd, const char *path, uid_t owner, uint64_t *size, char *err);

#ifdef JEPAD_TEST
/* A test build dies by SIGKILL when it comes to the chosen point for the n-th time. */
extern int jepad_fault_point;
extern uint64_t jepad_fault_after;
void jepad_fault(int point);
#define JEPAD_FAULT(point) jepad_fault(point)
#else
#define JEPAD_FAULT(point) ((void)0)
#endif

#endif
