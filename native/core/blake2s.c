#include "flightsw/blake2s.h"

#define BLOCK 64u
#define ROUNDS 10u

static const uint32_t start[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};

static const uint8_t order[ROUNDS][16] = {
  {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
  {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
  {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
  {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
  {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

static const uint8_t lanes[8][4] = {{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15},
                                    {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}};

static uint32_t turned(uint32_t v, uint32_t by) { return v >> by | v << (32u - by); }

static void mix(uint32_t *v, const uint8_t *lane, uint32_t x, uint32_t y) {
  uint32_t a = v[lane[0]], b = v[lane[1]], c = v[lane[2]], d = v[lane[3]];
  a = a + b + x;
  d = turned(d ^ a, 16);
  c = c + d;
  b = turned(b ^ c, 12);
  a = a + b + y;
  d = turned(d ^ a, 8);
  c = c + d;
  b = turned(b ^ c, 7);
  v[lane[0]] = a;
  v[lane[1]] = b;
  v[lane[2]] = c;
  v[lane[3]] = d;
}

static uint32_t word(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

/* One block; t: bytes up to its end, the key's block included. */
static void compress(uint32_t *h, const uint8_t *block, uint64_t t, int last) {
  uint32_t v[16], m[16];
  for (uint32_t i = 0; i < 16; i++) m[i] = word(block + 4u * i);
  for (uint32_t i = 0; i < 8; i++) {
    v[i] = h[i];
    v[8 + i] = start[i];
  }
  v[12] ^= (uint32_t)t;
  v[13] ^= (uint32_t)(t >> 32);
  if (last) v[14] = ~v[14];
  for (uint32_t r = 0; r < ROUNDS; r++)
    for (uint32_t i = 0; i < 8; i++) mix(v, lanes[i], m[order[r][2u * i]], m[order[r][2u * i + 1u]]);
  for (uint32_t i = 0; i < 8; i++) h[i] ^= v[i] ^ v[8 + i];
}

int32_t fsw_blake2s(const uint8_t *key, size_t key_size, const uint8_t *data, size_t n, uint8_t *out, size_t size) {
  uint32_t h[8];
  uint8_t block[BLOCK] = {0};
  uint64_t t = 0;
  if (key_size > FSW_BLAKE2S_KEY || size == 0 || size > FSW_BLAKE2S_SIZE) return -1;
  __builtin_memcpy(h, start, sizeof h);
  h[0] ^= 0x01010000u ^ (uint32_t)key_size << 8 ^ (uint32_t)size;
  if (key_size) {
    __builtin_memcpy(block, key, key_size);
    t = BLOCK;
    compress(h, block, t, n == 0);
    __builtin_memset(block, 0, sizeof block);
  }
  for (; n > BLOCK; n -= BLOCK, data += BLOCK) compress(h, data, t += BLOCK, 0);
  if (n || key_size == 0) {
    if (n) __builtin_memcpy(block, data, n);
    compress(h, block, t + n, 1);
  }
  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)(h[i / 4u] >> (8u * (i % 4u)));
  return 0;
}

int32_t fsw_same_secret(const uint8_t *a, const uint8_t *b, size_t n) {
  volatile uint8_t differ = 0; /* volatile: no compiler may leave the loop early */
  for (size_t i = 0; i < n; i++) differ = (uint8_t)(differ | (a[i] ^ b[i]));
  return differ == 0;
}
