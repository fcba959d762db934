"""Tasks of a test bench: a brick that falls, and a law that stops it."""

from flightsw import TaskIO, python_task

STATE = "typedef struct { double h; double v; } drop_state_t;"
PARAMS = """typedef struct {
  double h0_m;          /* [0, 1e5] : height at the start */
  double g_m_s2;        /* [0, 20] = 9.81 : gravity */
  double thrust_m_s2;   /* [0, 100] = 20 : acceleration at full throttle */
  double noise_m;       /* [0, 10] = 0 : of the altimeter */
} drop_params_t;"""
LAW_PARAMS = """typedef struct {
  double kp;            /* [0, 10] = 0.5 : */
  double kd;            /* [0, 10] = 0.5 : */
  uint32_t index;       /* [0, 8] = 0 : */
  uint32_t pad0;
} law_params_t;"""


@python_task("drop.world", reads={"throttle": "fsw_engine_cmd_t"}, optional=["throttle"],
             writes={"outcome": "fsw_outcome_t", "radalt": "fsw_radalt_t"}, state=STATE, params=PARAMS)
def world(io: TaskIO) -> None:
    s, p, o = io.state, io.params, io.writes["outcome"]
    if io.tick == 0:
        s["h"] = p["h0_m"]
    dt = io.dt_ns * 1e-9
    if s["h"] > 0:
        s["v"] += (float(io.reads["throttle"]["throttle"]) * p["thrust_m_s2"] - p["g_m_s2"]) * dt
        s["h"] += s["v"] * dt
        if s["h"] <= 0:
            o["touched"] = o["settled"] = 1
            o["v_down_m_s"] = -s["v"]
            o["t_touch_ns"] = io.t_ns
    io.writes["radalt"]["range_m"] = s["h"] + p["noise_m"] * io.gauss(0)[0]


@python_task("drop.law", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"},
             state="typedef struct { double last; } law_state_t;",
             params=LAW_PARAMS)
def law(io: TaskIO) -> None:
    s, p = io.state, io.params
    h = float(io.reads["radalt"]["range_m"])
    v = (h - s["last"]) / (io.dt_ns * 1e-9) if s["last"] else 0.0
    s["last"] = h
    io.writes["cmd"]["throttle"] = min(1.0, max(0.0, 0.4905 - p["kp"] * (v + p["kd"] * (h + 1))))


@python_task("drop.fails", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"})
def fails(io: TaskIO) -> None:
    if io.tick >= 100:
        raise ValueError("no more")


@python_task("drop.nothing", reads={}, writes={"cmd": "fsw_engine_cmd_t"})
def nothing(io: TaskIO) -> None:
    io.writes["cmd"]["throttle"] = 0.0
