/* events.h - the story of a flight as coded events with words.
 *
 * A task with something to say writes fsw_events_t. The words live here, once: {s} is the subject, {0} and {1} the
 * arguments, with an optional printf precision as in {0:.1f}. Codes of a user's own tasks start at 1000. */
#ifndef FLIGHTSW_EVENTS_H
#define FLIGHTSW_EVENTS_H
#include "flightsw/messages.h"

#define FSW_EVENT_TABLE(X) \
  X(1, PHASE_AERO, "aerodynamic descent begins at {0:.0f} m, {1:.0f} m/s") \
  X(2, IGNITION_DECIDED, "landing burn decided at {0:.0f} m, {1:.1f} m/s") \
  X(3, BURN_STEERING, "thrust confirmed, steering to the pad from {0:.0f} m, {1:.1f} m/s") \
  X(4, DIVERT, "pad given up: diverting {0:.0f} m away, speed at the ground would be {1:.0f} m/s") \
  X(5, LANDED, "touchdown decided at {1:.2f} m/s, engines off") \
  X(6, ASCENT, "ascent begins") \
  X(7, CUTOFF, "engine cut-off commanded at {0:.0f} m, {1:.1f} m/s") \
  X(8, COAST, "coasting to an apogee of {0:.0f} m") \
  X(9, ABORT, "abort: {0:.0f}") \
  X(20, ENGINE_START, "engine {s}: start commanded (start number {0:.0f})") \
  X(21, ENGINE_LIT, "engine {s}: lit, chamber pressure {0:.2f} MPa, {1:.2f} s after its command") \
  X(22, ENGINE_NO_LIGHT, "engine {s}: did not light, chamber pressure {0:.2f} MPa, {1:.2f} s after its command") \
  X(23, ENGINE_DIED, "engine {s}: died, chamber pressure {0:.2f} MPa, {1:.2f} s after lighting") \
  X(24, ENGINE_SHUTDOWN, "engine {s}: shut down on command") \
  X(25, ENGINE_INHIBITED, "engine {s}: inhibited, not available (cause {0:.0f})") \
  X(26, SPARES, "spare engines {0:.0f} and {1:.0f} commanded as an opposite pair") \
  X(27, RETRY, "engine {s}: second start attempt") \
  X(28, NO_SPARES, "no engine left to start") \
  X(29, REDLINE, "engine {s}: chamber pressure redline {0:.2f} MPa") \
  X(30, LOW_THRUST, "engine {s}: thrust {0:.0f} % of its command, others compensate") \
  X(31, SENSOR_DISAGREE, "engine {s}: its two pressure sensors disagree by {0:.2f} MPa, sensor {1:.0f} in use") \
  X(32, ENGINE_ABORT, "engine {s}: start aborted in step {0:.0f} (cause {1:.0f})") \
  X(33, ENGINE_GATE, "engine {s}: start prolonged, signs of light {1:.2f} s after its command, chamber pressure {0:.2f} MPa") \
  X(40, IMU_EXCLUDED, "IMU {s}: excluded (cause {0:.0f})") \
  X(41, IMU_READMITTED, "IMU {s}: readmitted") \
  X(42, IMU_NONE, "no two IMUs agree: degraded to one") \
  X(43, GNSS_LOST, "GNSS receiver {s}: lost") \
  X(44, GNSS_BACK, "GNSS receiver {s}: in use") \
  X(45, RADALT_LOST, "radar altimeter {s}: lost") \
  X(46, RADALT_LOCKED, "radar altimeter {s}: in use, range {0:.1f} m") \
  X(47, GATE, "measurement of source {s} rejected, innovation {0:.1f} sigma") \
  X(48, RADALT_EXCLUDED, "radar altimeter {s}: disagrees with navigation by {0:.1f} m, excluded") \
  X(49, NAV_RESET, "navigation height reset by {0:.1f} m after a two-hypothesis test") \
  X(50, LANE_OUT, "navigation lane {s}: out of the output (cause {0:.0f})") \
  X(51, LANE_BACK, "navigation lane {s}: back in the output") \
  X(52, LANE_FORKED, "navigation lane {s}: started again from lane {0:.0f}, {1:.2f} m away from where it was") \
  X(53, LANES_LEVEL, "navigation: {0:.0f} lanes left") \
  X(54, IMU_COMMON, "IMUs fail together: taken for the environment, nobody isolated (accelerometers {0:.0f}, gyros {1:.0f})") \
  X(55, IMU_SILENT, "no IMU delivers: attitude and velocity are held") \
  X(56, SOURCE_OUT, "source {s}: excluded by the monitor (cause {0:.0f}), statistic {1:.0f}") \
  X(57, SOURCE_BACK, "source {s}: readmitted by the monitor") \
  X(60, TOUCHDOWN_ARMED, "touchdown logic armed at {0:.2f} m") \
  X(61, TOUCHDOWN_CONTACT, "foot {s}: contact") \
  X(70, FAULT_BEGIN, "fault injected: type {0:.0f} on target {1:.0f}, unit {s}") \
  X(71, FAULT_END, "fault removed: type {0:.0f} on target {1:.0f}, unit {s}")

enum {
#define FSW_X(code, name, text) FSW_EVENT_##name = code,
  FSW_EVENT_TABLE(FSW_X)
#undef FSW_X
  FSW_EVENT_USER = 1000
};

static inline void fsw_event(fsw_events_t *ev, int64_t t_ns, uint16_t code, uint16_t subject, double arg0, double arg1) {
  uint32_t k = ev->count;
  if (k >= FSW_EVENT_SLOTS) {
    ev->lost++;
    return;
  }
  ev->t_ns = t_ns;
  ev->code[k] = code;
  ev->subject[k] = subject;
  ev->arg0[k] = arg0;
  ev->arg1[k] = arg1;
  ev->count = k + 1;
}

/* cffi: begin */
const char *fsw_event_text(uint32_t code);   /* template, or NULL for an unknown code */
const char *fsw_event_name(uint32_t code);   /* for example "ENGINE_LIT", or NULL */
/* cffi: end */

#endif
