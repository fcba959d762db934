"""The judges of the accident scenarios: one sees what the engines really do, one what navigation is worth. Not flight software."""

from functools import cache
from math import acos, cos, degrees, radians, sin

import numpy as np

from flightsw import TaskIO, python_task

STATE = """
typedef struct {
  double t_open_s[9];
  double t_out_s[9];
  double t_over_s[9];
  double t_burn_s;
  uint8_t open[9];
  uint8_t flame[9];
  uint8_t lost[9];
  uint8_t lit[9];
  uint8_t full[9];
  uint8_t starts[9];
  uint8_t begun;
  uint8_t pad0[1];
} accident_judge_state_t;
"""
PARAMS = "typedef struct { double pc_nominal_pa; /* [1000, 1e9] : at full thrust */ } accident_judge_params_t;"
MAIN = 4 | 8
WELL = (3, 4, 10, 11, 14, 15)  # faults of a sensor or a line, and a hard start that is over: the engine itself is well
ENGINE_FAULT = 1
GAS_PA = 1e5


def faulty(faults: dict, k: int) -> bool:
    """A fault of the engine itself is in force on engine k."""
    return any(faults["target"][i] == ENGINE_FAULT and faults["index"][i] in (k, 255) and faults["type"][i] not in WELL
               for i in range(int(faults["count"])))


def begin(out, s) -> None:
    """Nothing has happened yet."""
    for name in ("t_fault_s", "t_first_start_s", "t_spare_s", "after_fault_s"):
        out[name] = -1.0
    s["begun"] = 1


def note_start(out, s, k: int, t: float) -> None:
    """Both main valves of engine k have opened."""
    s["t_open_s"][k], s["full"][k], s["flame"][k], s["t_out_s"][k] = t, 0, 0, -1.0
    s["starts"][k] += 1
    out["starts"] += 1
    out["starts_most"] = max(out["starts_most"], s["starts"][k])
    out["starts_of_lost"] += s["lost"][k]
    if out["t_first_start_s"] < 0.0:
        out["t_first_start_s"] = t
    elif out["t_spare_s"] < 0.0 and s["starts"][k] == 1:
        out["t_spare_s"] = t - out["t_first_start_s"]


def watch_open(out, s, k: int, t: float, pc: float, promised: float, dry: bool, dt: float) -> None:
    """Engine k with both main valves open."""
    if pc > 0.05:
        if not s["flame"][k]:
            out["start_to_flame_s"] = max(out["start_to_flame_s"], t - s["t_open_s"][k])
        s["flame"][k], s["lit"][k], s["t_out_s"][k] = 1, 1, -1.0
        if pc >= 0.9 * promised and not s["full"][k]:
            s["full"][k] = 1
            out["start_to_full_s"] = max(out["start_to_full_s"], t - s["t_open_s"][k])
        return
    if s["flame"][k]:  # went out by itself
        if s["t_out_s"][k] < 0.0:
            s["t_out_s"][k], s["lost"][k] = t, 1
        out["dead_open_s"] = max(out["dead_open_s"], t - s["t_out_s"][k])
    else:
        out["flameless_s"] = max(out["flameless_s"], t - s["t_open_s"][k])
    if dry:
        out["dry_open_s"] += dt


@python_task("accident.judge", reads={"engines_truth": "fsw_engines_truth_t", "faults": "fsw_faults_t", "guidance": "fsw_guidance_t",
                                      "outcome": "fsw_outcome_t"},
             writes={"engines": "accident_engines_t"}, state=STATE, params=PARAMS)
def judge(io: TaskIO) -> None:
    """Valves, pressures and faults of this moment into the sums of the flight."""
    out, s, faults, t = io.writes["engines"], io.state, io.reads["faults"], io.t_ns * 1e-9
    if not s["begun"]:
        begin(out, s)
    if faults["count"] and out["t_fault_s"] < 0.0:
        out["t_fault_s"] = t
    valves = io.reads["engines_truth"]["valves"].tolist()
    if not any(v & MAIN == MAIN for v in valves) and not s["open"].any():
        s["t_burn_s"] = 0.0
        return
    truth = io.reads["engines_truth"]
    burning, wanted = 0, int(io.reads["guidance"]["engines"])
    stopped = []
    measured = zip(valves, truth["pc_pa"].tolist(), truth["inlet_pa"].tolist(), truth["throttle"].tolist(), strict=True)
    for k, (v, pa, inlet, u) in enumerate(measured):
        pc, is_open = pa / float(io.params["pc_nominal_pa"]), v & MAIN == MAIN
        out["peak_pc"] = max(out["peak_pc"], pc)
        s["t_over_s"][k] = s["t_over_s"][k] + io.dt_ns * 1e-9 if pc > 1.3 else 0.0
        out["over_s"] = max(out["over_s"], s["t_over_s"][k])
        if is_open:
            if not s["open"][k]:
                note_start(out, s, k, t)
            watch_open(out, s, k, t, pc, u, inlet < GAS_PA, io.dt_ns * 1e-9)
            burning += int(s["flame"][k] and s["t_out_s"][k] < 0.0)
            if out["t_fault_s"] >= 0.0:
                out["after_fault_s"] = t - out["t_fault_s"]
        elif s["open"][k]:  # was closed
            if s["flame"][k] and s["t_out_s"][k] < 0.0 and not faulty(faults, k):
                stopped.append(k)
            s["lost"][k] = s["lost"][k] or not s["flame"][k]
        s["open"][k] = is_open
    if stopped and burning < wanted and not io.reads["outcome"]["touched"]:
        out["healthy_stops"] += len(stopped)
    out["lit_engines"] = int(s["lit"].sum())
    s["t_burn_s"] = 0.0 if not burning else s["t_burn_s"] if s["t_burn_s"] > 0.0 else t
    if burning:
        out["longest_burn_s"] = max(out["longest_burn_s"], t - s["t_burn_s"])


NAV_STATE = "typedef struct { uint8_t any; uint8_t pad0[7]; } accident_nav_judge_state_t;"
NAV_PARAMS = """
typedef struct {
  double site_lat_deg;   /* [-90, 90] : */
  double site_lon_deg;   /* [-360, 360] : */
} accident_nav_judge_params_t;
"""
IN_RANGE_M = 2470.0
RATE_E = np.array([0.0, 0.0, 7.292115e-5])  # rad/s, WGS-84


def dcm(q) -> np.ndarray:
    """Rotation matrix of a quaternion, scalar first."""
    w, x, y, z = q.tolist()
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                     [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                     [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])


@cache
def site_axes(lat_deg: float, lon_deg: float) -> np.ndarray:
    """Rows east, north, up in the Earth-fixed frame."""
    sp, cp, sl, cl = sin(radians(lat_deg)), cos(radians(lat_deg)), sin(radians(lon_deg)), cos(radians(lon_deg))
    return np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])


def nav_errors(truth, nav, c_le) -> tuple[float, float, float]:
    """(height, velocity, attitude) error: m believed minus true, m/s, deg. The truth is taken back to the solution's time."""
    c_be = dcm(truth["q_be"])
    ox, oy, oz = (c_be @ truth["omega_bi_b"] - RATE_E).tolist()
    ax, ay, az = (-float(truth["cm_x_m"]) * c_be[:, 0]).tolist()  # from the centre of mass to the body origin
    turning = np.array([oy * az - oz * ay, oz * ax - ox * az, ox * ay - oy * ax])
    back = (int(truth["t_ns"]) - int(nav["t_valid_ns"])) * 1e-9
    v_l = c_le @ (truth["v_e"] + turning) - back * (c_le @ c_be @ truth["f_b"] - np.array([0.0, 0.0, 9.8]))
    relative = dcm(nav["q_bl"]).T @ c_le @ c_be
    angle = degrees(acos(max(-1.0, min(1.0, 0.5 * (float(np.trace(relative)) - 1.0)))))
    return (float(nav["r_bl_l"][2]) - float(truth["h_m"]) + back * float(v_l[2]), float(np.linalg.norm(nav["v_bl_l"] - v_l)), angle)


@python_task("accident.nav_judge", reads={"truth": "fsw_truth_t", "nav": "fsw_nav_t", "faults": "fsw_faults_t", "outcome": "fsw_outcome_t",
                                          "touchdown": "fsw_touchdown_t"},
             writes={"nav_errors": "accident_nav_t"}, state=NAV_STATE, params=NAV_PARAMS)
def nav_judge(io: TaskIO) -> None:
    """Errors of the navigation solution from the first fault on, until something touches the ground."""
    out, s, truth, nav, t = io.writes["nav_errors"], io.state, io.reads["truth"], io.reads["nav"], io.t_ns * 1e-9
    count, h = int(io.reads["faults"]["count"]), float(truth["h_m"])
    if not s["any"]:
        out["end_s"], out["landed_at_m"], out["lowest_m"] = -1.0, -1.0, 1e9
        if not count:
            return
        s["any"] = 1
        out["v_err_start_m_s"] = -1.0
    if io.reads["touchdown"]["landed"] and out["landed_at_m"] < 0.0:
        out["landed_at_m"] = max(h, 0.0)
    if io.reads["outcome"]["touched"] or not nav["valid"]:
        return
    out["end_s"] = -1.0 if count else t if out["end_s"] < 0.0 else out["end_s"]
    dh, dv, angle = nav_errors(truth, nav, site_axes(float(io.params["site_lat_deg"]), float(io.params["site_lon_deg"])))
    out["h_err_m"], late = dh, 0.0 <= out["end_s"] < t - 2.0
    out["h_err_max_m"], out["att_err_max_deg"] = max(abs(dh), out["h_err_max_m"]), max(angle, out["att_err_max_deg"])
    out["v_err_max_m_s"] = max(dv, out["v_err_max_m_s"])
    if out["v_err_start_m_s"] < 0.0:
        out["v_err_start_m_s"] = dv
    if out["end_s"] < 0.0 or t < out["end_s"] + 1.0:
        out["v_err_added_m_s"] = max(dv - out["v_err_start_m_s"], out["v_err_added_m_s"])
    if late:
        out["h_err_late_m"], out["att_err_late_deg"] = max(abs(dh), out["h_err_late_m"]), max(angle, out["att_err_late_deg"])
    if abs(dh) > 20.0 and h < IN_RANGE_M:
        out["wrong_height_s"] += io.dt_ns * 1e-9
    if h > 100.0:
        out["lowest_m"] = min(float(nav["r_bl_l"][2]), out["lowest_m"])
