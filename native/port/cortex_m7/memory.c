/* The four functions a freestanding compiler may call. */
#include <stddef.h>
#include <stdint.h>
#pragma GCC optimize("no-tree-loop-distribute-patterns") /* else they are compiled into calls of themselves */

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *to, int value, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  while (n--) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, size_t n) {
  uint8_t *t = to;
  while (n--) *t++ = (uint8_t)value;
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  uint8_t *t = to;
  const uint8_t *f = from;
  if (t < f) return memcpy(to, from, n);
  while (n--) t[n] = f[n];
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const uint8_t *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}
