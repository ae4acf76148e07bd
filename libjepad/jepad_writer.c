/* SPDX-License-Identifier: Apache-2.0
 *
 * The writing side: creating or taking over an object, publishing by stores alone, waking apart.
 */
#define _GNU_SOURCE
#include "jepad_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Places where a test build dies; the reader must not notice any of them. */
enum fault {
  FAULT_BEFORE_ODD,
  FAULT_AFTER_ODD,
  FAULT_MID_PAYLOAD,
  FAULT_AFTER_PAYLOAD,
  FAULT_BEFORE_EVEN,
  FAULT_BEFORE_HEAD,
  FAULT_AFTER_HEAD,
  FAULT_CREATED_EMPTY,
  FAULT_BEFORE_MAGIC,
  FAULT_BEFORE_EPOCH,
  FAULT_BEFORE_UNLINK
};

/* ---- the lock that keeps a second writer out ---- */

/* True if `fd` is still what the path names: a leaving writer may have unlinked it meanwhile. */
static bool same_file(int fd, const char *path) {
  struct stat held, named;
  return fstat(fd, &held) == 0 && lstat(path, &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

static int lock_once(const char *path, char *err) {
  struct stat st;
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
  if (fd < 0)
    return jepad_fail(err, errno == ENOSPC ? JEPAD_E_FULL : JEPAD_E_FOREIGN, "%s: %s", path,
                      strerror(errno));
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
      (st.st_mode & 077) != 0) {
    close(fd);
    return jepad_fail(err, JEPAD_E_FOREIGN, "%s is not our own private file: remove it", path);
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return jepad_fail(err, JEPAD_E_BUSY, "%s is held: the stream has a writer already", path);
  }
  return fd;
}

int jepad_lock(const char *path, char *err) {
  for (int tries = 0; tries < 8; tries++) {
    int fd = lock_once(path, err);
    if (fd < 0 || same_file(fd, path)) return fd;
    close(fd);
  }
  return jepad_fail(err, JEPAD_E_BUSY, "%s: its owner keeps changing", path);
}

/* ---- a new object ---- */

static int make_header(struct jepad_header *h, const struct jepad_layout *layout, char *err) {
  memset(h, 0, sizeof *h);
  const size_t name_len = strlen(layout->name);
  if (name_len == 0 || name_len >= sizeof h->name)
    return jepad_fail(err, JEPAD_E_INVALID, "name of 1 to %zu bytes wanted", sizeof h->name - 1);
  memcpy(h->name, layout->name, name_len);
  h->byte_order = JEPAD_BYTE_ORDER;
  h->abi_major = JEPAD_ABI_MAJOR;
  h->abi_minor = JEPAD_ABI_MINOR;
  h->header_size = JEPAD_HEADER_SIZE;
  h->flags = layout->flags;
  h->kind = layout->kind;
  h->dtype_code = layout->dtype_code;
  h->bits = layout->bits;
  h->lanes = layout->lanes;
  h->ndim = layout->ndim;
  memcpy(h->shape, layout->shape, sizeof h->shape);
  h->slot_count = layout->slot_count;
  h->schema_len = layout->schema_len;
  memcpy(h->model_sha256, layout->model_sha256, sizeof h->model_sha256);
  jepad_boot_id(h->boot_id);
  int rc = jepad_geometry(h, err);
  if (rc) return rc;
  h->layout_hash = jepad_layout_hash(h, layout->schema);
  if (getrandom(&h->generation, sizeof h->generation, 0) != sizeof h->generation)
    return jepad_fail(err, JEPAD_E_SYSTEM, "getrandom: %s", strerror(errno));
  return JEPAD_OK;
}

static int set_access(int fd, const char *path, const struct jepad_access *access, char *err) {
  if ((access->group != (gid_t)-1 && fchown(fd, (uid_t)-1, access->group) != 0) ||
      fchmod(fd, access->mode) != 0)
    return jepad_fail(err, JEPAD_E_SYSTEM, "%s: can't set group and mode: %s", path,
                      strerror(errno));
  return JEPAD_OK;
}

/* Every page is there before the first record: a full file system is an error now, no SIGBUS later. */
static int reserve(int fd, const char *path, uint64_t size, char *err) {
  int rc;
  do rc = posix_fallocate(fd, 0, (off_t)size);
  while (rc == EINTR);
  if (rc == 0) return JEPAD_OK;
  struct statvfs fs;
  unsigned long long room = 0;
  if (fstatvfs(fd, &fs) == 0) room = (unsigned long long)fs.f_bavail * fs.f_frsize;
  if (rc == ENOSPC || rc == EFBIG || rc == EDQUOT)
    return jepad_fail(err, JEPAD_E_FULL, "%s needs %llu KiB of shared memory, %llu KiB are free", path,
                      (unsigned long long)size / 1024, room / 1024);
  return jepad_fail(err, JEPAD_E_SYSTEM, "%s: posix_fallocate: %s", path, strerror(rc));
}

static int map_object(jepad_writer *w, int fd, uint64_t size, char *err) {
  void *base = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    return jepad_fail(err, JEPAD_E_SYSTEM, "%s: mmap: %s", w->path, strerror(errno));
  w->base = base;
  w->live = base;
  w->mapped = (size_t)size;
  return JEPAD_OK;
}

/* The magic goes last: whoever sees it sees all the rest. */
static void fill_object(jepad_writer *w, struct jepad_header *h, const void *schema) {
  memcpy(w->base + h->schema_off, schema, h->schema_len);
  uint64_t magic;
  memcpy(h->magic, JEPAD_MAGIC, sizeof h->magic);
  memcpy(&magic, h->magic, sizeof magic);
  h->header_crc32c = jepad_crc32c(0, h, JEPAD_CRC_BYTES);
  memcpy(w->base + sizeof h->magic, (const uint8_t *)h + sizeof h->magic,
         offsetof(struct jepad_header, pad0) - sizeof h->magic);
  atomic_store_explicit(&w->live->writer_epoch, 1, memory_order_relaxed);
  atomic_store_explicit(&w->live->heartbeat_mono_ns, jepad_now_ns(), memory_order_relaxed);
  atomic_store_explicit(&w->live->pid, (uint32_t)getpid(), memory_order_relaxed);
  atomic_store_explicit(&w->live->state, JEPAD_LIVE, memory_order_relaxed);
  JEPAD_FAULT(FAULT_BEFORE_MAGIC);
  atomic_store_explicit((_Atomic uint64_t *)(void *)w->base, magic, memory_order_release);
}

static int create_object(jepad_writer *w, struct jepad_header *h, const void *schema,
                         const struct jepad_access *access, char *err) {
  int fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    int error = errno == ENOSPC ? JEPAD_E_FULL : errno == EEXIST ? JEPAD_E_FOREIGN : JEPAD_E_SYSTEM;
    return jepad_fail(err, error, "%s: %s", w->path, strerror(errno));
  }
  JEPAD_FAULT(FAULT_CREATED_EMPTY);
  int rc = reserve(fd, w->path, h->total_size, err);
  if (!rc) rc = set_access(fd, w->path, access, err);
  if (!rc) rc = map_object(w, fd, h->total_size, err);
  if (!rc)
    fill_object(w, h, schema);
  else
    unlink(w->path);
  close(fd);
  return rc;
}

/* ---- an object that an earlier writer left ---- */

static bool adoptable(const jepad_reader *old, const struct jepad_header *wanted) {
  const struct jepad_header *h = &old->header;
  return h->layout_hash == wanted->layout_hash && h->total_size == wanted->total_size &&
         h->flags == wanted->flags && memcmp(h->boot_id, wanted->boot_id, sizeof h->boot_id) == 0 &&
         jepad_state(old, 0) != JEPAD_RETIRED;
}

/* A record whose writer died between its last two stores is whole: count it. */
static void adopt(jepad_writer *w, const struct jepad_header *wanted) {
  struct jepad_header *live = w->live;
  uint64_t head = atomic_load_explicit(&live->head, memory_order_acquire);
  struct jepad_slot *slots = (struct jepad_slot *)(void *)(w->base + wanted->slothdr_off);
  uint64_t seq = atomic_load_explicit(&slots[head & (wanted->slot_count - 1)].seq,
                                      memory_order_acquire);
  if (seq == 2 * head + 2) atomic_store_explicit(&live->head, head + 1, memory_order_release);
  JEPAD_FAULT(FAULT_BEFORE_EPOCH);
  atomic_fetch_add_explicit(&live->writer_epoch, 1, memory_order_release);
  atomic_store_explicit(&live->pid, (uint32_t)getpid(), memory_order_relaxed);
  atomic_store_explicit(&live->heartbeat_mono_ns, jepad_now_ns(), memory_order_relaxed);
  atomic_store_explicit(&live->state, JEPAD_LIVE, memory_order_release);
  jepad_wake_all(&live->notify);
}

static int remove_path(const char *path, char *err) {
  if (unlink(path) == 0) return JEPAD_OK;
  return jepad_fail(err, JEPAD_E_SYSTEM, "%s: can't remove: %s", path, strerror(errno));
}

/* Tells its readers to open the stream anew, then frees the name. */
static int retire_path(struct jepad_header *live, const char *path, char *err) {
  atomic_store_explicit(&live->state, JEPAD_RETIRED, memory_order_release);
  jepad_wake_all(&live->notify);
  JEPAD_FAULT(FAULT_BEFORE_UNLINK);
  return remove_path(path, err);
}

/* 1: taken over. 0: the name is free now. */
static int adopt_or_clear(jepad_writer *w, int fd, const struct jepad_header *wanted,
                          const struct jepad_access *access, char *err) {
  uint64_t size;
  jepad_reader *old = NULL;
  int rc = jepad_check_object(fd, w->path, JEPAD_NOBODY, &size, err);
  if (rc) return rc;
  struct stat st;
  if (fstat(fd, &st) != 0 || st.st_uid != geteuid())
    return jepad_fail(err, JEPAD_E_FOREIGN, "%s belongs to another user: remove it", w->path);
  /* What can't be a stream of ours (cut short, never finished) is only in the way. */
  if (size < JEPAD_HEADER_SIZE || size > JEPAD_MAX_TOTAL)
    return remove_path(w->path, err);
  rc = map_object(w, fd, size, err);
  if (rc) return rc;
  bool known = jepad_attach(&old, w->base, size, wanted->name, NULL) == JEPAD_OK;
  if (known && adoptable(old, wanted)) {
    rc = set_access(fd, w->path, access, err);
    if (!rc) {
      adopt(w, wanted);
      rc = 1;
    }
  } else {
    rc = known ? retire_path(w->live, w->path, err) : remove_path(w->path, err);
    munmap(w->base, w->mapped);
    w->base = NULL;
  }
  jepad_reader_close(old);
  return rc;
}

static int take_object(jepad_writer *w, struct jepad_header *h, const void *schema,
                       const struct jepad_access *access, char *err) {
  int rc = 0;
  int fd = open(w->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd >= 0) {
    rc = adopt_or_clear(w, fd, h, access, err);
    close(fd);
  } else if (errno != ENOENT) {
    return jepad_fail(err, JEPAD_E_FOREIGN, "%s is in the way (%s): remove it", w->path,
                      strerror(errno));
  }
  if (rc == 0) return create_object(w, h, schema, access, err);
  return rc > 0 ? JEPAD_OK : rc;
}

/* ---- life of a writer ---- */

static void release(jepad_writer *w) {
  if (w->base) munmap(w->base, w->mapped);
  if (w->lock_fd >= 0) close(w->lock_fd);
  for (int i = 0; i < 2; i++)
    if (w->kick_fd[i] >= 0) close(w->kick_fd[i]);
  free(w->path);
  free(w);
}

static char *lock_path(const char *path) {
  char *out;
  return asprintf(&out, "%s.lock", path) < 0 ? NULL : out;
}

static int open_locked(jepad_writer *w, const struct jepad_layout *layout,
                       const struct jepad_access *access, char *err) {
  struct jepad_header h;
  int rc = make_header(&h, layout, err);
  if (rc) return rc;
  char *lock = lock_path(w->path);
  if (!lock) return jepad_fail(err, JEPAD_E_SYSTEM, "out of memory");
  w->lock_fd = jepad_lock(lock, err);
  free(lock);
  if (w->lock_fd < 0) return w->lock_fd;
  if (pipe2(w->kick_fd, O_CLOEXEC) < 0)
    return jepad_fail(err, JEPAD_E_SYSTEM, "pipe: %s", strerror(errno));
  rc = take_object(w, &h, layout->schema, access, err);
  if (rc) return rc;
  w->slots = (struct jepad_slot *)(void *)(w->base + h.slothdr_off);
  w->data = w->base + h.data_off;
  w->mask = h.slot_count - 1;
  w->stride = h.payload_stride;
  w->cap = h.payload_cap;
  w->flags = h.flags;
  w->next = atomic_load_explicit(&w->live->head, memory_order_relaxed);
  w->epoch = (uint32_t)atomic_load_explicit(&w->live->writer_epoch, memory_order_relaxed);
  return JEPAD_OK;
}

int jepad_writer_open(jepad_writer **out, const char *path, const struct jepad_layout *layout,
                      const struct jepad_access *access, char *err) {
  jepad_writer *w = calloc(1, sizeof *w);
  if (!w) return jepad_fail(err, JEPAD_E_SYSTEM, "out of memory");
  w->lock_fd = w->kick_fd[0] = w->kick_fd[1] = -1;
  w->path = strdup(path);
  int rc = w->path ? open_locked(w, layout, access, err)
                   : jepad_fail(err, JEPAD_E_SYSTEM, "out of memory");
  if (rc) {
    release(w);
    return rc;
  }
  *out = w;
  return JEPAD_OK;
}

uint64_t jepad_writer_generation(const jepad_writer *w) { return w->live->generation; }
size_t jepad_record_bytes(const jepad_writer *w) { return (size_t)w->cap; }

void jepad_writer_close(jepad_writer *w, int retire) {
  if (!w) return;
  if (retire) {
    retire_path(w->live, w->path, NULL);
    char *lock = lock_path(w->path);
    if (lock) unlink(lock); /* while it is held: jepad_lock() of the next writer notices */
    free(lock);
  } else {
    atomic_store_explicit(&w->live->state, JEPAD_STOPPED, memory_order_release);
    jepad_wake_all(&w->live->notify);
  }
  release(w);
}

/* ---- publishing ---- */

/* memcpy() of a large block may use non-temporal stores, which x86 orders by sfence alone. */
static inline void order_bulk_stores(size_t len) {
#if defined(__x86_64__)
  if (len >= 4096) __builtin_ia32_sfence();
#else
  (void)len;
#endif
}

static void copy_in(uint8_t *to, const void *payload, size_t len) {
#ifdef JEPAD_TEST
  memcpy(to, payload, len / 2);
  JEPAD_FAULT(FAULT_MID_PAYLOAD);
  memcpy(to + len / 2, (const uint8_t *)payload + len / 2, len - len / 2);
#else
  memcpy(to, payload, len);
#endif
}

int64_t jepad_publish(jepad_writer *w, const void *payload, size_t len,
                      const struct jepad_meta *meta) {
  if (len > w->cap || len > UINT32_MAX) return JEPAD_E_INVALID;
  const uint64_t n = w->next;
  const uint64_t index = n & w->mask;
  struct jepad_slot *slot = &w->slots[index];
  JEPAD_FAULT(FAULT_BEFORE_ODD);
  atomic_store_explicit(&slot->seq, 2 * n + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release); /* no payload store may pass the odd mark */
  order_bulk_stores(len);
  JEPAD_FAULT(FAULT_AFTER_ODD);
  copy_in(w->data + index * w->stride, payload, len);
  JEPAD_FAULT(FAULT_AFTER_PAYLOAD);
  const uint64_t now = meta->t_publish_ns ? meta->t_publish_ns : jepad_now_ns();
  slot->t_capture_ns = meta->t_capture_ns;
  slot->t_publish_ns = now;
  slot->len = (uint32_t)len;
  slot->flags = meta->flags;
  slot->crc32c = w->flags & JEPAD_FLAG_PAYLOAD_CRC ? jepad_crc32c(0, payload, len) : 0;
  slot->epoch = w->epoch;
  slot->source_n = meta->source_n;
  slot->aux[0] = meta->aux[0];
  slot->aux[1] = meta->aux[1];
  JEPAD_FAULT(FAULT_BEFORE_EVEN);
  order_bulk_stores(len);
  atomic_store_explicit(&slot->seq, 2 * n + 2, memory_order_release);
  JEPAD_FAULT(FAULT_BEFORE_HEAD);
  atomic_store_explicit(&w->live->head, n + 1, memory_order_release);
  JEPAD_FAULT(FAULT_AFTER_HEAD);
  atomic_store_explicit(&w->live->heartbeat_mono_ns, now, memory_order_relaxed);
  w->next = n + 1;
  return (int64_t)n;
}

void jepad_heartbeat(jepad_writer *w) {
  atomic_store_explicit(&w->live->heartbeat_mono_ns, jepad_now_ns(), memory_order_relaxed);
}

/* ---- what must not be read any longer ---- */

/* The mark first, as in publishing: a reader in the middle of a copy finds it lapped. */
static void forget_slot(jepad_writer *w, uint64_t n) {
  const uint64_t index = n & w->mask;
  struct jepad_slot *slot = &w->slots[index];
  atomic_store_explicit(&slot->seq, 2 * n + 3, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  order_bulk_stores((size_t)w->stride);
  memset(w->data + index * w->stride, 0, (size_t)w->stride);
  slot->t_capture_ns = slot->t_publish_ns = slot->source_n = 0;
  slot->aux[0] = slot->aux[1] = 0;
  slot->len = slot->flags = slot->crc32c = 0;
}

/* Old, or torn: what an earlier writer died in was never whole, but has pixels too. */
static bool forgettable(const struct jepad_slot *slot, uint64_t n, uint64_t before_ns) {
  const uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed);
  if (seq == 0 || seq == 2 * n + 3) return false; /* never written, forgotten before */
  return seq != 2 * n + 2 || slot->t_capture_ns < before_ns || slot->t_publish_ns < before_ns;
}

int64_t jepad_forget(jepad_writer *w, uint64_t before_ns) {
  const uint64_t slots = w->mask + 1;
  const uint64_t first = w->next > slots ? w->next - slots : 0;
  int64_t count = 0;
  for (uint64_t n = first; n < first + slots && n <= w->next; n++)
    if (forgettable(&w->slots[n & w->mask], n, before_ns)) {
      forget_slot(w, n);
      count++;
    }
  return count;
}

/* ---- waking readers ---- */

void jepad_notify(jepad_writer *w) { jepad_wake_all(&w->live->notify); }

/* A private pipe, not a futex: no reader shares its queue, so none can make this slow. And not an
   eventfd: a pipe tells the scheduler that we are about to sleep, which saves waking a core. */
void jepad_kick(jepad_writer *w) {
  const char one = 1;
  if (atomic_exchange_explicit(&w->pending, 1, memory_order_acq_rel)) return;
  while (write(w->kick_fd[1], &one, sizeof one) < 0 && errno == EINTR) continue;
}

void jepad_notifier_run(jepad_writer *w) {
  char count;
  while (!atomic_load_explicit(&w->stop, memory_order_acquire)) {
    if (read(w->kick_fd[0], &count, sizeof count) < 0 && errno != EINTR) return;
    atomic_exchange_explicit(&w->pending, 0, memory_order_acq_rel);
    jepad_notify(w);
  }
}

void jepad_notifier_stop(jepad_writer *w) {
  atomic_store_explicit(&w->stop, 1, memory_order_release);
  jepad_kick(w);
}
