/* Makes write() fail on one file, for tests: preloaded into a process, it acts only on descriptors whose file name ends with
 * a given text, and counts what the kernel has taken.
 *
 *   cc -shared -fPIC -O2 -o write_faults.so write_faults.c;  LD_PRELOAD=./write_faults.so WRITE_FAULTS_MATCH=.mcap program
 *
 * Environment: WRITE_FAULTS_MATCH (without it nothing is touched), WRITE_FAULTS_NOTES (a file of 4096 bytes to be mapped: calls, bytes
 * and whole calls taken by the kernel, as uint64, kept up to date after each call, so that they outlive the process). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NONE, FAIL, SHORTEN, SHORTEN_THEN_FAIL, STALL, ALL_BUT_THEN_FAIL };

static struct {
  int32_t kind;
  int32_t code;    /* FAIL: errno; SHORTEN: bytes taken, 0: half; SHORTEN_THEN_FAIL: errno; STALL: milliseconds;
                      ALL_BUT_THEN_FAIL: bytes not taken, then EIO */
  uint64_t first;  /* call, from 1 */
  uint64_t calls;  /* how many from there on, 0: all */
} plan;
static uint64_t own[512];
static volatile uint64_t *notes = own; /* calls, bytes, whole calls */
static char match[64];

/* The plan of this process; the counters begin again. */
void write_faults_plan(int32_t kind, int32_t code, uint64_t first, uint64_t calls);
void write_faults_counts(uint64_t *out);

void write_faults_plan(int32_t kind, int32_t code, uint64_t first, uint64_t calls) {
  plan.kind = kind;
  plan.code = code;
  plan.first = first;
  plan.calls = calls;
  notes[0] = notes[1] = notes[2] = 0;
}

void write_faults_counts(uint64_t *out) {
  for (int i = 0; i < 3; i++) out[i] = notes[i];
}

__attribute__((constructor)) static void start(void) {
  const char *end = getenv("WRITE_FAULTS_MATCH"), *path = getenv("WRITE_FAULTS_NOTES");
  if (end) strncpy(match, end, sizeof match - 1);
  if (!path) return;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *page = mmap(NULL, sizeof own, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (page != MAP_FAILED) notes = page;
}

static int is_ours(int fd) {
  char link[32] = "/proc/self/fd/", target[4096], digits[12];
  size_t n = strlen(match), at = strlen(link), k = 0;
  if (n == 0 || fd < 0) return 0;
  do digits[k++] = (char)('0' + fd % 10), fd /= 10;
  while (fd);
  while (k) link[at++] = digits[--k];
  ssize_t length = readlink(link, target, sizeof target);
  return length >= (ssize_t)n && memcmp(target + length - (ssize_t)n, match, n) == 0;
}

static ssize_t real(int fd, const void *data, size_t size) { return syscall(SYS_write, fd, data, size); }

static ssize_t planned(uint64_t call, int fd, const void *data, size_t size) {
  size_t half = size > 1 ? size / 2 : size;
  if (plan.kind == NONE || call < plan.first || (plan.calls && call >= plan.first + plan.calls)) return real(fd, data, size);
  switch (plan.kind) {
    case SHORTEN: return real(fd, data, plan.code == 0 ? half : size < (size_t)plan.code ? size : (size_t)plan.code);
    case STALL: {
      struct timespec t = {plan.code / 1000, plan.code % 1000 * 1000000L};
      while (nanosleep(&t, &t) && errno == EINTR) {
      }
      return real(fd, data, size);
    }
    case SHORTEN_THEN_FAIL:
      if (call == plan.first) return real(fd, data, half);
      break;
    case ALL_BUT_THEN_FAIL:
      if (call == plan.first && size > (size_t)plan.code) return real(fd, data, size - (size_t)plan.code);
      errno = EIO;
      return -1;
    default: break;
  }
  errno = plan.code;
  return -1;
}

ssize_t write(int fd, const void *data, size_t size) {
  if (!is_ours(fd)) return real(fd, data, size);
  ssize_t n = planned(++notes[0], fd, data, size);
  if (n > 0) notes[1] += (uint64_t)n;
  if (n == (ssize_t)size) notes[2]++;
  return n;
}
