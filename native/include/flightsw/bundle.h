/* bundle.h - a whole bench in one piece of memory: what flies without Python, on any processor.
 *
 * Bundle, little-endian: "FSWN", version u32 (1), node count u32, link count u32; per node: blob length u32, random stream u32,
 * seed u64, blob padded to 8 bytes; then per link six u32: source node, source topic, destination node, destination topic, latency
 * in ticks, payload size. flightsw.bundle writes it. */
#ifndef FLIGHTSW_BUNDLE_H
#define FLIGHTSW_BUNDLE_H
#include "flightsw/bench.h"

/* cffi: begin */
/* Load a bundle into `memory` (8-byte aligned; it is used from the front, *used tells how much) and join the nodes in `bench`.
 * FSW_OK, FSW_E_MAGIC, FSW_E_VERSION, FSW_E_SIZE (bundle truncated, or memory too small) or what the node or bench loader says;
 * *culprit is the node's index. */
int32_t fsw_bundle_load(fsw_bench_t *bench, const uint8_t *bytes, size_t size, void *memory, size_t capacity, size_t *used,
                        const fsw_task_desc_t *const *tasks, uint32_t n_tasks, uint32_t *culprit);
/* cffi: end */

#endif
