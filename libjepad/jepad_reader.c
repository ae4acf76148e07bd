/* SPDX-License-Identifier: Apache-2.0
 *
 * The reading side: a read-only mapping, records whole or lapped, waiting without write access.
 */
#define _GNU_SOURCE
#include "jepad_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS UINT64_C(100000000) /* a lost writer is noticed within one slice */
#define LATEST_TRIES 16              /* laps within one look-up before it gives up */

static int open_fd(jepad_reader **out, int fd, const char *path, const char *name, uid_t owner,
                   char *err) {
  uint64_t size;
  int rc = jepad_check_object(fd, path, owner, &size, err);
  if (rc) return rc;
  if (size > JEPAD_MAX_TOTAL) return jepad_fail(err, JEPAD_E_BAD, "impossible size");
  if (size < JEPAD_HEADER_SIZE) return jepad_attach(out, NULL, size ? 1 : 0, name, err);
  void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    return jepad_fail(err, JEPAD_E_SYSTEM, "%s: mmap: %s", path, strerror(errno));
  rc = jepad_attach(out, base, size, name, err);
  if (rc)
    munmap(base, (size_t)size);
  else
    (*out)->mapped = (size_t)size;
  return rc;
}

int jepad_reader_open(jepad_reader **out, const char *path, const char *name, uid_t owner,
                      char *err) {
  /* O_NONBLOCK: a planted FIFO must not hold us up. */
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    if (errno == ENOENT) return jepad_fail(err, JEPAD_E_ABSENT, "there is no stream %s", path);
    if (errno == ELOOP) return jepad_fail(err, JEPAD_E_BAD, "%s is a symbolic link", path);
    return jepad_fail(err, JEPAD_E_SYSTEM, "%s: %s", path, strerror(errno));
  }
  int rc = open_fd(out, fd, path, name, owner, err);
  close(fd);
  return rc;
}

int jepad_reader_open_fd(jepad_reader **out, int fd, const char *name, uid_t owner, char *err) {
  return open_fd(out, fd, "the descriptor", name, owner, err);
}

void jepad_reader_close(jepad_reader *r) {
  if (!r) return;
  if (r->mapped) munmap((void *)(uintptr_t)r->base, r->mapped);
  free(r->schema);
  free(r);
}

const struct jepad_header *jepad_reader_header(const jepad_reader *r) { return &r->header; }
const char *jepad_reader_schema(const jepad_reader *r) { return r->schema; }
const void *jepad_reader_base(const jepad_reader *r) { return r->base; }

uint64_t jepad_head(const jepad_reader *r) {
  return atomic_load_explicit(&r->live->head, memory_order_acquire);
}

uint64_t jepad_epoch(const jepad_reader *r) {
  return atomic_load_explicit(&r->live->writer_epoch, memory_order_acquire);
}

int jepad_state(const jepad_reader *r, uint64_t dead_after_ns) {
  uint32_t state = atomic_load_explicit(&r->live->state, memory_order_acquire);
  if (state != JEPAD_LIVE) return state > JEPAD_RETIRED ? JEPAD_RETIRED : (int)state;
  uint64_t beat = atomic_load_explicit(&r->live->heartbeat_mono_ns, memory_order_relaxed);
  uint64_t now = jepad_now_ns();
  /* A beat after `now` was written while we looked at the clock. */
  return now > beat && now - beat > dead_after_ns ? JEPAD_DEAD : JEPAD_LIVE;
}

int jepad_view_at(const jepad_reader *r, uint64_t n, struct jepad_view *view) {
  const uint64_t index = n & r->mask;
  const struct jepad_slot *slot = &r->slots[index];
  const uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_acquire);
  if (seq != 2 * n + 2) return seq > 2 * n + 2 ? JEPAD_E_LAPPED : JEPAD_E_EMPTY;
  view->payload = r->data + index * r->header.payload_stride;
  view->n = n;
  view->t_capture_ns = slot->t_capture_ns;
  view->t_publish_ns = slot->t_publish_ns;
  view->len = slot->len;
  view->flags = slot->flags;
  view->crc32c = slot->crc32c;
  view->epoch = slot->epoch;
  view->source_n = slot->source_n;
  view->aux[0] = slot->aux[0];
  view->aux[1] = slot->aux[1];
  if (view->len > r->header.payload_cap) {
    /* Only a record being overwritten may look odd: a whole one that does is not our writer's. */
    int rc = jepad_check(r, view);
    return rc ? rc : JEPAD_E_BAD;
  }
  return JEPAD_OK;
}

int jepad_check(const jepad_reader *r, const struct jepad_view *view) {
  const struct jepad_slot *slot = &r->slots[view->n & r->mask];
  /* Everything read so far is read before seq is looked at again. */
  atomic_thread_fence(memory_order_acquire);
  uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed);
  return seq == 2 * view->n + 2 ? JEPAD_OK : JEPAD_E_LAPPED;
}

int jepad_view_latest(const jepad_reader *r, struct jepad_view *view) {
  int rc = JEPAD_E_EMPTY;
  for (int tries = 0; tries < LATEST_TRIES; tries++) {
    uint64_t head = jepad_head(r);
    if (head == 0) return JEPAD_E_EMPTY;
    rc = jepad_view_at(r, head - 1, view);
    if (rc == JEPAD_OK || rc == JEPAD_E_BAD) return rc;
  }
  return rc;
}

static int copy_out(const jepad_reader *r, void *buffer, size_t size, struct jepad_view *view) {
  if (view->len > size) return JEPAD_E_INVALID;
  memcpy(buffer, view->payload, view->len);
  int rc = jepad_check(r, view);
  if (rc) return rc;
  view->payload = buffer;
  if ((r->header.flags & JEPAD_FLAG_PAYLOAD_CRC) &&
      jepad_crc32c(0, buffer, view->len) != view->crc32c)
    return JEPAD_E_BAD;
  return JEPAD_OK;
}

int jepad_read(const jepad_reader *r, uint64_t n, void *buffer, size_t size,
               struct jepad_view *view) {
  int rc = jepad_view_at(r, n, view);
  return rc ? rc : copy_out(r, buffer, size, view);
}

int jepad_read_latest(const jepad_reader *r, void *buffer, size_t size, struct jepad_view *view) {
  int rc = JEPAD_E_EMPTY;
  for (int tries = 0; tries < LATEST_TRIES; tries++) {
    rc = jepad_view_latest(r, view);
    if (rc) return rc;
    rc = copy_out(r, buffer, size, view);
    if (rc != JEPAD_E_LAPPED) return rc;
  }
  return rc;
}

/* Newest first, so that what the writer overtakes meanwhile is the far end. */
static uint64_t rows_back(const jepad_reader *r, uint64_t last, uint64_t count,
                          const struct jepad_rows *rows) {
  const uint64_t cap = r->header.payload_cap;
  for (uint64_t k = 0; k < count; k++) {
    struct jepad_view view;
    const uint64_t row = count - 1 - k;
    uint8_t *to = (uint8_t *)rows->payload + row * cap;
    if (jepad_read(r, last - k, to, (size_t)cap, &view) != JEPAD_OK) return k;
    memset(to + view.len, 0, (size_t)(cap - view.len));
    rows->t_ns[row] = (int64_t)view.t_capture_ns;
    rows->flags[row] = view.flags;
  }
  return count;
}

int64_t jepad_window(const jepad_reader *r, uint64_t count, const struct jepad_rows *rows,
                     uint64_t *last_n) {
  uint64_t got = 0;
  for (int tries = 0; got == 0 && tries < LATEST_TRIES; tries++) {
    const uint64_t head = jepad_head(r);
    if (head == 0 || count == 0) return 0;
    const uint64_t slots = r->header.slot_count;
    uint64_t wanted = count < head ? count : head;
    if (wanted > slots) wanted = slots;
    const uint64_t skip = count - wanted;
    const struct jepad_rows tail = {(uint8_t *)rows->payload + skip * r->header.payload_cap,
                                    rows->t_ns + skip, rows->flags + skip};
    got = rows_back(r, head - 1, wanted, &tail);
    *last_n = head - 1;
  }
  return (int64_t)got;
}

/* 1: record n is there. */
static int wait_slice(const jepad_reader *r, uint64_t n, uint64_t slice_ns) {
  const uint32_t seen = atomic_load_explicit(&r->live->notify, memory_order_acquire);
  if (jepad_head(r) > n) return 1;
  const struct timespec slice = {.tv_sec = (time_t)(slice_ns / UINT64_C(1000000000)),
                                 .tv_nsec = (long)(slice_ns % UINT64_C(1000000000))};
  long rc = syscall(SYS_futex, &r->live->notify, FUTEX_WAIT, seen, &slice, NULL, 0);
  if (jepad_head(r) > n) return 1;
  return rc != 0 && errno == EINTR ? JEPAD_E_SIGNAL : 0;
}

int jepad_wait(const jepad_reader *r, uint64_t n, uint64_t timeout_ns, uint64_t dead_after_ns) {
  const uint64_t start = jepad_now_ns();
  for (;;) {
    const uint64_t spent = jepad_now_ns() - start;
    if (spent >= timeout_ns) return jepad_head(r) > n;
    const uint64_t left = timeout_ns - spent;
    int rc = wait_slice(r, n, left < SLICE_NS ? left : SLICE_NS);
    if (rc) return rc;
    if (dead_after_ns && jepad_state(r, dead_after_ns) != JEPAD_LIVE) return JEPAD_E_GONE;
  }
}
