/* A board as a program of a POSIX system: the same session on a serial port or pseudo-terminal.
 *
 *     board PATH      serves on that terminal
 *     board           opens a pseudo-terminal, prints its path, and serves on it
 *
 * It ends with status 0 when the other end closes (PATH only), 1 when the terminal cannot be used, 3 when this build is not exact. */
#define _XOPEN_SOURCE 700
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static uint64_t bundle[SERVE_BUNDLE_BYTES / 8], memory[SERVE_MEMORY_BYTES / 8];
static int line = -1;

static uint32_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint32_t)((uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u);
}

static uint64_t unforeseen(void) {
  uint64_t v = 0;
  FILE *f = fopen("/dev/urandom", "rb");
  if (!f || fread(&v, sizeof v, 1, f) != 1) v = ((uint64_t)now_ms() << 32) ^ (uint64_t)getpid();
  if (f) fclose(f);
  return v;
}

static void send_bytes(const uint8_t *bytes, size_t n) {
  while (n) { /* what finds no room within 100 ms is lost: whoever waits for it asks again */
    ssize_t k = write(line, bytes, n);
    struct pollfd room = {.fd = line, .events = POLLOUT};
    if (k < 0 && (errno == EAGAIN || errno == EINTR) && poll(&room, 1, 100) > 0) continue;
    if (k <= 0) return;
    bytes += k;
    n -= (size_t)k;
  }
}

static int open_line(const char *path) {
  struct termios t;
  if (path) {
    line = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
  } else {
    line = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (line >= 0 && (grantpt(line) || unlockpt(line))) return -1;
  }
  if (line < 0 || tcgetattr(line, &t)) return -1;
  t.c_iflag = 0;
  t.c_oflag = 0;
  t.c_lflag = 0;
  t.c_cflag = CS8 | CREAD | CLOCAL;
  t.c_cc[VMIN] = 1;
  t.c_cc[VTIME] = 0;
  cfsetispeed(&t, B115200);
  cfsetospeed(&t, B115200);
  return tcsetattr(line, TCSANOW, &t);
}

int fsw_board_serve(const fsw_board_t *board, int argc, char **argv) {
  static char token[17];
  static uint8_t bytes[4096];
  const char *path = argc > 1 ? argv[1] : NULL;
  serve_token(unforeseen(), token);
  if (serve_begin(board, (uint8_t *)bundle, (uint8_t *)memory, token)) {
    fputs("board: arithmetic of this build is not exact\n", stderr);
    return 3;
  }
  if (open_line(path)) {
    perror(path ? path : "pseudo-terminal");
    return 1;
  }
  if (!path) {
    puts(ptsname(line));
    fflush(stdout);
  }
  for (;;) {
    struct pollfd wait = {.fd = line, .events = POLLIN};
    int ready = poll(&wait, 1, 5);
    ssize_t n = ready > 0 ? read(line, bytes, sizeof bytes) : 0;
    if (n > 0) {
      serve_stream(bytes, (size_t)n, now_ms(), send_bytes);
    } else if (ready > 0 && path && (n == 0 || (errno != EAGAIN && errno != EINTR))) {
      if (board->safe) board->safe(board->context);
      return 0;
    } else if (ready > 0) { /* nobody has the other end of the pseudo-terminal open */
      struct timespec pause = {.tv_nsec = 5000000};
      nanosleep(&pause, NULL);
    }
    serve_silence(now_ms());
  }
}
