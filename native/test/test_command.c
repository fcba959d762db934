/* test_command.c - forged, replayed, reordered and damaged commands.
 *
 *   test_command [COMMANDS]
 * Vectors; the receiver's refusals; the limit on wrong tags; every bit flip of golden commands; hostile commands by the number (default
 * 100 000), none accepted, with genuine ones in between, all accepted. Prints what was tried and its time; exits non-zero on failure. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flightsw/command.h"

#define MS 1000000

static int failures;
#define CHECK(cond) \
  do { \
    if (!(cond)) { \
      if (failures++ < 30) fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
    } \
  } while (0)

static uint64_t random_state = 0x2545f4914f6cdd1du;
static uint64_t random64(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state * 0x9e3779b97f4a7c15u;
}

static void random_bytes(uint8_t *out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(random64() >> 56);
}

static fsw_command_key_t test_key(void) {
  fsw_command_key_t key = { .size = 32 };
  for (uint32_t i = 0; i < 32; i++) key.bytes[i] = (uint8_t)i;
  return key;
}

static void make(const fsw_command_key_t *key, uint64_t counter, uint16_t id, uint64_t token, uint8_t *out) {
  fsw_command_t c = { .counter = counter, .token = token, .id = id, .source = 7 };
  fsw_command_pack(&c, out);
  fsw_command_tag(key, out, out + FSW_COMMAND_SIGNED);
}

/* ---- form, tag, receiver ------------------------------------------------------------------------------------------------- */

static void test_vectors(void) {
  /* hashlib.blake2s(bytes, key=bytes(range(32)), digest_size=16), and digest_size=8 over b"flightsw token 1\0" + counter */
  static const uint8_t golden[FSW_COMMAND_BYTES] = {
    0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x03, 0x00, 0x07, 0x00,
    0x00, 0x00, 0x00, 0x00, 0xa6, 0xe5, 0x26, 0xa0, 0xad, 0xae, 0xfb, 0x8f, 0xd7, 0x1d, 0x4a, 0x8f, 0xf9, 0xeb, 0x99, 0x49 };
  fsw_command_key_t key = test_key();
  uint8_t out[FSW_COMMAND_BYTES];
  fsw_command_t c;
  make(&key, 0x0102030405060708u, FSW_COMMAND_FIRE, 0x1112131415161718u, out);
  CHECK(memcmp(out, golden, sizeof out) == 0);
  CHECK(fsw_command_token(&key, 0x0102030405060708u) == 0xbc5a4479bd90f3f7u);
  fsw_command_unpack(golden, &c);
  CHECK(c.counter == 0x0102030405060708u && c.token == 0x1112131415161718u && c.id == FSW_COMMAND_FIRE && c.source == 7);
  CHECK(memcmp(c.tag, golden + 24, 16) == 0);
  memset(c.pad0, 0xa5, 4);
  fsw_command_pack(&c, out);
  CHECK(out[20] == 0xa5 && out[23] == 0xa5 && memcmp(out + 24, golden + 24, 16) == 0);
}

static uint32_t open_at(const fsw_command_key_t *key, const uint8_t *bytes, size_t n, fsw_command_receiver_t *r, int64_t t_ns) {
  fsw_command_t out, untouched;
  memset(&untouched, 0xee, sizeof untouched);
  out = untouched;
  uint32_t reason = fsw_command_open(key, bytes, n, r, t_ns, &out);
  CHECK((memcmp(&out, &untouched, sizeof out) == 0) == (reason != 0));
  CHECK(reason == 0 || r->reason == reason);
  return reason;
}

static void test_receiver(void) {
  fsw_command_key_t key = test_key(), bad = test_key();
  fsw_command_receiver_t r = { 0 };
  fsw_command_t out;
  uint8_t b[FSW_COMMAND_BYTES], zero[16] = { 0 };
  make(&key, 5, FSW_COMMAND_ARM, 0, b);
  bad.size = FSW_COMMAND_KEY_MIN - 1;
  CHECK(open_at(&bad, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_KEY);
  bad.size = FSW_COMMAND_KEY_MAX + 1;
  CHECK(open_at(&bad, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_KEY);
  bad.size = FSW_COMMAND_KEY_MIN;
  CHECK(open_at(&bad, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_TAG);
  for (size_t n = 0; n < 64; n++)
    if (n != sizeof b) CHECK(open_at(&key, b, n, &r, 0) == FSW_COMMAND_REFUSED_LENGTH);
  CHECK(fsw_command_open(&key, b, sizeof b, &r, 0, &out) == 0 && out.id == FSW_COMMAND_ARM && out.counter == 5 && out.source == 7);
  CHECK(out.token == fsw_command_token(&key, 5) && memcmp(out.tag, zero, 16) == 0);
  CHECK(r.counter == 5 && r.accepted == 1 && r.refused == 3 + 63);
  CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_COUNTER);
  make(&key, 4, FSW_COMMAND_ABORT, 0, b);
  CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_COUNTER);
  make(&key, 6, FSW_COMMAND_FIRE, 99, b);
  CHECK(fsw_command_open(&key, b, sizeof b, &r, 0, &out) == 0 && out.token == 99);
  bad.size = FSW_COMMAND_KEY_MIN; /* short keys work too */
  make(&bad, 7, FSW_COMMAND_DISARM, 0, b);
  CHECK(open_at(&bad, b, sizeof b, &r, 0) == 0);
  /* authentic but of no known form: its counter is used up all the same */
  static const struct { uint16_t id; uint64_t token; } odd[] = { { 0, 0 }, { FSW_COMMAND_ABORT + 1, 0 }, { 65535, 0 }, { FSW_COMMAND_FIRE, 0 },
    { FSW_COMMAND_ARM, 1 }, { FSW_COMMAND_DISARM, 1 }, { FSW_COMMAND_ABORT, 1u } };
  uint64_t counter = 8;
  for (size_t k = 0; k < sizeof odd / sizeof odd[0]; k++) {
    make(&key, counter, odd[k].id, odd[k].token, b);
    CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_FORM && r.counter == counter++);
  }
  for (uint32_t k = 20; k < 24; k++) {
    make(&key, counter, FSW_COMMAND_ABORT, 0, b);
    b[k] = 1;
    fsw_command_tag(&key, b, b + FSW_COMMAND_SIGNED);
    CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_FORM && r.counter == counter++);
  }
}

/* At most ten wrong tags are looked at in any one second, whatever their times; then nothing is, for one second. */
static void test_mute(void) {
  fsw_command_key_t key = test_key();
  fsw_command_receiver_t r = { 0 };
  uint8_t good[FSW_COMMAND_BYTES], wrong[FSW_COMMAND_BYTES];
  make(&key, 1, FSW_COMMAND_ABORT, 0, good);
  memcpy(wrong, good, sizeof wrong);
  wrong[30] ^= 1;
  for (int k = 0; k < 10; k++) CHECK(open_at(&key, wrong, 40, &r, k * 111 * MS) == FSW_COMMAND_REFUSED_TAG); /* the tenth at 999 ms */
  CHECK(open_at(&key, good, 40, &r, 999 * MS) == FSW_COMMAND_REFUSED_MUTED);
  CHECK(open_at(&key, good, 3, &r, (int64_t)1999 * MS - 1) == FSW_COMMAND_REFUSED_MUTED);
  CHECK(open_at(&key, good, 40, &r, (int64_t)1999 * MS) == 0);
  memset(&r, 0, sizeof r);
  for (int k = 0; k < 1000; k++) /* nine a second: never mute */
    CHECK(open_at(&key, wrong, 40, &r, (int64_t)k * 112 * MS) == FSW_COMMAND_REFUSED_TAG);
  CHECK(open_at(&key, good, 40, &r, (int64_t)1000 * 112 * MS) == 0);
  memset(&r, 0, sizeof r);
  int64_t t = 0, seen[20000];
  uint32_t n = 0, mutes = 0;
  for (uint32_t k = 0; k < 20000; k++) {
    t += (int64_t)(random64() % 150) * MS;
    uint32_t reason = open_at(&key, wrong, 40, &r, t);
    if (reason == FSW_COMMAND_REFUSED_TAG) seen[n++] = t;
    else mutes++;
  }
  for (uint32_t k = 10; k < n; k++) CHECK(seen[k] - seen[k - 10] >= FSW_COMMAND_MUTE_NS);
  CHECK(mutes > 100 && n > 5000);
  /* a clock that goes back neither leaves it mute for ever nor counts */
  memset(&r, 0, sizeof r);
  for (int k = 0; k < 10; k++) (void)open_at(&key, wrong, 40, &r, INT64_MAX);
  CHECK(open_at(&key, good, 40, &r, INT64_MAX) == FSW_COMMAND_REFUSED_MUTED);
  CHECK(open_at(&key, good, 40, &r, INT64_MIN / 2) == 0);
}

/* ---- hostile commands by the million ------------------------------------------------------------------------------------------ */

enum { H_RANDOM, H_TAG, H_SHORT, H_REPLAY, H_OLDER, H_ROLLBACK, H_WRAP, H_FLIP, H_FLIPS, H_BURST, H_KEY, H_SPLICE, H_OTHER_TAG, H_COUNT };
static const char *const h_name[H_COUNT] = { "random bytes", "random tag", "truncated or too long", "replayed", "held back and delivered late",
  "counter rolled back", "counter wrapped", "one bit flipped", "two bits flipped", "burst of bits", "another key", "tag of another command",
  "all of it new but the tag" };

#define KEPT 64
typedef struct {
  fsw_command_key_t key, other;
  fsw_command_receiver_t r;
  uint8_t kept[KEPT][FSW_COMMAND_BYTES]; /* the last genuine ones, all of them delivered */
  uint8_t golden[FSW_COMMAND_BYTES];     /* genuine, next in turn, not delivered yet: what an attacker would change on its way */
  uint64_t counter;
  int64_t t_ns;
  uint64_t tried[H_COUNT], genuine, wrong;
  uint32_t flip;
} enemy_t;

static void flip_bit(uint8_t *b, uint32_t bit) { b[bit / 8u] ^= (uint8_t)(1u << bit % 8u); }

/* The bits at both ends of a burst are wrong, those in between at random. */
static void burst(uint8_t *b, uint32_t first, uint32_t length) {
  for (uint32_t k = 0; k <= length; k++)
    if (k == 0 || k == length || random64() & 1) flip_bit(b, (first + k) % 320);
}

static void next_golden(enemy_t *e) {
  uint16_t id = (uint16_t)(1 + random64() % 4);
  uint64_t token = id == FSW_COMMAND_FIRE ? random64() | 1 : 0;
  make(&e->key, ++e->counter, id, token, e->golden);
}

/* Bytes of a hostile command; returns their number. */
static size_t hostile(enemy_t *e, uint32_t kind, uint8_t *b) {
  const uint8_t *old = e->kept[random64() % KEPT];
  uint64_t last = e->counter - 1; /* that was delivered */
  size_t n = FSW_COMMAND_BYTES;
  uint32_t bit = (uint32_t)(random64() % 320), more = (uint32_t)(random64() % 319);
  memcpy(b, e->golden, n);
  switch (kind) {
    case H_RANDOM: random_bytes(b, n); break;
    case H_TAG: random_bytes(b + 24, 16); break;
    case H_SHORT: n = random64() % 64; break;
    case H_REPLAY: memcpy(b, old, n); break;
    case H_OLDER: make(&e->key, last, FSW_COMMAND_ABORT, 0, b); break; /* authentic, but overtaken by a later one */
    case H_ROLLBACK: make(&e->key, random64() % (last + 1), FSW_COMMAND_ARM, 0, b); break;
    case H_WRAP: make(&e->key, last + (random64() % 2 ? 0 : UINT64_MAX - random64() % last), FSW_COMMAND_ARM, 0, b); break;
    case H_FLIP: flip_bit(b, e->flip++ % 320); break;
    case H_FLIPS: flip_bit(b, bit), flip_bit(b, (bit + 1 + more) % 320); break;
    case H_BURST: burst(b, bit, 2 + more % 31); break;
    case H_KEY:
      flip_bit(e->other.bytes, bit % 256); /* a key that differs in one bit */
      make(&e->other, e->counter, FSW_COMMAND_FIRE, random64() | 1, b);
      flip_bit(e->other.bytes, bit % 256);
      break;
    case H_SPLICE: memcpy(b + 24, old + 24, 16); break;
    default: random_bytes(b, 24); break;
  }
  if (n > FSW_COMMAND_BYTES) memset(b + FSW_COMMAND_BYTES, 0, n - FSW_COMMAND_BYTES);
  if (n == FSW_COMMAND_BYTES && memcmp(b, e->golden, n) == 0) flip_bit(b, 0); /* by chance the genuine one */
  return n;
}

/* The genuine command that was attacked is accepted; every bit of it flipped was not, before. */
static void deliver(enemy_t *e) {
  fsw_command_t out;
  CHECK(fsw_command_open(&e->key, e->golden, sizeof e->golden, &e->r, e->t_ns, &out) == 0 && out.counter == e->counter);
  memcpy(e->kept[e->genuine++ % KEPT], e->golden, sizeof e->golden);
  next_golden(e);
}

static void test_hostile(uint64_t commands) {
  static enemy_t e;
  fsw_command_t out;
  uint8_t b[64];
  struct timespec begin, end;
  e.key = e.other = test_key();
  e.counter = 1000;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  next_golden(&e);
  for (uint32_t k = 0; k < KEPT; k++) deliver(&e);
  for (uint64_t k = 0; k < commands; k++) {
    uint32_t kind = (uint32_t)(k % H_COUNT);
    size_t n = hostile(&e, kind, b);
    e.t_ns += 200 * MS; /* below the limit on wrong tags: every one is examined */
    fsw_command_receiver_t before = e.r;
    uint32_t reason = fsw_command_open(&e.key, b, n, &e.r, e.t_ns, &out);
    e.tried[kind]++;
    if (reason == 0 || reason == FSW_COMMAND_REFUSED_MUTED || e.r.counter != before.counter) e.wrong++;
    if (k % 16 == 15) deliver(&e);
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  for (uint32_t k = 0; k < H_COUNT; k++) printf("  %-30s %10llu\n", h_name[k], (unsigned long long)e.tried[k]);
  CHECK(e.wrong == 0);
  CHECK(e.r.accepted == e.genuine && e.genuine >= commands / 16);
  printf("hostile commands: %llu, accepted: %llu; genuine in between: %llu, accepted: %u; %.1f s\n", (unsigned long long)commands,
         (unsigned long long)e.wrong, (unsigned long long)e.genuine, e.r.accepted,
         (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
}

/* Every single flip and every pair of flips of golden commands: not sampled. */
static void test_flips(void) {
  fsw_command_key_t key = test_key();
  uint8_t b[FSW_COMMAND_BYTES];
  uint64_t n = 0, wrong = 0;
  int64_t t = 0;
  for (uint16_t id = 1; id <= 4; id++) {
    fsw_command_receiver_t r = { 0 };
    fsw_command_t out;
    make(&key, 77, id, id == FSW_COMMAND_FIRE ? 123456789 : 0, b);
    for (uint32_t i = 0; i < 320; i++)
      for (uint32_t j = i; j < (id == FSW_COMMAND_FIRE ? 320 : i + 1); j++, n++) {
        flip_bit(b, i);
        if (j != i) flip_bit(b, j);
        if (fsw_command_open(&key, b, sizeof b, &r, t += 200 * MS, &out) != FSW_COMMAND_REFUSED_TAG) wrong++;
        flip_bit(b, i);
        if (j != i) flip_bit(b, j);
      }
    CHECK(fsw_command_open(&key, b, sizeof b, &r, t += 200 * MS, &out) == 0);
  }
  CHECK(wrong == 0);
  printf("bits flipped in golden commands, every one and every two of a FIRE: %llu, accepted: %llu\n", (unsigned long long)n,
         (unsigned long long)wrong);
}

static void test_wrap(void) {
  fsw_command_key_t key = test_key();
  fsw_command_receiver_t r = { .counter = UINT64_MAX - 1 };
  uint8_t b[FSW_COMMAND_BYTES];
  make(&key, UINT64_MAX, FSW_COMMAND_DISARM, 0, b);
  CHECK(open_at(&key, b, sizeof b, &r, 0) == 0);
  for (uint64_t counter = 0; counter < 1000; counter++) {
    make(&key, counter, FSW_COMMAND_ABORT, 0, b);
    CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_COUNTER);
    make(&key, UINT64_MAX - counter, FSW_COMMAND_ABORT, 0, b);
    CHECK(open_at(&key, b, sizeof b, &r, 0) == FSW_COMMAND_REFUSED_COUNTER);
  }
}

int main(int argc, char **argv) {
  double commands = argc > 1 ? strtod(argv[1], NULL) : 1e5;
  if (!(commands >= 1 && commands <= 1e12)) {
    fprintf(stderr, "usage: test_command [COMMANDS], 1 to 1e12\n");
    return 2;
  }
  test_vectors();
  test_receiver();
  test_mute();
  test_wrap();
  test_flips();
  test_hostile((uint64_t)commands);
  printf(failures ? "FAILED: %d\n" : "ok\n", failures);
  return failures != 0;
}
