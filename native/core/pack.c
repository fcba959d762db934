#include "flightsw/pack.h"

#include "flightsw/exact.h"

static void put(fsw_pack_t *p, const void *bytes, size_t n) {
  if (p->full || n > p->left) {
    p->full = 1;
    return;
  }
  __builtin_memcpy(p->at, bytes, n);
  p->at += n;
  p->left -= n;
}

/* A type byte and a number of `width` bytes, big-endian as the format wants it. */
static void put_number(fsw_pack_t *p, uint8_t type, uint64_t value, uint32_t width) {
  uint8_t out[9] = {type};
  for (uint32_t i = 0; i < width; i++) out[1 + i] = (uint8_t)(value >> (8u * (width - 1u - i)));
  put(p, out, 1u + width);
}

static size_t length_of(const char *text) {
  size_t n = 0;
  while (n < 65535 && text[n]) n++;
  return n;
}

void fsw_pack_map(fsw_pack_t *p, uint32_t entries) { put_number(p, (uint8_t)(0x80u | (entries & 15u)), 0, 0); }

void fsw_pack_list(fsw_pack_t *p, uint32_t count) { put_number(p, (uint8_t)(0x90u | (count & 15u)), 0, 0); }

void fsw_pack_text(fsw_pack_t *p, const char *text) {
  size_t n = length_of(text);
  if (n < 32) put_number(p, (uint8_t)(0xa0u | n), 0, 0);
  else if (n < 256) put_number(p, 0xd9, n, 1);
  else put_number(p, 0xda, n, 2);
  put(p, text, n);
}

void fsw_pack_number(fsw_pack_t *p, uint64_t value) {
  if (value < 128) put_number(p, (uint8_t)value, 0, 0);
  else if (value <= 0xffu) put_number(p, 0xcc, value, 1);
  else if (value <= 0xffffu) put_number(p, 0xcd, value, 2);
  else if (value <= 0xffffffffu) put_number(p, 0xce, value, 4);
  else put_number(p, 0xcf, value, 8);
}

void fsw_pack_mark(fsw_pack_t *p, uint64_t value) {
  char text[17];
  for (uint32_t i = 0; i < 16; i++) text[i] = "0123456789abcdef"[value >> (60u - 4u * i) & 15u];
  text[16] = 0;
  fsw_pack_text(p, text);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

typedef struct {
  const uint8_t *at;
  size_t left;
  int32_t bad;
} in_t;

static uint64_t take_number(in_t *in, uint32_t width) {
  uint64_t v = 0;
  if (in->left < width) in->bad = 1;
  for (uint32_t i = 0; !in->bad && i < width; i++) v = v << 8 | in->at[i];
  if (!in->bad) {
    in->at += width;
    in->left -= width;
  }
  return v;
}

enum { NOTHING, TEXT, NUMBER, LIST, MAP };

typedef struct {
  int32_t kind;
  uint64_t number;      /* of a text: its length, of a list or map: its entries */
  const uint8_t *text;
} value_t;

static value_t sized(in_t *in, int32_t kind, uint64_t n) {
  value_t v = {.kind = kind, .number = n, .text = in->at};
  if (kind != TEXT) return v;
  if (n > in->left) in->bad = 1;
  else {
    in->at += n;
    in->left -= (size_t)n;
  }
  return v;
}

static value_t take(in_t *in) {
  uint8_t type = (uint8_t)take_number(in, 1);
  if (type < 0x80) return (value_t){.kind = NUMBER, .number = type};
  if (type < 0x90) return sized(in, MAP, type & 15u);
  if (type < 0xa0) return sized(in, LIST, type & 15u);
  if (type < 0xc0) return sized(in, TEXT, type & 31u);
  if (type == 0xd9 || type == 0xda) return sized(in, TEXT, take_number(in, type == 0xd9 ? 1 : 2));
  if (type == 0xde) return sized(in, MAP, take_number(in, 2));
  if (type >= 0xcc && type <= 0xcf) return (value_t){.kind = NUMBER, .number = take_number(in, 1u << (type - 0xccu))};
  in->bad = 1;
  return (value_t){.kind = NOTHING};
}

static int same(const value_t *v, const char *key) {
  size_t n = length_of(key);
  if (v->kind != TEXT || v->number != n) return 0;
  for (size_t i = 0; i < n; i++)
    if (v->text[i] != (uint8_t)key[i]) return 0;
  return 1;
}

int32_t fsw_pack_find(const uint8_t *bytes, size_t size, const char *key, char *text, size_t capacity, uint64_t *number) {
  in_t in = {bytes, size, 0};
  value_t map = take(&in);
  int32_t found = 0;
  if (in.bad || map.kind != MAP) return -1;
  for (uint64_t i = 0; i < map.number && !in.bad; i++) {
    value_t name = take(&in), value = take(&in);
    if (name.kind != TEXT || value.kind == MAP) return -1;
    for (uint64_t k = 0; value.kind == LIST && k < value.number && !in.bad; k++)
      if (take(&in).kind >= LIST) return -1;
    if (in.bad || !same(&name, key)) continue;
    if (value.kind == TEXT && capacity) {
      size_t n = value.number < capacity - 1 ? (size_t)value.number : capacity - 1;
      __builtin_memcpy(text, value.text, n);
      text[n] = 0;
      found = 1;
    } else if (value.kind == NUMBER) {
      *number = value.number;
      found = 2;
    }
  }
  return in.bad ? -1 : found;
}
