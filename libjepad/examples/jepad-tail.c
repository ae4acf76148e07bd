/* Prints the records of a stream as they come.
 *
 *     cc jepad-tail.c $(pkg-config --cflags --libs jepad) -o jepad-tail
 *     ./jepad-tail jepad telemetry
 */
#include <inttypes.h>
#include <jepad_shm.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

static double element(const struct jepad_header *h, const void *payload, uint64_t i) {
  if (h->dtype_code == JEPAD_FLOAT && h->bits == 64) return ((const double *)payload)[i];
  if (h->dtype_code == JEPAD_FLOAT && h->bits == 32) return (double)((const float *)payload)[i];
  if (h->bits == 8) return ((const uint8_t *)payload)[i];
  return 0.0 / 0.0;
}

static void print_record(const struct jepad_header *h, const struct jepad_view *v) {
  uint64_t count = h->payload_cap / (h->bits / 8u);
  printf("#%" PRIu64 " t=%.3f s%s:", v->n, (double)v->t_capture_ns / 1e9, v->flags & 1 ? " gap" : "");
  for (uint64_t i = 0; i < count && i < 6; i++) printf(" %g", element(h, v->payload, i));
  printf("%s\n", count > 6 ? " ..." : "");
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: jepad-tail PREFIX STREAM [COUNT]\n");
    return 2;
  }
  char path[512], err[JEPAD_ERR_SIZE];
  snprintf(path, sizeof path, "/dev/shm/%s.%s", argv[1], argv[2]);
  const struct passwd *daemon = getpwnam(argv[1]);
  jepad_reader *r;
  if (jepad_reader_open(&r, path, argv[2], daemon ? daemon->pw_uid : JEPAD_NOBODY, err) != 0) {
    fprintf(stderr, "jepad-tail: %s\n", err);
    return 1;
  }
  const struct jepad_header *h = jepad_reader_header(r);
  printf("%s\n", jepad_reader_schema(r));
  void *buffer = malloc(h->payload_cap);
  uint64_t n = jepad_head(r) ? jepad_head(r) - 1 : 0;
  long left = argc > 3 ? atol(argv[3]) : -1;
  int rc = buffer ? 0 : JEPAD_E_SYSTEM;
  while (rc >= 0 && left != 0) {
    struct jepad_view v;
    rc = jepad_wait(r, n, 1000000000u, 5000000000u);
    if (rc == 0) continue;
    if (rc == 1) rc = jepad_read(r, n, buffer, h->payload_cap, &v);
    if (rc == JEPAD_E_LAPPED) { /* slower than the writer: go on with the newest */
      n = jepad_head(r) - 1;
      rc = 0;
    } else if (rc == 0) {
      print_record(h, &v);
      n++;
      left--;
    }
  }
  if (rc < 0) fprintf(stderr, "jepad-tail: %s\n", jepad_strerror(rc));
  free(buffer);
  jepad_reader_close(r);
  return rc < 0;
}
