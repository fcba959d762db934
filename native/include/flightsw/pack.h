/* pack.h - a small part of MessagePack: maps from texts to texts, whole numbers and lists of texts, as manifests are made of.
 *
 * Format: MessagePack specification (S. Furuhashi), types fixmap/map16, fixstr/str8/str16, positive fixint/uint 8 to 64, fixarray. Received bytes
 * are untrusted: the reader takes bytes of any content and length, never reads out of bounds and does not nest deeper than one list. */
#ifndef FLIGHTSW_PACK_H
#define FLIGHTSW_PACK_H
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
typedef struct {
  uint8_t *at;
  size_t left;
  int32_t full;             /* 1: something did not fit, what is there is of no use */
  uint32_t pad0;
} fsw_pack_t;

/* A map of `entries` (at most 15) entries follows. */
void fsw_pack_map(fsw_pack_t *p, uint32_t entries);
/* A list of `count` (at most 15) texts follows. */
void fsw_pack_list(fsw_pack_t *p, uint32_t count);
void fsw_pack_text(fsw_pack_t *p, const char *text);
void fsw_pack_number(fsw_pack_t *p, uint64_t value);
/* 16 hexadecimal digits, as texts are that stand for 64-bit marks. */
void fsw_pack_mark(fsw_pack_t *p, uint64_t value);

/* The value of a key of a map: 1 with a text in `text` (cut to capacity - 1, closed with a zero) or 2 with a number in *number; 0 when there is no
 * such key or its value is of another kind, -1 when these bytes are no such map. */
int32_t fsw_pack_find(const uint8_t *bytes, size_t size, const char *key, char *text, size_t capacity, uint64_t *number);
/* cffi: end */

#endif
