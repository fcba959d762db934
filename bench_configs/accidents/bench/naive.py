"""Flight software as it was once written: the naive twins of the accident scenarios. Each misses the protection that its accident asked for.

They fly the nominal mission; a test shows it. What they do wrong is theirs alone, not that of any company's software.
"""

from flightsw import TaskIO, python_task

COMMANDS = {f"engine_cmd{k}": "fsw_engine_cmd_t" for k in range(9)}  # engine 0's is written; the others stay closed
CHILL, IGNITE, BURN, PURGE = 1, 2 | 4 | 8, 4 | 8, 16
WAIT, START, RUN, REST, DEAD = 0, 1, 2, 3, 4
LIT = 0.15
STATE = """
typedef struct { double t0_s; uint32_t counter; uint8_t mode; uint8_t starts; uint8_t trips; uint8_t pad0[1]; } naive_sequencer_state_t;
"""
PARAMS = """
typedef struct {
  double pc_nominal_pa;    /* [1000, 1e9] : */
  double thrust_sl_n;      /* [1, 1e8] : */
  double chill_limit_k;    /* [20, 400] = 120 : */
  double throttle_start;   /* [0, 1] = 0.8 : */
  double start_timer_s;    /* [0, 60] = 4 : a start is given so long, whatever the pressure says */
  double ramp_limit_s;     /* [0, 60] = 60 : to 90 % of the commanded pressure, else the start is broken off and the mission too */
  double redline_share;    /* [0, 100] = 100 : one sensor above, once: shut down for good */
  double inlet_min_pa;     /* [0, 1e7] = 2e5 : for a start; 0: a timer will do */
  uint32_t strings;        /* [0, 2] = 0 : igniter strings to trip when no current is seen; 0: nobody looks */
  uint32_t words;          /* [0, 1] = 0 : 1 what the controller's words say is acted upon at once */
} naive_sequencer_params_t;
"""


@python_task("naive.sequencer", reads={"guidance": "fsw_guidance_t", "control": "fsw_control_t", "touchdown": "fsw_touchdown_t",
                                       "engine_status0": "fsw_engine_status_t"},
             writes={**COMMANDS, "engines": "fsw_engines_t"}, state=STATE, params=PARAMS)
def sequencer(io: TaskIO) -> None:
    """One engine by timers: chill, open everything, wait. Whatever goes wrong, the same engine is commanded again."""
    g, m, s, p, cmd, out = (io.reads["guidance"], io.reads["engine_status0"], io.state, io.params, io.writes["engine_cmd0"],
                            io.writes["engines"])
    pc, age, mode = float(m["pc_a_pa"]) / p["pc_nominal_pa"], io.t_ns * 1e-9 - float(s["t0_s"]), int(s["mode"])
    want, high = g["engines"] > 0 and not io.reads["touchdown"]["landed"], max(pc, m["pc_b_pa"] / p["pc_nominal_pa"]) > p["redline_share"]
    bad_word = p["words"] and mode in (START, RUN) and (m["valid"] != 1 or m["fire"] or m["pad0"].any() or not -0.1 < pc < 8.0)
    ready = m["chill_k"] < p["chill_limit_k"] - 4.0 and m["inlet_pa"] >= p["inlet_min_pa"]
    new = mode
    if mode == WAIT and want and ready:
        new = START
        s["starts"] += 1
    elif mode == START and p["strings"] and age > 0.1 and not m["igniter_ok"]:
        s["trips"] += 1  # over-current: trip this string and fail over to the next
        new = REST if s["trips"] < p["strings"] else DEAD
    elif mode in (START, RUN) and not want:
        new = DEAD if io.reads["touchdown"]["landed"] else REST
    elif mode in (START, RUN) and (high or bad_word or (pc < 0.9 * m["throttle"] and p["ramp_limit_s"] < age < p["ramp_limit_s"] + 1.0)):
        new = DEAD
    elif mode == START and pc > LIT:
        new = RUN
    elif (mode == START and age > p["start_timer_s"]) or (mode == RUN and pc < 0.1):
        new = REST
    elif mode == REST and age > 1.5:
        new = WAIT
    if new != mode and not (mode == START and new == RUN):
        s["t0_s"] = io.t_ns * 1e-9
    s["mode"], s["counter"] = new, s["counter"] + 1
    cmd["valves"] = (CHILL if want or g["phase"] >= 2 else 0, IGNITE, BURN, PURGE, 0)[new]
    cmd["counter"] = s["counter"]
    cmd["throttle"] = max(float(io.reads["control"]["throttle"][0]), 0.5) if new == RUN else p["throttle_start"] if new == START else 0.0
    out["t_ns"], out["lit_mask"], out["starting_mask"], out["starts"][0] = io.t_ns, int(new == RUN), int(new == START), s["starts"]
    out["pc_pa"][0], out["throttle"][0] = m["pc_a_pa"], cmd["throttle"]
    out["thrust_n"][0] = max(pc, 0.0) * p["thrust_sl_n"] if new == RUN else 0.0
    out["state"][0], out["spares_left"] = (3, 6, 7, 8, 9)[new], 0


@python_task("naive.imu", reads={"imu0": "fsw_imu_t"}, writes={"imu_voted": "fsw_imu_voted_t"})
def imu(io: TaskIO) -> None:
    """The first unit, whatever it says."""
    m, out = io.reads["imu0"], io.writes["imu_voted"]
    for name in ("t_valid_ns", "dtheta_b", "dv_b", "seq", "valid"):
        out[name] = m[name]
    out["used_mask"] = 1


@python_task("naive.receiver", reads={"command": "fsw_command_t"}, writes={"accepted": "fsw_command_t"},
             state="typedef struct { uint64_t seen; } naive_receiver_state_t;")
def receiver(io: TaskIO) -> None:
    """Whatever looks like a command is one: no tag is asked for."""
    c, out = io.reads["command"], io.writes["accepted"]
    if io.age_ticks("command") != 0 and int(c["counter"]) == int(io.state["seen"]):
        io.withhold("accepted")
        return
    io.state["seen"] = c["counter"]
    for name in ("counter", "id", "source"):
        out[name] = c[name]
    out["token"] = c["token"] if c["id"] != 2 else 1 + c["counter"]  # ARM is answered with a token that anybody can guess


ALTIMETER_STATE = """
typedef struct { double c_m; uint32_t seq; uint32_t rejected; uint8_t seen; uint8_t pad0[7]; } naive_altimeter_state_t;
"""
ALTIMETER_PARAMS = """
typedef struct {
  double gate_m;         /* [0, 1e9] = 1e9 : a range further from what is expected is rejected, for ever if need be */
  double gain;           /* [0, 1] = 0.2 : of an accepted one */
  double no_range_m;     /* [0, 1e5] = 0 : no range yet: it must be higher than this */
  double antenna_m;      /* [-200, 200] = 2 : above the body origin */
} naive_altimeter_params_t;
"""


@python_task("naive.altimeter", reads={"nav_inertial": "fsw_nav_t", "radalt0": "fsw_radalt_t"}, writes={"nav": "fsw_nav_t"},
             state=ALTIMETER_STATE, params=ALTIMETER_PARAMS)
def altimeter(io: TaskIO) -> None:
    """Height from inertial navigation and one altimeter: one gate, one gain, no second thought."""
    nav, m, s, p, out = io.reads["nav_inertial"], io.reads["radalt0"], io.state, io.params, io.writes["nav"]
    for name in ("t_valid_ns", "r_bl_l", "v_bl_l", "q_bl", "omega_bl_b", "f_b", "valid", "quality"):
        out[name] = nav[name]
    q = nav["q_bl"].tolist()
    up = 2.0 * (q[1] * q[3] - q[0] * q[2])  # of the stage axis
    h, c = float(nav["r_bl_l"][2]), float(s["c_m"])
    if m["valid"] and int(m["seq"]) != int(s["seq"]) and up > 0.9:
        s["seq"], s["seen"] = m["seq"], 1
        missed = float(m["range_m"]) * up - p["antenna_m"] - (h + c)
        if abs(missed) < p["gate_m"]:
            s["c_m"] = c = c + float(p["gain"]) * missed
        else:
            s["rejected"] += 1
    out["r_bl_l"][2] = h + c if s["seen"] else max(h, float(p["no_range_m"]))


@python_task("naive.isolation", reads={"imu0": "fsw_imu_t", "imu1": "fsw_imu_t", "imu2": "fsw_imu_t"},
             writes={"imu_voted": "fsw_imu_voted_t"},
             state="typedef struct { uint8_t bad[3]; uint8_t isolated; } naive_isolation_state_t;")
def isolation(io: TaskIO) -> None:
    """Three saturated samples isolate a unit, for good; and so the next, and the last."""
    s, out = io.state, io.writes["imu_voted"]
    for k in range(3):
        s["bad"][k] = s["bad"][k] + 1 if io.reads[f"imu{k}"]["saturated"] else 0
        if s["bad"][k] >= 3:
            s["isolated"] |= 1 << k
    left = [k for k in range(3) if not s["isolated"] >> k & 1]
    out["excluded_mask"] = s["isolated"]
    if not left:
        io.withhold("imu_voted")
        return
    m = io.reads[f"imu{left[0]}"]
    for name in ("t_valid_ns", "dtheta_b", "dv_b", "seq", "valid"):
        out[name] = m[name]
    out["used_mask"] = 1 << left[0]


@python_task("naive.last_sample", reads={"imu0": "fsw_imu_t"}, writes={"imu_voted": "fsw_imu_voted_t"})
def last_sample(io: TaskIO) -> None:
    """The last sample of the first unit, however old: its time is taken to be now."""
    m, out = io.reads["imu0"], io.writes["imu_voted"]
    out["t_valid_ns"], out["dtheta_b"], out["dv_b"], out["seq"], out["valid"] = io.t_ns, m["dtheta_b"], m["dv_b"], m["seq"] + 1, m["valid"]
    out["used_mask"] = 1
