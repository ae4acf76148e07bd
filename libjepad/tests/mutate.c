/* SPDX-License-Identifier: Apache-2.0
 *
 * mutate COUNT [SEED]: the reader on damaged objects, under ASan and UBSan. Most mutants get
 * their checksums mended, so that they come past the first gate. Compiled with
 * -DJEPAD_LIBFUZZER it is a libFuzzer target instead. Prints how many mutants were let in.
 */
#include "../jepad_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 4
#define DIMS 3

static size_t image_size;
static uint8_t *pristine;

static void build_pristine(void) {
  struct jepad_header h;
  memset(&h, 0, sizeof h);
  memcpy(h.magic, JEPAD_MAGIC, sizeof h.magic);
  h.byte_order = JEPAD_BYTE_ORDER;
  h.abi_major = JEPAD_ABI_MAJOR;
  h.header_size = JEPAD_HEADER_SIZE;
  h.flags = JEPAD_FLAG_PAYLOAD_CRC;
  h.dtype_code = JEPAD_FLOAT;
  h.bits = 32;
  h.lanes = 1;
  h.ndim = DIMS;
  for (int i = 0; i < DIMS; i++) h.shape[i] = 4;
  h.slot_count = SLOTS;
  h.schema_len = 2;
  memcpy(h.name, "mutant", 7);
  if (jepad_geometry(&h, NULL)) abort();
  image_size = (size_t)h.total_size;
  pristine = calloc(1, image_size);
  if (!pristine) abort();
  atomic_init(&h.head, 6);
  atomic_init(&h.state, JEPAD_LIVE);
  memcpy(pristine + h.schema_off, "{}", 2);
  h.layout_hash = jepad_layout_hash(&h, "{}");
  h.header_crc32c = jepad_crc32c(0, &h, JEPAD_CRC_BYTES);
  memcpy(pristine, &h, sizeof h);
  for (uint64_t n = 2; n < 6; n++) {
    struct jepad_slot *slot = (struct jepad_slot *)(void *)(pristine + h.slothdr_off) + n % SLOTS;
    atomic_init(&slot->seq, 2 * n + 2);
    slot->len = (uint32_t)h.payload_cap;
    slot->crc32c = jepad_crc32c(0, pristine + h.data_off + n % SLOTS * h.payload_stride, slot->len);
  }
}

/* Everything a reader may do with an object that was let in. */
static void use(const jepad_reader *r) {
  const struct jepad_header *h = &r->header;
  struct jepad_view view;
  uint64_t last;
  if (h->payload_cap > 1 << 16) return; /* only to keep the run short */
  uint8_t *copy = malloc((size_t)h->payload_cap * 4);
  int64_t t_ns[4];
  uint32_t flags[4];
  const struct jepad_rows rows = {copy, t_ns, flags};
  if (!copy) abort();
  if (jepad_view_latest(r, &view) == JEPAD_OK && view.len) {
    volatile uint8_t touched = ((const uint8_t *)view.payload)[view.len - 1];
    (void)touched;
  }
  jepad_read_latest(r, copy, (size_t)h->payload_cap, &view);
  jepad_read(r, h->slot_count - 1, copy, (size_t)h->payload_cap, &view);
  jepad_window(r, 4, &rows, &last);
  jepad_state(r, 1);
  jepad_wait(r, 0, 0, 1);
  free(copy);
}

static int try_image(const uint8_t *data, size_t size) {
  jepad_reader *r = NULL;
  char err[JEPAD_ERR_SIZE];
  /* A heap block of just that size: one byte beyond it is ASan's. */
  uint8_t *image = malloc(size ? size : 1);
  if (!image) abort();
  memcpy(image, data, size);
  int rc = jepad_attach(&r, image, size, NULL, err);
  if (rc == JEPAD_OK) {
    use(r);
    jepad_reader_close(r);
  }
  free(image);
  return rc;
}

/* So that a mutant gets as far as its bounds. */
static void mend(uint8_t *image, size_t size) {
  struct jepad_header h;
  if (size < sizeof h) return;
  memcpy(&h, image, sizeof h);
  const uint64_t end = (uint64_t)h.schema_off + h.schema_len;
  if (end <= size) h.layout_hash = jepad_layout_hash(&h, image + h.schema_off);
  h.header_crc32c = jepad_crc32c(0, &h, JEPAD_CRC_BYTES);
  memcpy(image, &h, sizeof h);
}

#ifdef JEPAD_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* The input is laid over a sound object: its header, then its slot headers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!pristine) build_pristine();
  uint8_t *image = malloc(image_size);
  if (!image) abort();
  memcpy(image, pristine, image_size);
  const size_t head = size < 0x300 ? size : 0x300;
  const size_t rest = size - head < SLOTS * 64 ? size - head : SLOTS * 64;
  memcpy(image, data, head);
  if (rest) memcpy(image + JEPAD_HEADER_SIZE, data + head, rest);
  mend(image, image_size);
  try_image(image, image_size);
  free(image);
  return 0;
}
#else
static uint64_t state;

static uint64_t next(void) { /* splitmix64: the same mutants everywhere */
  uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* Values that arithmetic stumbles over. */
static uint64_t nasty(void) {
  static const uint64_t values[] = {0, 1, 3, 63, 64, 0xff, 0xfff, 0x1000, 0x1001, 0x7fffffff,
                                    0x80000000, 0xffffffff, 0x100000000, UINT64_MAX / 64,
                                    UINT64_MAX / 64 + 1, UINT64_C(1) << 63, UINT64_MAX - 63,
                                    UINT64_MAX};
  return values[next() % (sizeof values / sizeof *values)];
}

static void mutate(uint8_t *image, size_t size) {
  static const size_t spans[] = {0x100, 0x300, 0x1100};
  const unsigned changes = 1 + (unsigned)(next() % 4);
  for (unsigned i = 0; i < changes; i++) {
    const size_t span = spans[next() % 3];
    const size_t at = (size_t)(next() % ((span < size ? span : size) - 8));
    const uint64_t value = next() % 2 ? nasty() : next();
    switch (next() % 3) {
      case 0: image[at] ^= (uint8_t)(1u << (next() % 8)); break;
      case 1: memcpy(image + (at & ~(size_t)3), &value, 4); break;
      default: memcpy(image + (at & ~(size_t)7), &value, 8); break;
    }
  }
}

int main(int argc, char **argv) {
  const uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 200000;
  uint64_t let_in = 0;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  build_pristine();
  uint8_t *image = malloc(image_size);
  if (!image || try_image(pristine, image_size) != JEPAD_OK) abort();
  for (uint64_t i = 0; i < count; i++) {
    memcpy(image, pristine, image_size);
    mutate(image, image_size);
    size_t size = image_size;
    if (next() % 16 == 0) size = (size_t)(next() % image_size);
    if (next() % 8) mend(image, size);
    let_in += try_image(image, size) == JEPAD_OK;
  }
  printf("{\"mutants\": %llu, \"let_in\": %llu}\n", (unsigned long long)count,
         (unsigned long long)let_in);
  free(image);
  free(pristine);
  return 0;
}
#endif
