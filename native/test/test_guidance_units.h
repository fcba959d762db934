/* test_guidance_units.h - part of test_guidance.c: the touchdown decision and the hop. */

#define CHECK(x) do { if (!(x)) { printf("FAIL line %d: %s\n", __LINE__, #x); bad++; } } while (0)

typedef struct {
  fsw_touchdown_state_t s;
  fsw_touchdown_params_t p;
  fsw_nav_t nav;
  fsw_touch_t touch;
  fsw_guidance_t g;
  fsw_touchdown_t out;
  fsw_events_t ev;
  int64_t tick;
} td_t;

static void td_init(td_t *t)
{
  memset(t, 0, sizeof *t);
  t->p = (fsw_touchdown_params_t){ .arm_height_m = 3, .arm_speed_m_s = 12, .contact_height_m = 0.3, .contact_speed_m_s = 1.5,
    .persist_s = 0.1, .persist_low_s = 0.05, .rest_s = 0.5 };
  t->nav.valid = t->touch.valid = 1;
  t->nav.q_bl[0] = 1;
  t->touch.n_legs = 4;
  t->g.phase = FSW_PHASE_BURN;
}

static void td_step(td_t *t, double h, double v, int feet)
{
  const fsw_topic_head_t head = { t->tick, 1, 0 };
  const fsw_topic_head_t *heads[4] = { &head, &head, NULL, &head };
  const void *in[4] = { &t->nav, &t->touch, NULL, &t->g };
  void *out[2] = { &t->out, &t->ev };
  t->nav.r_bl_l[2] = h, t->nav.v_bl_l[2] = -v;
  for (int k = 0; k < 4; k++) t->touch.contact[k] = k < feet;
  fsw_io_t io = { .tick = t->tick, .t_ns = t->tick * 1000000, .dt_ns = 5000000, .publish = 3, .in = in, .in_head = heads, .out = out,
    .state = &t->s, .params = &t->p };
  fsw_task_gnc_touchdown.step(&io);
  t->tick += 5;
}

/* Mars Polar Lander: transients of 5 to 33 ms on all switches, at every height, before and during the landing phase. */
static int mpl(void)
{
  int bad = 0;
  td_t t;
  for (int phase = FSW_PHASE_AERO; phase <= FSW_PHASE_BURN; phase++) {
    for (int ms = 5; ms <= 45; ms += 5) {
      td_init(&t);
      t.g.phase = (uint8_t)phase;
      for (double h = 60; h > 0.05; h -= 0.01) {
        double v = fsw_sqrt(0.64 + 13 * h);
        td_step(&t, h, v, ((int)(h * 100) * 5) % 200 < ms ? 4 : 0);
      }
      CHECK(!t.out.landed);
    }
  }
  td_init(&t); /* switches closed for good since leg deployment: no cut above the ground */
  for (double h = 60; h > 3.0; h -= 0.05) td_step(&t, h, 20, 4);
  CHECK(!t.out.landed && !t.out.armed);
  td_init(&t);
  for (int k = 0; k < 19; k++) td_step(&t, 0.5, 1.0, 2);
  CHECK(!t.out.landed && t.out.armed);
  for (int k = 0; k < 3; k++) td_step(&t, 0.4, 1.0, 2);
  CHECK(t.out.landed);
  td_init(&t);
  for (int k = 0; k < 12; k++) td_step(&t, 0.1, 0.8, 1);
  CHECK(t.out.landed);
  td_init(&t); /* navigation lost or not in the burn: never */
  t.nav.valid = 0;
  for (int k = 0; k < 200; k++) td_step(&t, 0.1, 0.8, 4);
  CHECK(!t.out.landed);
  t.nav.valid = 1, t.g.phase = FSW_PHASE_ASCENT;
  for (int k = 0; k < 200; k++) td_step(&t, 0.1, 0.8, 4);
  CHECK(!t.out.landed);
  return bad;
}

/* The hopper of bench_configs/vehicles: up, off, down. */
static int hop(uint64_t seed)
{
  int bad = 0, phases = 0, n = 0;
  fsw_guidance_params_t p = params();
  world_t w;
  fsw_guidance_state_t s;
  fsw_nav_t nav;
  fsw_guidance_t g;
  fsw_engines_t eng;
  fsw_events_t ev;
  setup(&w, seed, NOMINAL);
  p.n_engines = 1, p.thrust_sl_n = 785e3, p.thrust_vac_n = 890e3, p.mass_dry_kg = 38000, p.propellant_kg = 20000, p.drag_area_m2 = 9;
  p.cl_alpha_1_rad = 0;
  double top = 0, scale = w.thrust_sl / 814e3;
  memset(&s, 0, sizeof s), memset(&nav, 0, sizeof nav), memset(&g, 0, sizeof g), memset(&eng, 0, sizeof eng), memset(&ev, 0, sizeof ev);
  memset(w.r, 0, sizeof w.r), memset(w.v, 0, sizeof w.v);
  fsw_v3_set(0, 0, 1, w.x);
  w.m = 58000, w.cda = 9, w.cl = 0, w.thrust_sl = 785e3 * scale;
  for (int k = 1; k < NE; k++) w.e[k].failed = 1;
  w.spares_ok = 0;
  fsw_task_gnc_guidance_hop.init(&s, &p);
  const void *in[3] = { &nav, &eng, NULL };
  void *out[2] = { &g, &ev };
  fsw_topic_head_t head = { 0, 1, 0 };
  const fsw_topic_head_t *heads[3] = { &head, &head, NULL };
  double dir[3] = { 0, 0, 1 }, f_l[3] = { 0, 0, G0 }, x[3] = { 1, 0, 0 };
  for (; n < 24000; n++) {
    if (n % 4 == 0) {
      measure(&w, f_l, seed, n * 5, &nav);
      head.tick = n * 5;
      fsw_io_t io = { .tick = n * 5, .t_ns = (int64_t)n * 5000000, .dt_ns = 20000000, .publish = 3, .in = in, .in_head = heads,
        .out = out, .state = &s, .params = &p };
      fsw_task_gnc_guidance_hop.step(&io);
      if (verbose) say(&ev);
      phases |= 1 << g.phase;
      fsw_q_rotate(g.q_cmd_bl, x, dir);
    }
    double rho, pr;
    air(w.r[2], &rho, &pr);
    eng.failed_mask = 0;
    if (g.engines == 0 && w.e[0].state == ENG_RUN && w.e[0].frac < 0.01) w.e[0].state = ENG_OFF, w.e[0].frac = 0;
    sequence(&w, &g, &eng, DT);
    eng.failed_mask = 0;
    share(&w, &g, &eng, 785e3 * (1 + (890.0 / 785.0 - 1) * (1 - pr)));
    move(&w, dir, f_l, DT);
    top = fsw_max(top, w.r[2]);
    if (w.r[2] <= 0 && top > 5) break;
    if (w.r[2] < 0) w.r[2] = 0, memset(w.v, 0, sizeof w.v);
  }
  double across = fsw_sqrt(w.v[0] * w.v[0] + w.v[1] * w.v[1]), miss = fsw_sqrt(w.r[0] * w.r[0] + w.r[1] * w.r[1]);
  printf("hop %d: apogee %.0f m, %.2f m/s down, %.2f across, %.1f m, %.0f kg used, phases %x\n", (int)seed, top, -w.v[2], across, miss,
    58000 - w.m, (unsigned)phases);
  CHECK(w.r[2] <= 0 && top > 450 && top < 560);
  CHECK(-w.v[2] > 0 && -w.v[2] < 2 && across < 1 && miss < 10);
  CHECK((phases & 0x1f) == 0x1f);
  return bad;
}

static int units(void)
{
  int bad = mpl();
  for (uint64_t k = 1; k <= 5; k++) bad += hop(k);
  return bad;
}
