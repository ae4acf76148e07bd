/* SPDX-License-Identifier: Apache-2.0
 *
 * golden write PATH: writes the records that every implementation must write alike.
 * golden read PATH: prints, as JSON, what this library reads from such an object.
 */
#define _GNU_SOURCE
#include "rig.h"

#include <inttypes.h>

#define SCHEMA "{\"columns\":[\"a\",\"b\",\"c\"]}"
#define RECORDS 6

static void write_golden(const char *path) {
  struct jepad_layout layout = {.name = "golden", .kind = JEPAD_KIND_OTHER,
                                .flags = JEPAD_FLAG_PAYLOAD_CRC, .dtype_code = JEPAD_FLOAT,
                                .bits = 32, .lanes = 1, .ndim = 2, .shape = {2, 3},
                                .slot_count = 4, .schema = SCHEMA,
                                .schema_len = sizeof SCHEMA - 1};
  for (uint8_t i = 0; i < 32; i++) layout.model_sha256[i] = i;
  jepad_writer *w = rig_writer(path, &layout);
  for (uint64_t n = 0; n < RECORDS; n++) {
    float payload[6];
    for (int i = 0; i < 6; i++) payload[i] = (float)(n * 10) + (float)i;
    const struct jepad_meta meta = {.t_capture_ns = 1000 + n, .t_publish_ns = 2000 + n,
                                    .flags = n & 1, .source_n = 100 + n, .aux = {n, ~n}};
    jepad_publish(w, payload, sizeof payload, &meta);
  }
  jepad_writer_close(w, 0);
}

static void print_record(const jepad_reader *r, uint64_t n) {
  float payload[6];
  struct jepad_view v;
  if (jepad_read(r, n, payload, sizeof payload, &v)) rig_die("read", "not whole");
  printf("{\"n\": %" PRIu64 ", \"t\": %" PRIu64 ", \"t_publish\": %" PRIu64 ", \"len\": %u, ", v.n,
         v.t_capture_ns, v.t_publish_ns, v.len);
  printf("\"flags\": %u, \"epoch\": %u, \"source_n\": %" PRIu64 ", \"aux\": [%" PRIu64 ", %" PRIu64
         "], \"values\": [", v.flags, v.epoch, v.source_n, v.aux[0], v.aux[1]);
  for (int i = 0; i < 6; i++) printf("%s%g", i ? ", " : "", (double)payload[i]);
  printf("]}");
}

static void read_golden(const char *path) {
  jepad_reader *r = rig_reader(path);
  const struct jepad_header *h = jepad_reader_header(r);
  const uint64_t head = jepad_head(r);
  printf("{\"name\": \"%s\", \"schema\": %s, \"shape\": [%" PRIu64 ", %" PRIu64 "], ", h->name,
         jepad_reader_schema(r), h->shape[0], h->shape[1]);
  printf("\"head\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"sha_last\": %u, \"records\": [", head,
         jepad_epoch(r), h->model_sha256[31]);
  for (uint64_t n = head - h->slot_count; n < head; n++) {
    if (n != head - h->slot_count) printf(", ");
    print_record(r, n);
  }
  printf("]}\n");
  jepad_reader_close(r);
}

int main(int argc, char **argv) {
  if (argc != 3) rig_die("usage", "golden write|read PATH");
  if (strcmp(argv[1], "write") == 0)
    write_golden(argv[2]);
  else
    read_golden(argv[2]);
  return 0;
}
