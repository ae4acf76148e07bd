/* SPDX-License-Identifier: Apache-2.0
 *
 * libjepad: one writer, many readers, over one POSIX shared-memory object a stream. ABI 1.
 *
 * Owns: the byte layout of a stream and the only correct way to write and read it.
 * Does not know: what the numbers mean, how often they come, who may see them.
 *
 * A reader maps the object read-only and needs no write access for anything, waiting included.
 * It gets a whole record or JEPAD_E_LAPPED, never a torn one. All calls return 0 or more on
 * success and a negative JEPAD_E_* on failure; those that take `err` leave one sentence there.
 */
#ifndef JEPAD_SHM_H
#define JEPAD_SHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#define JEPAD_ATOMIC(type) type
extern "C" {
#else
#include <stdatomic.h>
#define JEPAD_ATOMIC(type) _Atomic type
#endif

#define JEPAD_MAGIC "JEPADSHM"
#define JEPAD_BYTE_ORDER 0x01020304u
#define JEPAD_ABI_MAJOR 1
#define JEPAD_ABI_MINOR 0
#define JEPAD_HEADER_SIZE 0x1000u
#define JEPAD_MAX_DIMS 6
#define JEPAD_NAME_SIZE 48
#define JEPAD_MAX_SCHEMA (1u << 20)
#define JEPAD_MAX_TOTAL (UINT64_C(1) << 40)
#define JEPAD_ERR_SIZE 256
#define JEPAD_NOBODY ((uid_t)-1) /* no owner but root and the caller is trusted */

/* Header flags. */
#define JEPAD_FLAG_PAYLOAD_CRC 1u /* slots carry the CRC-32C of their payload */

enum jepad_kind {
  JEPAD_KIND_OTHER = 0,
  JEPAD_KIND_TELEMETRY = 1,
  JEPAD_KIND_FRAMES = 2,
  JEPAD_KIND_EMBEDDINGS = 3,
  JEPAD_KIND_PREDICTIONS = 4
};

/* The codes of DLPack. */
enum jepad_dtype { JEPAD_INT = 0, JEPAD_UINT = 1, JEPAD_FLOAT = 2, JEPAD_BFLOAT = 4, JEPAD_BOOL = 6 };

enum jepad_state {
  JEPAD_INIT = 0,
  JEPAD_LIVE = 1,
  JEPAD_STOPPED = 2, /* the writer left in order; it may come back to this very object */
  JEPAD_RETIRED = 3, /* unlinked; open the stream anew */
  JEPAD_DEAD = 4     /* never stored: LIVE, but the heartbeat is old */
};

enum jepad_error {
  JEPAD_OK = 0,
  JEPAD_E_SYSTEM = -1,  /* a system call failed; errno says how */
  JEPAD_E_ABSENT = -2,  /* no such stream, or it is still being created */
  JEPAD_E_FOREIGN = -3, /* the object belongs to somebody we have no reason to trust */
  JEPAD_E_BAD = -4,     /* not a stream, damaged, or an ABI this library can't read */
  JEPAD_E_BUSY = -5,    /* another writer has it */
  JEPAD_E_FULL = -6,    /* no room in the shared-memory file system */
  JEPAD_E_INVALID = -7, /* the caller's arguments */
  JEPAD_E_LAPPED = -8,  /* the writer overtook the reader: discard what was read */
  JEPAD_E_EMPTY = -9,   /* not published yet */
  JEPAD_E_GONE = -10,   /* stopped, retired or dead: see jepad_state() */
  JEPAD_E_SIGNAL = -11  /* a signal handler ran while waiting */
};

/* What the writer sets once. Lines it changes later are at least 128 bytes apart. */
struct jepad_header {
  char magic[8]; /* stored last, with release */
  uint32_t byte_order;
  uint16_t abi_major, abi_minor;
  uint32_t header_size, flags;
  uint64_t total_size;
  uint8_t boot_id[16];
  uint64_t generation;  /* random, new for each object */
  uint64_t layout_hash; /* FNV-1a 64 of 0x040-0x0FF, then of the schema */

  uint32_t kind;
  uint8_t dtype_code, bits;
  uint16_t lanes;
  uint32_t ndim, reserved;
  uint64_t shape[JEPAD_MAX_DIMS];

  uint64_t slot_count, payload_stride, payload_cap, slothdr_off, data_off;
  uint32_t schema_off, schema_len;

  char name[JEPAD_NAME_SIZE];
  uint8_t model_sha256[32];

  uint32_t header_crc32c; /* of 0x000-0x0FF */
  uint8_t pad0[0x180 - 0x104];
  JEPAD_ATOMIC(uint64_t) head; /* records published so far: the newest is head - 1 */
  uint8_t pad1[0x200 - 0x188];
  JEPAD_ATOMIC(uint32_t) notify; /* futex word */
  uint8_t pad2[0x280 - 0x204];
  JEPAD_ATOMIC(uint64_t) heartbeat_mono_ns;
  JEPAD_ATOMIC(uint64_t) writer_epoch; /* grows by one with each writer of this object */
  JEPAD_ATOMIC(uint32_t) pid, state;
  uint8_t pad3[JEPAD_HEADER_SIZE - 0x298];
};

/* seq is 2n+1 while record n is being written, 2n+2 once it is whole, 2n+3 once it is forgotten. */
struct jepad_slot {
  JEPAD_ATOMIC(uint64_t) seq;
  uint64_t t_capture_ns, t_publish_ns; /* CLOCK_MONOTONIC */
  uint32_t len, flags, crc32c, epoch;
  uint64_t source_n; /* the record of another stream this one was made from */
  uint64_t aux[2];
};

#ifndef __cplusplus
#define JEPAD_AT(type, field, offset) \
  _Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
JEPAD_AT(jepad_header, magic, 0x000);
JEPAD_AT(jepad_header, byte_order, 0x008);
JEPAD_AT(jepad_header, abi_major, 0x00c);
JEPAD_AT(jepad_header, abi_minor, 0x00e);
JEPAD_AT(jepad_header, header_size, 0x010);
JEPAD_AT(jepad_header, flags, 0x014);
JEPAD_AT(jepad_header, total_size, 0x018);
JEPAD_AT(jepad_header, boot_id, 0x020);
JEPAD_AT(jepad_header, generation, 0x030);
JEPAD_AT(jepad_header, layout_hash, 0x038);
JEPAD_AT(jepad_header, kind, 0x040);
JEPAD_AT(jepad_header, dtype_code, 0x044);
JEPAD_AT(jepad_header, bits, 0x045);
JEPAD_AT(jepad_header, lanes, 0x046);
JEPAD_AT(jepad_header, ndim, 0x048);
JEPAD_AT(jepad_header, reserved, 0x04c);
JEPAD_AT(jepad_header, shape, 0x050);
JEPAD_AT(jepad_header, slot_count, 0x080);
JEPAD_AT(jepad_header, payload_stride, 0x088);
JEPAD_AT(jepad_header, payload_cap, 0x090);
JEPAD_AT(jepad_header, slothdr_off, 0x098);
JEPAD_AT(jepad_header, data_off, 0x0a0);
JEPAD_AT(jepad_header, schema_off, 0x0a8);
JEPAD_AT(jepad_header, schema_len, 0x0ac);
JEPAD_AT(jepad_header, name, 0x0b0);
JEPAD_AT(jepad_header, model_sha256, 0x0e0);
JEPAD_AT(jepad_header, header_crc32c, 0x100);
JEPAD_AT(jepad_header, head, 0x180);
JEPAD_AT(jepad_header, notify, 0x200);
JEPAD_AT(jepad_header, heartbeat_mono_ns, 0x280);
JEPAD_AT(jepad_header, writer_epoch, 0x288);
JEPAD_AT(jepad_header, pid, 0x290);
JEPAD_AT(jepad_header, state, 0x294);
_Static_assert(sizeof(struct jepad_header) == JEPAD_HEADER_SIZE, "jepad_header");
JEPAD_AT(jepad_slot, seq, 0x00);
JEPAD_AT(jepad_slot, t_capture_ns, 0x08);
JEPAD_AT(jepad_slot, t_publish_ns, 0x10);
JEPAD_AT(jepad_slot, len, 0x18);
JEPAD_AT(jepad_slot, flags, 0x1c);
JEPAD_AT(jepad_slot, crc32c, 0x20);
JEPAD_AT(jepad_slot, epoch, 0x24);
JEPAD_AT(jepad_slot, source_n, 0x28);
JEPAD_AT(jepad_slot, aux, 0x30);
_Static_assert(sizeof(struct jepad_slot) == 64, "jepad_slot");
#endif

/* ---- writing ---- */

struct jepad_layout {
  const char *name; /* of the stream, without the prefix */
  uint32_t kind, flags;
  uint8_t dtype_code, bits;
  uint16_t lanes;
  uint32_t ndim;
  uint64_t shape[JEPAD_MAX_DIMS];
  uint64_t slot_count;  /* a power of two, at least 4 */
  const void *schema;   /* JSON: names, units, semantics of the channels */
  uint32_t schema_len;
  uint8_t model_sha256[32];
};

struct jepad_access {
  mode_t mode;
  gid_t group; /* (gid_t)-1: the writer's own */
};

struct jepad_meta {
  uint64_t t_capture_ns;
  uint64_t t_publish_ns; /* 0: jepad_publish() looks at the clock itself, 25 ns or so */
  uint32_t flags;
  uint64_t source_n;
  uint64_t aux[2];
};

typedef struct jepad_writer jepad_writer;

/* Creates the object, or takes over what an earlier writer of the same layout left. */
int jepad_writer_open(jepad_writer **out, const char *path, const struct jepad_layout *layout,
                      const struct jepad_access *access, char *err);
/* Stores only: no system call that a reader could slow. Returns the record's number. */
int64_t jepad_publish(jepad_writer *w, const void *payload, size_t len,
                      const struct jepad_meta *meta);
/* Zeroes in place what was captured or published before `before_ns` (CLOCK_MONOTONIC), so that
   nobody can read it any longer: readers find those records lapped. Returns how many. Never at the
   same time as jepad_publish() of the same writer. */
int64_t jepad_forget(jepad_writer *w, uint64_t before_ns);
void jepad_heartbeat(jepad_writer *w);
/* Wakes every waiting reader; takes as long as there are readers, so not for the writing thread. */
void jepad_notify(jepad_writer *w);
/* Asks the thread in jepad_notifier_run() for one jepad_notify(); requests coalesce. */
void jepad_kick(jepad_writer *w);
/* The body of a notifier thread; returns once jepad_notifier_stop() was called. */
void jepad_notifier_run(jepad_writer *w);
void jepad_notifier_stop(jepad_writer *w);
uint64_t jepad_writer_generation(const jepad_writer *w);
size_t jepad_record_bytes(const jepad_writer *w);
/* retire != 0: mark RETIRED and unlink, else mark STOPPED and leave it. Frees w. */
void jepad_writer_close(jepad_writer *w, int retire);

/* ---- reading ---- */

typedef struct jepad_reader jepad_reader;

struct jepad_view {
  const void *payload; /* in the mapping: good until jepad_check() says otherwise */
  uint64_t n;
  uint64_t t_capture_ns, t_publish_ns;
  uint32_t len, flags, crc32c, epoch;
  uint64_t source_n;
  uint64_t aux[2];
};

/* `name` must be the stream's own; `owner` is trusted besides root and the caller. */
int jepad_reader_open(jepad_reader **out, const char *path, const char *name, uid_t owner,
                      char *err);
/* The same on a descriptor somebody handed over; it is not closed. name NULL: any. */
int jepad_reader_open_fd(jepad_reader **out, int fd, const char *name, uid_t owner, char *err);
void jepad_reader_close(jepad_reader *r);
/* The header as it was when opened: a private copy that nobody changes. */
const struct jepad_header *jepad_reader_header(const jepad_reader *r);
const char *jepad_reader_schema(const jepad_reader *r);
const void *jepad_reader_base(const jepad_reader *r);
uint64_t jepad_head(const jepad_reader *r);
uint64_t jepad_epoch(const jepad_reader *r);
/* An enum jepad_state; DEAD when LIVE and no heartbeat for dead_after_ns. */
int jepad_state(const jepad_reader *r, uint64_t dead_after_ns);

/* Zero-copy: look at record n (or the newest), use it, then check that it still stood. */
int jepad_view_at(const jepad_reader *r, uint64_t n, struct jepad_view *view);
int jepad_view_latest(const jepad_reader *r, struct jepad_view *view);
int jepad_check(const jepad_reader *r, const struct jepad_view *view);
/* Copies record n whole, or fails; at most `size` bytes. view->payload becomes `buffer`. */
int jepad_read(const jepad_reader *r, uint64_t n, void *buffer, size_t size,
               struct jepad_view *view);
int jepad_read_latest(const jepad_reader *r, void *buffer, size_t size, struct jepad_view *view);

/* Where jepad_window() copies to: `count` rows each. */
struct jepad_rows {
  void *payload; /* rows of payload_cap bytes */
  int64_t *t_ns;
  uint32_t *flags;
};
/* The newest k <= count whole records, into the LAST k rows, oldest first. Returns k. */
int64_t jepad_window(const jepad_reader *r, uint64_t count, const struct jepad_rows *rows,
                     uint64_t *last_n);
/* Until record n is there: 1. Timed out: 0. dead_after_ns 0: don't look whether the writer lives. */
int jepad_wait(const jepad_reader *r, uint64_t n, uint64_t timeout_ns, uint64_t dead_after_ns);

const char *jepad_strerror(int error);
uint32_t jepad_crc32c(uint32_t crc, const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
