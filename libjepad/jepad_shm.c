/* SPDX-License-Identifier: Apache-2.0
 *
 * What writer and reader share: geometry, checksums, and the check of a header nobody vouches for.
 */
#define _GNU_SOURCE
#include "jepad_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

int jepad_fail(char *err, int error, const char *format, ...) {
  if (err) {
    va_list args;
    va_start(args, format);
    vsnprintf(err, JEPAD_ERR_SIZE, format, args);
    va_end(args);
  }
  return error;
}

const char *jepad_strerror(int error) {
  switch (error) {
    case JEPAD_OK: return "success";
    case JEPAD_E_SYSTEM: return "a system call failed";
    case JEPAD_E_ABSENT: return "no such stream";
    case JEPAD_E_FOREIGN: return "the object belongs to somebody else";
    case JEPAD_E_BAD: return "damaged, or not a stream this library can read";
    case JEPAD_E_BUSY: return "the stream has a writer already";
    case JEPAD_E_FULL: return "no room in shared memory";
    case JEPAD_E_INVALID: return "invalid argument";
    case JEPAD_E_LAPPED: return "overtaken by the writer";
    case JEPAD_E_EMPTY: return "not published yet";
    case JEPAD_E_GONE: return "the writer is gone";
    case JEPAD_E_SIGNAL: return "interrupted by a signal";
    default: return "unknown error";
  }
}

uint64_t jepad_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#ifdef JEPAD_TEST
int jepad_fault_point = -1;
uint64_t jepad_fault_after = 0;
void jepad_fault(int point) {
  if (point == jepad_fault_point && jepad_fault_after-- == 0) kill(getpid(), SIGKILL);
}
#endif

/* ---- CRC-32C (Castagnoli) ---- */

static uint32_t crc32c_plain(uint32_t crc, const uint8_t *p, size_t len) {
  static const uint32_t nibble[16] = {
      0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
      0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
  while (len--) {
    crc ^= *p++;
    crc = (crc >> 4) ^ nibble[crc & 15];
    crc = (crc >> 4) ^ nibble[crc & 15];
  }
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const uint8_t *p,
                                                             size_t len) {
  uint64_t wide = crc;
  for (; len >= 8; p += 8, len -= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = (uint32_t)wide;
  while (len--) crc = __builtin_ia32_crc32qi(crc, *p++);
  return crc;
}
#endif

uint32_t jepad_crc32c(uint32_t crc, const void *data, size_t len) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) return ~crc32c_sse(~crc, data, len);
#endif
  return ~crc32c_plain(~crc, data, len);
}

/* ---- layout ---- */

static uint64_t fnv1a(uint64_t hash, const void *data, size_t len) {
  const uint8_t *p = data;
  while (len--) hash = (hash ^ *p++) * UINT64_C(0x100000001b3);
  return hash;
}

uint64_t jepad_layout_hash(const struct jepad_header *h, const void *schema) {
  const uint8_t *bytes = (const uint8_t *)h;
  uint64_t hash = fnv1a(UINT64_C(0xcbf29ce484222325), bytes + JEPAD_HASH_FROM,
                        JEPAD_HASH_TO - JEPAD_HASH_FROM);
  return fnv1a(hash, schema, h->schema_len);
}

/* Bytes of one record; 0 if shape or type make no sense. */
static uint64_t payload_bytes(const struct jepad_header *h) {
  if (h->ndim < 1 || h->ndim > JEPAD_MAX_DIMS || h->lanes < 1) return 0;
  if (h->bits != 8 && h->bits != 16 && h->bits != 32 && h->bits != 64) return 0;
  uint64_t bytes = (uint64_t)h->lanes * (h->bits / 8);
  for (uint32_t i = 0; i < h->ndim; i++) {
    if (__builtin_mul_overflow(bytes, h->shape[i], &bytes) || bytes > JEPAD_MAX_TOTAL) return 0;
  }
  return bytes;
}

static bool slots_fit(uint64_t count) {
  return count >= JEPAD_MIN_SLOTS && count <= (UINT64_C(1) << 32) && (count & (count - 1)) == 0;
}

static uint64_t align_up(uint64_t value, uint64_t to) { return (value + to - 1) & ~(to - 1); }

int jepad_geometry(struct jepad_header *h, char *err) {
  uint64_t data_bytes;
  h->payload_cap = payload_bytes(h);
  if (h->payload_cap == 0) return jepad_fail(err, JEPAD_E_INVALID, "bad shape or element type");
  if (!slots_fit(h->slot_count))
    return jepad_fail(err, JEPAD_E_INVALID, "slot count %llu is not a power of two of at least %d",
                      (unsigned long long)h->slot_count, JEPAD_MIN_SLOTS);
  if (h->schema_len > JEPAD_MAX_SCHEMA)
    return jepad_fail(err, JEPAD_E_INVALID, "schema of %u bytes: at most %u", h->schema_len,
                      JEPAD_MAX_SCHEMA);
  h->payload_stride = align_up(h->payload_cap, h->payload_cap >= 4096 ? 4096 : 64);
  h->slothdr_off = JEPAD_HEADER_SIZE;
  uint64_t schema_off = h->slothdr_off + h->slot_count * sizeof(struct jepad_slot);
  if (schema_off > UINT32_MAX - JEPAD_MAX_SCHEMA ||
      __builtin_mul_overflow(h->slot_count, h->payload_stride, &data_bytes) ||
      data_bytes > JEPAD_MAX_TOTAL / 2)
    return jepad_fail(err, JEPAD_E_INVALID, "stream too large");
  h->schema_off = (uint32_t)schema_off;
  h->data_off = align_up(schema_off + h->schema_len, 4096);
  h->total_size = h->data_off + data_bytes;
  return JEPAD_OK;
}

void jepad_boot_id(uint8_t id[16]) {
  char text[64];
  memset(id, 0, 16); /* hidden /proc: every boot looks alike, and /dev/shm is empty after one */
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  unsigned filled = 0;
  for (ssize_t i = 0; i < got && filled < 32; i++) {
    const char c = text[i];
    unsigned digit;
    if (c >= '0' && c <= '9')
      digit = (unsigned)(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = (unsigned)(c - 'a') + 10;
    else
      continue;
    id[filled / 2] = (uint8_t)((unsigned)id[filled / 2] << 4 | digit);
    filled++;
  }
}

/* ---- an object that nobody vouches for ---- */

int jepad_check_object(int fd, const char *path, uid_t owner, uint64_t *size, char *err) {
  struct stat st;
  struct statfs fs;
  if (fstat(fd, &st) != 0 || fstatfs(fd, &fs) != 0)
    return jepad_fail(err, JEPAD_E_SYSTEM, "%s: %s", path, strerror(errno));
  if (!S_ISREG(st.st_mode)) return jepad_fail(err, JEPAD_E_BAD, "%s is not a regular file", path);
  if (st.st_uid != 0 && st.st_uid != geteuid() && (owner == JEPAD_NOBODY || st.st_uid != owner))
    return jepad_fail(err, JEPAD_E_FOREIGN, "%s belongs to uid %u, who is not trusted", path,
                      (unsigned)st.st_uid);
  if (fs.f_type != TMPFS_MAGIC)
    return jepad_fail(err, JEPAD_E_BAD, "%s is not in shared memory (tmpfs)", path);
  *size = (uint64_t)st.st_size;
  return JEPAD_OK;
}

static bool inside(uint64_t offset, uint64_t count, uint64_t each, uint64_t total) {
  uint64_t bytes, end;
  return !__builtin_mul_overflow(count, each, &bytes) &&
         !__builtin_add_overflow(offset, bytes, &end) && end <= total;
}

/* Is this our format at all, whole, and of a version we read? */
static int check_identity(const struct jepad_header *h, uint64_t size, char *err) {
  if (h->byte_order != JEPAD_BYTE_ORDER)
    return jepad_fail(err, JEPAD_E_BAD, "byte order 0x%08x is not this machine's", h->byte_order);
  if (h->abi_major != JEPAD_ABI_MAJOR)
    return jepad_fail(err, JEPAD_E_BAD, "ABI %u: this library reads ABI %u", h->abi_major,
                      JEPAD_ABI_MAJOR);
  uint32_t crc = jepad_crc32c(0, h, JEPAD_CRC_BYTES);
  if (crc != h->header_crc32c)
    return jepad_fail(err, JEPAD_E_BAD, "header checksum 0x%08x, computed 0x%08x", h->header_crc32c,
                      crc);
  if (h->total_size > size)
    return jepad_fail(err, JEPAD_E_BAD, "truncated: %llu of %llu bytes", (unsigned long long)size,
                      (unsigned long long)h->total_size);
  return JEPAD_OK;
}

/* Does every offset stay inside, whatever the numbers? */
static int check_bounds(const struct jepad_header *h, char *err) {
  const uint64_t total = h->total_size;
  if (total > JEPAD_MAX_TOTAL || h->header_size < JEPAD_HEADER_SIZE)
    return jepad_fail(err, JEPAD_E_BAD, "impossible size");
  if (!slots_fit(h->slot_count))
    return jepad_fail(err, JEPAD_E_BAD, "impossible slot count %llu",
                      (unsigned long long)h->slot_count);
  if (payload_bytes(h) == 0 || payload_bytes(h) != h->payload_cap)
    return jepad_fail(err, JEPAD_E_BAD, "shape and element type don't make a record of %llu bytes",
                      (unsigned long long)h->payload_cap);
  if (h->payload_stride < h->payload_cap || h->payload_stride % 64 || h->slothdr_off % 64 ||
      h->data_off % 64 || h->slothdr_off < h->header_size || h->data_off < h->header_size ||
      h->schema_off < h->header_size || h->schema_len > JEPAD_MAX_SCHEMA ||
      !inside(h->slothdr_off, h->slot_count, sizeof(struct jepad_slot), total) ||
      !inside(h->schema_off, h->schema_len, 1, total) ||
      !inside(h->data_off, h->slot_count, h->payload_stride, total))
    return jepad_fail(err, JEPAD_E_BAD, "offsets point outside the object");
  if (!memchr(h->name, '\0', sizeof h->name))
    return jepad_fail(err, JEPAD_E_BAD, "unterminated name");
  return JEPAD_OK;
}

static int check_magic(const void *base, uint64_t size, char *err) {
  uint64_t magic, wanted;
  if (size == 0) return jepad_fail(err, JEPAD_E_ABSENT, "the stream is still being created");
  if (size < JEPAD_HEADER_SIZE)
    return jepad_fail(err, JEPAD_E_BAD, "truncated: %llu bytes", (unsigned long long)size);
  magic = atomic_load_explicit((const _Atomic uint64_t *)base, memory_order_acquire);
  memcpy(&wanted, JEPAD_MAGIC, sizeof wanted);
  if (magic == 0) return jepad_fail(err, JEPAD_E_ABSENT, "the stream is still being created");
  if (magic != wanted) return jepad_fail(err, JEPAD_E_BAD, "not a jepad stream (wrong magic)");
  return JEPAD_OK;
}

/* The schema is copied before it is hashed: nobody can swap it between check and use. */
static int take_schema(jepad_reader *r, char *err) {
  const struct jepad_header *h = &r->header;
  r->schema = malloc((size_t)h->schema_len + 1);
  if (!r->schema) return jepad_fail(err, JEPAD_E_SYSTEM, "out of memory");
  memcpy(r->schema, r->base + h->schema_off, h->schema_len);
  r->schema[h->schema_len] = '\0';
  if (jepad_layout_hash(h, r->schema) != h->layout_hash)
    return jepad_fail(err, JEPAD_E_BAD, "layout hash does not match");
  return JEPAD_OK;
}

int jepad_attach(jepad_reader **out, const void *base, uint64_t size, const char *name, char *err) {
  int rc = check_magic(base, size, err);
  if (rc) return rc;
  jepad_reader *r = calloc(1, sizeof *r);
  if (!r) return jepad_fail(err, JEPAD_E_SYSTEM, "out of memory");
  /* From here on only this private copy of the header is believed. */
  memcpy(&r->header, base, offsetof(struct jepad_header, pad0));
  r->base = base;
  r->live = base;
  const struct jepad_header *h = &r->header;
  rc = check_identity(h, size, err);
  if (!rc) rc = check_bounds(h, err);
  if (!rc && name && strcmp(name, h->name) != 0)
    rc = jepad_fail(err, JEPAD_E_BAD, "the object calls itself '%s', not '%s'", h->name, name);
  if (!rc) rc = take_schema(r, err);
  if (rc) {
    jepad_reader_close(r);
    return rc;
  }
  r->slots = (const struct jepad_slot *)(const void *)(r->base + h->slothdr_off);
  r->data = r->base + h->data_off;
  r->mask = h->slot_count - 1;
  *out = r;
  return JEPAD_OK;
}

void jepad_wake_all(_Atomic uint32_t *word) {
  atomic_fetch_add_explicit(word, 1, memory_order_release);
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
