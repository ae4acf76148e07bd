"""Builds `jepad.ring._shm`, the C library compiled straight into a Python extension.

Owns: which C calls Python may use. `python jepad/ring/build_shm.py` builds it in place.
Does not know: what is done with them.
"""

from __future__ import annotations

import os

from cffi import FFI

SOURCES = ["libjepad/jepad_shm.c", "libjepad/jepad_reader.c", "libjepad/jepad_writer.c"]

ffi = FFI()
ffi.cdef("""
#define JEPAD_ERR_SIZE ...
#define JEPAD_FLAG_PAYLOAD_CRC ...
#define JEPAD_LIVE ...
#define JEPAD_STOPPED ...
#define JEPAD_RETIRED ...
#define JEPAD_DEAD ...
#define JEPAD_E_ABSENT ...
#define JEPAD_E_LAPPED ...
#define JEPAD_E_EMPTY ...
#define JEPAD_E_SIGNAL ...

typedef unsigned int mode_t;
typedef unsigned int uid_t;
typedef unsigned int gid_t;

struct jepad_layout {
  const char *name;
  uint32_t kind, flags;
  uint8_t dtype_code, bits;
  uint16_t lanes;
  uint32_t ndim;
  uint64_t shape[6];
  uint64_t slot_count;
  const void *schema;
  uint32_t schema_len;
  uint8_t model_sha256[32];
};
struct jepad_access { mode_t mode; gid_t group; };
struct jepad_view {
  const void *payload;
  uint64_t n;
  uint64_t t_capture_ns, t_publish_ns;
  uint32_t len, flags, crc32c, epoch;
  uint64_t source_n;
  uint64_t aux[2];
};
struct jepad_rows { void *payload; int64_t *t_ns; uint32_t *flags; };
typedef ... jepad_writer;
typedef ... jepad_reader;

int jepad_writer_open(jepad_writer **, const char *, const struct jepad_layout *,
                      const struct jepad_access *, char *);
int64_t ring_publish(jepad_writer *, const void *, uint64_t, uint32_t, uint64_t, uint64_t,
                     uint64_t);
int64_t jepad_forget(jepad_writer *, uint64_t);
void jepad_heartbeat(jepad_writer *);
void jepad_notifier_run(jepad_writer *);
void jepad_notifier_stop(jepad_writer *);
uint64_t jepad_writer_generation(const jepad_writer *);
void jepad_writer_close(jepad_writer *, int);

int jepad_reader_open(jepad_reader **, const char *, const char *, uid_t, char *);
int jepad_reader_open_fd(jepad_reader **, int, const char *, uid_t, char *);
void jepad_reader_close(jepad_reader *);
const struct jepad_header *jepad_reader_header(const jepad_reader *);
const char *jepad_reader_schema(const jepad_reader *);
const void *jepad_reader_base(const jepad_reader *);
uint64_t jepad_head(const jepad_reader *);
uint64_t jepad_epoch(const jepad_reader *);
int jepad_state(const jepad_reader *, uint64_t);
int jepad_view_at(const jepad_reader *, uint64_t, struct jepad_view *);
int jepad_view_latest(const jepad_reader *, struct jepad_view *);
int jepad_check(const jepad_reader *, const struct jepad_view *);
int ring_read(const jepad_reader *, int64_t, uint64_t, void *, size_t, struct jepad_view *);
int64_t jepad_window(const jepad_reader *, uint64_t, const struct jepad_rows *, uint64_t *);
int jepad_wait(const jepad_reader *, uint64_t, uint64_t, uint64_t);
const char *jepad_strerror(int);
uint32_t jepad_crc32c(uint32_t, const void *, size_t);
""")
#: Two calls in one: each crossing from Python costs more than the call itself.
GLUE = """
#include "jepad_shm.h"

static int64_t ring_publish(jepad_writer *w, const void *payload, uint64_t t_ns, uint32_t flags,
                            uint64_t source_n, uint64_t aux0, uint64_t aux1) {
  const struct jepad_meta meta = {t_ns, 0, flags, source_n, {aux0, aux1}};
  int64_t n = jepad_publish(w, payload, jepad_record_bytes(w), &meta);
  jepad_kick(w);
  return n;
}

/* 1: copied record n, or the newest if n < 0. 0: timed out. */
static int ring_read(const jepad_reader *r, int64_t n, uint64_t timeout_ns, void *buffer,
                     size_t size, struct jepad_view *view) {
  int rc = jepad_wait(r, n < 0 ? 0 : (uint64_t)n, timeout_ns, 0);
  if (rc != 1) return rc;
  rc = n < 0 ? jepad_read_latest(r, buffer, size, view)
             : jepad_read(r, (uint64_t)n, buffer, size, view);
  return rc == 0 ? 1 : rc;
}
"""
ffi.set_source(
    "jepad.ring._shm",
    GLUE,
    sources=SOURCES,
    include_dirs=["libjepad"],
    depends=["libjepad/jepad_shm.h", "libjepad/jepad_internal.h"],
    extra_compile_args=["-std=gnu11", "-O2"],
)

if __name__ == "__main__":
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    # The name that setuptools gives it, or one of two would be stale.
    ffi.compile(tmpdir=".", target="_shm.abi3.so")
