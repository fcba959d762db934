/* bundle.h - a whole bench in one piece of memory: what flies without Python, on any processor, from any tick.
 *
 * Bundle, version 2. All numbers are little-endian; every part begins at a multiple of 8 bytes, zeros fill the gaps.
 *     offset  size
 *          0     4  "FSWN"
 *          4     4  version         u32, 2
 *          8     8  hash            u64, XXH64 with seed 0 of all bytes after this field
 *         16     8  start tick      i64, the first tick to run, not negative
 *         24     4  size            u32, of the bundle
 *         28     4  nodes           u32
 *         32     4  links           u32
 *         36     4  link image      u32, its length; 0: nothing is in flight
 *   then per node:
 *          0     4  blob            u32, length of its load blob (node.h)
 *          4     4  image           u32, length of its start image; 0: it starts from the initial image of its blob
 *          8     4  stream          u32, its random stream: the low half of XXH64, seed 0, of the node's name
 *         12     4  zero
 *         16     8  seed            u64, of the random numbers
 *         24        blob, start image
 *   then per link six u32: source node, source topic, destination node, destination topic, latency in ticks, payload size
 *   then the link image: due lists of u16, then rings of payloads (bench.c)
 *
 * Start images and link image are a snapshot: the bench goes on from it bit for bit, on whatever machine the snapshot was taken. Stream,
 * seed and start tick stand in each image as well; what stands here is put in their place, except that an image of another tick or of
 * another blob is refused. flightsw.bundle writes bundles, fsw_bundle_save renews one where it lies. The hash finds accidents; a bundle that
 * passes it may still be malformed: every length, index and due list is checked before it is used. */
#ifndef FLIGHTSW_BUNDLE_H
#define FLIGHTSW_BUNDLE_H
#include "flightsw/bench.h"

/* cffi: begin */
#define FSW_BUNDLE_VERSION 2

/* Load a bundle into `memory` (8-byte aligned; it is used from the front, *used tells how much) and join the nodes in `bench`, at the
 * bundle's start tick. `bytes` may lie in read-only memory, at any address, and is not needed afterwards.
 * FSW_OK, FSW_E_MAGIC, FSW_E_VERSION, FSW_E_SIZE (a length is wrong, or memory is too small), FSW_E_HASH (damaged, or a start image is of
 * another load blob), FSW_E_RANGE (an image is of another tick, or an index points outside) or what the node or bench loader says;
 * *culprit is the index of the node, or the number of nodes when it is none of them. */
int32_t fsw_bundle_load(fsw_bench_t *bench, const uint8_t *bytes, size_t size, void *memory, size_t capacity, size_t *used,
                        const fsw_task_desc_t *const *tasks, uint32_t n_tasks, uint32_t *culprit);

/* Put the present state of `bench` into the bundle it was loaded from: images, messages in flight, tick, hash. The same bytes come out on
 * every machine. FSW_OK, or FSW_E_SIZE when the bundle has no room: it must have been written with start images and link image. */
int32_t fsw_bundle_save(const fsw_bench_t *bench, uint8_t *bytes, size_t size);
/* cffi: end */

#endif
