"""The judge of the accident scenarios: sees what the engines really do, and knows which faults are in force. Not flight software."""

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
