"""Navigation beside the estimate that a flight's own computer made: differences, their RMS, both greatest heights.

The other estimate is another filter's output, not the truth: agreement within a band shows that nothing is grossly wrong.
"""

from flightsw import TaskIO, python_task

STATE = """
typedef struct {
  double sum_h2;
  double sum_v2;
  double apogee;
  double apogee_onboard;
  int64_t t_last_ns;
  uint32_t samples;
  uint8_t pad0[4];
} recorded_reference_state_t;
"""
PARAMS = """
typedef struct {
  double from_s;   /* [0, 1e6] = 0 : the window begins at this mission time */
  double until_s;  /* [0, 1e6] : and ends at this one */
} recorded_reference_params_t;
"""


@python_task("reference.compare", reads={"nav": "fsw_nav_t", "onboard": "onboard_estimate_t"},
             writes={"comparison": "estimate_comparison_t"}, state=STATE, params=PARAMS)
def compare(io: TaskIO) -> None:
    """Compare the vertical channel of navigation with a recorded estimate, whenever one arrives."""
    nav, onboard, s, p, out = io.reads["nav"], io.reads["onboard"], io.state, io.params, io.writes["comparison"]
    t_ns = int(onboard["t_valid_ns"])
    if io.age_ticks("onboard") is None or io.age_ticks("nav") is None or t_ns == int(s["t_last_ns"]):
        io.withhold("comparison")
        return
    s["t_last_ns"] = t_ns
    ahead_s = (t_ns - int(nav["t_valid_ns"])) * 1e-9  # the two are not of the same instant: a few milliseconds at the speed
    dh = nav["r_bl_l"][2] + nav["v_bl_l"][2] * ahead_s - onboard["height_m"]
    dv = nav["v_bl_l"][2] - onboard["v_up_m_s"]
    if p["from_s"] <= t_ns * 1e-9 <= p["until_s"]:
        s["samples"] += 1
        s["sum_h2"] += dh * dh
        s["sum_v2"] += dv * dv
        s["apogee"] = max(s["apogee"], nav["r_bl_l"][2])
        s["apogee_onboard"] = max(s["apogee_onboard"], onboard["height_m"])
    n = max(1, int(s["samples"]))
    out["t_ns"], out["height_diff_m"], out["v_up_diff_m_s"], out["samples"] = t_ns, dh, dv, s["samples"]
    out["height_rms_m"], out["v_up_rms_m_s"] = (s["sum_h2"] / n) ** 0.5, (s["sum_v2"] / n) ** 0.5
    out["apogee_m"], out["apogee_onboard_m"] = s["apogee"], s["apogee_onboard"]
    out["apogee_diff_m"] = s["apogee"] - s["apogee_onboard"]
