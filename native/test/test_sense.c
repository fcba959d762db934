/* test_sense.c - sensing of one engine: persistence, voting of two pressure sensors, truth tables of ignition and flame-out, conditions of
 * the table, and every single flipped bit of its state. Exits non-zero on failure. */
#include <stdio.h>
#include <string.h>

#include "flightsw/math.h"
#include "sequencer_defaults.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++, (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond)))
#define NOT_A_NUMBER __builtin_nan("")

typedef struct {
  fsw_seq_table_t table;
  fsw_seq_sense_limits_t limits;
  fsw_seq_engine_t e;
  fsw_seq_sense_t q;
  fsw_seq_measured_t m;
} rig_t;

static uint8_t row_of(const rig_t *r, uint8_t role)
{
  uint8_t k = 0;
  while (r->table.row[k].role != role) k++;
  return k;
}

static void at(rig_t *r, uint8_t role)
{
  r->e.row = row_of(r, role);
  r->e.check = fsw_seq_check_word(&r->e);
}

static rig_t fresh(uint8_t role)
{
  rig_t r;
  fsw_sequencer_params_t p;
  memset(&r, 0, sizeof r);
  defaults(&p);
  CHECK(fsw_seq_table(&p, 0.01, &r.table, &r.limits) == 0);
  fsw_seq_engine_init(&r.e);
  fsw_seq_sense_init(&r.q);
  r.m = (fsw_seq_measured_t){ .expect = 0.8, .inlet_pa = 3e5, .pump_k = 100.0, .fresh = 1, .valid = 1 };
  at(&r, role);
  return r;
}

static uint32_t sample(rig_t *r) { return fsw_seq_sense(&r->q, &r->e, &r->m, &r->table, &r->limits); }

static uint32_t samples(rig_t *r, int n)
{
  uint32_t is = 0;
  for (int i = 0; i < n; i++) is = sample(r);
  return is;
}

/* Samples until a bit is set, at most `most`; 0: never. */
static int until(rig_t *r, uint32_t bit, int most)
{
  for (int i = 1; i <= most; i++) {
    if (sample(r) & bit) return i;
  }
  return 0;
}

static void persistence(void)
{
  for (int persist = 1; persist <= 250; persist++) {
    for (int n = 0; n <= 250; n++) {
      uint8_t yes = fsw_seq_persist((uint8_t)n, 1, (uint8_t)persist), no = fsw_seq_persist((uint8_t)n, 0, (uint8_t)persist);
      CHECK(no == 0 && yes == (n < persist ? n + 1 : persist));
    }
  }
}

/* P, A of one sensor, of both, of none: when is it lit? */
static void truth_table_of_ignition(void)
{
  enum { LIT = 2 };
  for (int usable_a = 0; usable_a < 2; usable_a++) {
    for (int usable_b = 0; usable_b < 2; usable_b++) {
      for (int k = 0; k < 8; k++) {
        int pa = (k & 1) * usable_a, pb = (k >> 1 & 1) * usable_b, accel = k >> 2, usable = usable_a + usable_b;
        rig_t r = fresh(FSW_ENGINE_RISE);
        r.m.pc_a = usable_a ? (pa ? 0.4 : 0.0) : NOT_A_NUMBER;
        r.m.pc_b = usable_b ? (pb ? 0.4 : 0.0) : 50.0;
        r.m.accel_rose = (uint8_t)accel;
        int expected = usable == 0 ? (accel ? 4 * LIT : 0) : 0;
        if (usable == 2 && pa && pb) expected = accel ? LIT : 2 * LIT;
        if (usable == 2 && pa != pb) expected = accel ? LIT : 0;
        if (usable == 1 && (pa || pb)) expected = accel ? LIT : 4 * LIT;
        CHECK(until(&r, FSW_SEQ_IS_LIT, 60) == expected);
        uint32_t is = sample(&r), sign = FSW_SEQ_IS_SIGN;
        int high = r.q.pc >= r.limits.rise_share, either = high | accel;
        CHECK(((is & sign) != 0) == either);
        CHECK(((is & FSW_SEQ_IS_FLAME) != 0) == high);
      }
    }
  }
  rig_t r = fresh(FSW_ENGINE_CHILL); /* outside of a start nothing is decided, and nothing is kept */
  r.m.pc_a = r.m.pc_b = 0.5;
  r.m.accel_rose = 1;
  CHECK(until(&r, FSW_SEQ_IS_LIT | FSW_SEQ_IS_SIGN | FSW_SEQ_IS_FLAME, 30) == 0 && r.q.n_p == 0 && r.q.n_a == 0);
}

/* Three witnesses: sensor A, sensor B, acceleration. */
static void truth_table_of_flame_out(void)
{
  enum { DEAD = 3 };
  static const double pc[3] = { 0.8, 0.05, 50.0 }; /* healthy, low, no measurement */
  for (int a = 0; a < 3; a++) {
    for (int b = 0; b < 3; b++) {
      for (uint8_t accel = 0; accel <= FSW_SEQ_ACCEL_EXCESS; accel++) {
        for (uint8_t fire = 0; fire < 2; fire++) {
          rig_t r = fresh(FSW_ENGINE_MAIN);
          r.m.pc_a = r.m.pc_b = 0.8;
          r.m.accel = FSW_SEQ_ACCEL_HEALTHY;
          CHECK((samples(&r, 300) & (FSW_SEQ_IS_OUT | FSW_SEQ_IS_FLAME)) == FSW_SEQ_IS_FLAME);
          r.m.pc_a = pc[a];
          r.m.pc_b = pc[b];
          r.m.accel = accel;
          r.m.fire = fire;
          int low = (a == 1) + (b == 1), none = a == 2 && b == 2, lost = accel == FSW_SEQ_ACCEL_LOST, expected = 0;
          if (low == 2 && (lost || accel == FSW_SEQ_ACCEL_UNKNOWN)) expected = DEAD;
          else if (lost && (low > 0 || none)) expected = fire ? DEAD : 4 * DEAD;
          CHECK(until(&r, FSW_SEQ_IS_OUT, 100) == expected);
          CHECK(((sample(&r) & FSW_SEQ_IS_FIRE) != 0) == fire);
        }
      }
    }
  }
}

static void ramp_is_not_a_flame_out(void)
{
  rig_t r = fresh(FSW_ENGINE_MAIN); /* lit at 15 %, 0.9 s to go */
  for (int i = 0; i < 90; i++) {
    r.m.pc_a = r.m.pc_b = 0.15 + 0.0072 * i;
    CHECK(!(sample(&r) & FSW_SEQ_IS_OUT));
  }
  r = fresh(FSW_ENGINE_MAIN); /* and one that goes out in its ramp is seen */
  r.m.pc_a = r.m.pc_b = 0.3;
  samples(&r, 30);
  r.m.pc_a = r.m.pc_b = 0.02;
  CHECK(until(&r, FSW_SEQ_IS_OUT, 20) == 3);
  r = fresh(FSW_ENGINE_MAIN); /* the spike of a hard start is not the height of the ramp */
  for (int i = 0; i < 90; i++) {
    r.m.pc_a = r.m.pc_b = i > 2 && i < 12 ? 2.0 : 0.15 + 0.0072 * i;
    CHECK(!(sample(&r) & FSW_SEQ_IS_OUT));
  }
  r.q.t_main = 65535; /* time in MAIN ends at its greatest value */
  r.q.check = fsw_seq_sense_check(&r.q);
  sample(&r);
  CHECK(r.q.t_main == 65535);
}

static void disagreement(void)
{
  rig_t r = fresh(FSW_ENGINE_MAIN);
  r.m.accel = FSW_SEQ_ACCEL_HEALTHY;
  r.m.pc_a = 0.4;
  r.m.pc_b = 0.8;
  samples(&r, 4);
  CHECK(r.q.flags == 0 && r.q.pc > 0.79); /* nearer to the promise, not yet judged */
  sample(&r);
  CHECK(r.q.flags == (FSW_SEQ_SENSE_DISAGREE | FSW_SEQ_SENSE_A_OUT) && r.q.sensor == 1);
  r.m.pc_a = 0.8;
  samples(&r, 5);
  CHECK(r.q.flags == 0); /* reversible */
  r.m.pc_b = 1.2;
  samples(&r, 6);
  CHECK(r.q.flags == (FSW_SEQ_SENSE_DISAGREE | FSW_SEQ_SENSE_B_OUT) && r.q.pc == 0.8);
  r.m.pc_a = r.m.pc_b = 1.2; /* agree again, but not on what is promised: still in doubt */
  samples(&r, 20);
  CHECK(r.q.flags & FSW_SEQ_SENSE_B_OUT);
  r.m.accel = FSW_SEQ_ACCEL_LOST; /* acceleration says dead: the low one is believed */
  r.m.pc_a = 0.8;
  r.m.pc_b = 0.0;
  sample(&r);
  CHECK(r.q.sensor == 1);
  r = fresh(FSW_ENGINE_RISE); /* in a start acceleration tells which */
  r.m.pc_a = 0.0;
  r.m.pc_b = 0.5;
  sample(&r);
  CHECK(r.q.sensor == 0 && r.q.pc == 0.0);
  r.m.accel_rose = 1;
  sample(&r);
  CHECK(r.q.sensor == 1 && r.q.pc == 0.5);
  r.m.pc_a = 0.6;
  r.m.pc_b = 0.5;
  sample(&r);
  CHECK(r.q.sensor == 0);
}

/* Both sensors drift high, 5 s apart, the engine is healthy: the redline must not see it. The same pressure with more thrust is true. */
static void two_drifting_sensors(uint8_t accel, int both_true, int expected)
{
  rig_t r = fresh(FSW_ENGINE_MAIN);
  uint32_t red = CONDITION(4), tripped = 0;
  r.m.accel = accel;
  for (int i = 0; i < 2000; i++) {
    r.m.pc_a = 0.8 + fsw_clamp(0.002 * (i - 100), 0.0, 1.0);
    r.m.pc_b = 0.8 + fsw_clamp(0.002 * (i - (both_true ? 100 : 600)), 0.0, 1.0);
    tripped |= sample(&r) & red;
  }
  CHECK((tripped != 0) == expected);
  CHECK(expected || r.q.pc < 1.0);
}

static void lone_sensor(void)
{
  rig_t r = fresh(FSW_ENGINE_MAIN);
  r.m.pc_a = NOT_A_NUMBER;
  r.m.pc_b = 1.5;
  r.m.accel = FSW_SEQ_ACCEL_UNKNOWN;
  samples(&r, 11);
  CHECK(r.q.flags == 0 && r.q.pc == 1.5);
  CHECK(until(&r, CONDITION(4), 3) == 1); /* one sensor left: its limit still counts, after 12 samples in all */
  r.m.accel = FSW_SEQ_ACCEL_HEALTHY;
  samples(&r, 6);
  CHECK(r.q.flags == FSW_SEQ_SENSE_B_OUT && r.q.pc == 0.8 && !(sample(&r) & CONDITION(4)));
  r = fresh(FSW_ENGINE_MAIN);
  r.m.pc_a = 1.5;
  r.m.pc_b = -0.5;
  r.m.accel = FSW_SEQ_ACCEL_HEALTHY;
  samples(&r, 6);
  CHECK(r.q.flags == FSW_SEQ_SENSE_A_OUT && r.q.pc == 0.8);
  r.m.accel = FSW_SEQ_ACCEL_LOST;
  sample(&r);
  CHECK(r.q.pc == 0.0); /* nobody vouches for the engine any more */
  r = fresh(FSW_ENGINE_RISE);
  r.m.pc_a = 0.3;
  r.m.pc_b = NOT_A_NUMBER;
  sample(&r);
  CHECK(r.q.pc == 0.3);
  r.m.fresh = 0;
  CHECK((sample(&r) & FSW_SEQ_IS_LINK) == 0 && r.q.pc == 0.0);
}

static void set_condition(rig_t *r, uint8_t channel, uint8_t op, double value, double release, uint8_t persist)
{
  r->limits.condition[0] = (fsw_seq_condition_t){ .channel = channel, .op = op, .value = value, .release = release, .persist = persist };
  r->table.row[r->e.row].exit |= CONDITION(0);
}

static void channels(void)
{
  for (uint8_t channel = 0; channel < FSW_SEQ_CHANNELS; channel++) {
    for (uint8_t op = 0; op < 2; op++) {
      rig_t r = fresh(FSW_ENGINE_CHILL);
      double *values[FSW_SEQ_CHANNELS] = { &r.m.pc_a, &r.m.inlet_pa, &r.m.pump_k, &r.m.throttle, &r.m.axial_m_s2, &r.m.pc_a };
      double *x = values[channel], level = channel == FSW_SEQ_CHANNEL_PC_OVER ? -0.3 : channel == 0 ? 0.5 : 5.0, sign = op ? 1.0 : -1.0;
      double base = channel == FSW_SEQ_CHANNEL_PC_OVER ? 0.8 : 0.0;
      set_condition(&r, channel, op, level, level - 0.2 * sign, 2);
      double step[5] = { 0.3, 0.01, -0.1, -0.25, 0.01 };
      int hold[5] = { 0, 1, 1, 0, 0 }; /* twice in a row, within the release, beyond it, once */
      for (int i = 0; i < 5; i++) {
        *x = base + level + sign * step[i];
        r.m.pc_b = r.m.pc_a;
        CHECK(((sample(&r) & CONDITION(0)) != 0) == hold[i]);
      }
      r.m.pc_a = NOT_A_NUMBER; /* one sensor is enough */
      r.m.pc_b = base + level + sign * 0.3;
      CHECK(x != &r.m.pc_a || (samples(&r, 2) & CONDITION(0)));
      *x = NOT_A_NUMBER;
      r.m.pc_b = *x;
      CHECK((samples(&r, 3) & CONDITION(0)) == 0);
      *x = base + level + sign * 0.3;
      r.m.pc_b = *x;
      r.m.valid = 0; /* nobody vouches: only acceleration, which navigation measures, is left */
      CHECK(((samples(&r, 3) & CONDITION(0)) != 0) == (channel == FSW_SEQ_CHANNEL_AXIAL));
    }
  }
  rig_t r = fresh(FSW_ENGINE_CHILL);
  r.m.pump_k = 0.0; /* a broken sensor is not a cold pump */
  CHECK((samples(&r, 5) & CONDITION(1)) == 0);
}

/* What is asked of pressure must be true of both sensors. */
static void both_must_say_it(void)
{
  for (uint8_t op = 0; op < 2; op++) {
    rig_t r = fresh(FSW_ENGINE_CHILL);
    set_condition(&r, FSW_SEQ_CHANNEL_PC, op, 0.5, 0.5, 1);
    for (int k = 0; k < 4; k++) {
      r.m.pc_a = k & 1 ? 0.52 : 0.48;
      r.m.pc_b = k & 2 ? 0.52 : 0.48;
      CHECK(((sample(&r) & CONDITION(0)) != 0) == (op == FSW_SEQ_ABOVE ? k == 3 : k == 0));
    }
  }
}

static void counted_in_its_row(void)
{
  rig_t r = fresh(FSW_ENGINE_CHILL);
  CHECK((samples(&r, 5) & CONDITION(1)) && !(sample(&r) & CONDITION(4)));
  at(&r, FSW_ENGINE_PURGE); /* does not watch it */
  CHECK((samples(&r, 5) & CONDITION(1)) == 0);
  at(&r, FSW_ENGINE_CHILL);
  CHECK(until(&r, CONDITION(1), 5) == 2);
  r.e.row = 77; /* a row that does not exist: read as inhibited */
  CHECK((samples(&r, 2) & CONDITION(1)) == 0);
}

static void plain_bits(void)
{
  rig_t r = fresh(FSW_ENGINE_CHECK);
  CHECK((sample(&r) & (FSW_SEQ_IS_LINK | FSW_SEQ_IS_QUIET | FSW_SEQ_IS_IGNITER)) == (FSW_SEQ_IS_LINK | FSW_SEQ_IS_QUIET));
  r.m.igniter_ok = 1;
  CHECK(sample(&r) & FSW_SEQ_IS_IGNITER);
  r.m.pc_a = 0.3;
  CHECK(sample(&r) & FSW_SEQ_IS_QUIET);
  r.m.pc_b = 0.3;
  CHECK(!(sample(&r) & FSW_SEQ_IS_QUIET));
  r.m.pc_a = -0.02;
  CHECK(sample(&r) & FSW_SEQ_IS_QUIET);
  r.m.valid = 0;
  CHECK((sample(&r) & (FSW_SEQ_IS_LINK | FSW_SEQ_IS_QUIET | FSW_SEQ_IS_IGNITER)) == 0);
}

static void flame_that_comes_too_late(void)
{
  static const uint8_t role[3] = { FSW_ENGINE_SHUTDOWN, FSW_ENGINE_AFTER, FSW_ENGINE_SAFED };
  for (int k = 0; k < 3; k++) {
    rig_t r = fresh(role[k]);
    r.m.pc_a = 0.3;
    CHECK(until(&r, FSW_SEQ_IS_FLAME, 10) == 0); /* one sensor is not enough */
    r.m.pc_b = 0.3;
    CHECK(until(&r, FSW_SEQ_IS_FLAME, 10) == 2);
    r.m.pc_a = 0.03;
    CHECK(!(sample(&r) & FSW_SEQ_IS_FLAME));
    r.m.pc_a = NOT_A_NUMBER;
    CHECK(until(&r, FSW_SEQ_IS_FLAME, 10) == 0);
    r.m.pc_a = 0.3;
    r.m.pc_b = NOT_A_NUMBER;
    CHECK(until(&r, FSW_SEQ_IS_FLAME, 10) == 0);
  }
}

/* A flipped bit starts the counting anew: it can delay a decision, never make one. */
static void flipped_bits(void)
{
  rig_t base = fresh(FSW_ENGINE_MAIN);
  base.m.pc_a = base.m.pc_b = 0.8;
  base.m.accel = FSW_SEQ_ACCEL_HEALTHY;
  samples(&base, 40);
  for (uint32_t bit = 0; bit < 8 * sizeof base.q; bit++) {
    rig_t r = base;
    uint8_t raw[sizeof r.q];
    memcpy(raw, &r.q, sizeof raw);
    raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
    memcpy(&r.q, raw, sizeof raw);
    CHECK(fsw_seq_sense_check(&r.q) != r.q.check);
    CHECK((sample(&r) & (FSW_SEQ_IS_OUT | CONDITION(4))) == 0 && r.q.t_main == 1);
  }
}

int main(void)
{
  persistence();
  truth_table_of_ignition();
  truth_table_of_flame_out();
  ramp_is_not_a_flame_out();
  disagreement();
  two_drifting_sensors(FSW_SEQ_ACCEL_HEALTHY, 0, 0);
  two_drifting_sensors(FSW_SEQ_ACCEL_EXCESS, 1, 1);
  two_drifting_sensors(FSW_SEQ_ACCEL_UNKNOWN, 1, 1);
  lone_sensor();
  channels();
  both_must_say_it();
  counted_in_its_row();
  plain_bits();
  flame_that_comes_too_late();
  flipped_bits();
  printf("test_sense: %d failures\n", failures);
  return failures != 0;
}
