"""Fly the landing law of gnc.guidance on the powered-descent reference problems and compare its propellant with the optimum.

usage: python -m hil.pdg_compare DATA_DIR        (DATA_DIR holds pdg_reference.json)

The plant is the one of the reference: a point mass with instant thrust, constant gravity, and in the DR cases drag with a density
of 1.225 exp(-h/8500). The law runs at 50 Hz. A, C, D: engines burn from the start; the law keeps minimum thrust until the constant
throttle that still stops reaches `PLAN`. DR: engines off until the same moment, which is the free ignition.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flightsw import _core

ffi: Any = _core.ffi
lib: Any = _core.lib

G0 = 9.80665
PERIOD_S = 0.02
SUBSTEPS = 4
PLAN = 0.97  # throttle at which the burn is decided; the rest is margin for the lateral motion and for the sampling
GATE_MISS_M = 5.0
GATE_SPEED_M_S = 2.0


@dataclass(frozen=True)
class Landing:
    """How one reference problem ended."""

    name: str
    fuel_kg: float
    optimum_kg: float
    miss_m: float
    speed_m_s: float
    t_s: float
    h_ignition_m: float
    peak_tilt_deg: float
    landed: bool

    @property
    def excess(self) -> float:
        return self.fuel_kg / self.optimum_kg - 1.0

    @property
    def within_gate(self) -> bool:
        return self.landed and self.miss_m < GATE_MISS_M and self.speed_m_s < GATE_SPEED_M_S


def law_params(case: dict[str, Any], cda_m2: float) -> Any:
    return ffi.new("fsw_law_params_t *", {
        "thrust_sl_n": case["T_eng_N"], "thrust_vac_n": 0.0, "isp_sl_s": case["isp_s"], "throttle_min": case["thr_min"],
        "throttle_max": case["thr_max"], "throttle_plan": PLAN, "throttle_lag_s": 0.0, "attitude_lag_s": 0.0, "thrust_scale": 1.0,
        "cda_m2": cda_m2, "plume_factor": case.get("plume_factor", 1.0), "lift_area_m2": 0.0, "rho_pad_kg_m3": 1.225,
        "rho_height_m": 8500.0, "rho_curve_1_m": 0.0, "mass_floor_kg": case["m_dry_kg"], "axial_max_m_s2": 1e3,
        "start_dead_s": 0.0, "start_ramp_s": 0.0,
        "td_speed_m_s": 0.5, "flare_height_m": 5.0, "flare_throttle": 0.8, "tilt_max_rad": math.radians(case["tilt_deg"]),
        "tilt_low_rad": math.radians(case["tilt_deg"]), "tilt_td_rad": math.radians(case["tilt_deg"]), "reach_tan": 0.5,
        "lat_min_s": 0.6, "lat_lead_s": 0.2})


def derivative(y: list[float], thrust: list[float], isp: float, cda: float) -> list[float]:
    speed = math.sqrt(y[3] ** 2 + y[4] ** 2 + y[5] ** 2)
    k = 0.5 * 1.225 * math.exp(-y[2] / 8500.0) * cda * speed
    flow = math.sqrt(sum(t * t for t in thrust)) / (isp * G0)
    acc = [(thrust[i] - k * y[3 + i]) / y[6] for i in range(3)]
    return [y[3], y[4], y[5], acc[0], acc[1], acc[2] - G0, -flow]


def rk4(y: list[float], thrust: list[float], isp: float, cda: float, dt: float) -> list[float]:
    def ahead(k: list[float], h: float) -> list[float]:
        return [a + h * b for a, b in zip(y, k, strict=True)]

    k1 = derivative(y, thrust, isp, cda)
    k2 = derivative(ahead(k1, dt / 2), thrust, isp, cda)
    k3 = derivative(ahead(k2, dt / 2), thrust, isp, cda)
    k4 = derivative(ahead(k3, dt), thrust, isp, cda)
    return [a + dt / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4, strict=True)]


def touch(before: list[float], after: list[float], dt: float) -> tuple[list[float], float]:
    """State and share of the step at height zero."""
    f = before[2] / (before[2] - after[2])
    return [a + f * (b - a) for a, b in zip(before, after, strict=True)], f * dt


def fly(case: dict[str, Any], optimum_kg: float, *, coast: bool) -> Landing:
    """One reference problem, closed loop."""
    cda = 18.0 if coast else 0.0
    p = law_params(case, cda)
    inp, out = ffi.new("fsw_law_in_t *"), ffi.new("fsw_law_out_t *")
    inp.n_engines, inp.hold = case["n_eng"], 0 if coast else 1
    y = [*case["r0_m"], *case["v0_mps"], case["m0_kg"]]
    t, burning, h_ignition, tilt = 0.0, not coast, case["r0_m"][2], 0.0
    while t < 120.0 and y[6] > 20000.0:
        inp.r_l, inp.v_l, inp.mass_kg = y[0:3], y[3:6], y[6]
        lib.fsw_landing_law(inp, p, out)
        inp.need_prev = out.throttle_need if out.throttle_need < 5.0 else 0.0
        inp.hold = out.hold
        if not burning and out.throttle_need >= PLAN * out.dir_l[2]:
            burning, h_ignition = True, y[2]
        thrust = [a * y[6] for a in out.a_cmd_l] if burning else [0.0, 0.0, 0.0]
        if burning:
            tilt = max(tilt, math.degrees(math.acos(min(1.0, out.dir_l[2]))))
        area = cda * (case.get("plume_factor", 1.0) if burning else 1.0)
        for _ in range(SUBSTEPS):
            new = rk4(y, thrust, case["isp_s"], area, PERIOD_S / SUBSTEPS)
            if new[2] <= 0.0:
                y, dt = touch(y, new, PERIOD_S / SUBSTEPS)
                return Landing(case["name"], case["m0_kg"] - y[6], optimum_kg, math.hypot(y[0], y[1]),
                               math.sqrt(y[3] ** 2 + y[4] ** 2 + y[5] ** 2), t + dt, h_ignition, tilt, True)
            y = new
            t += PERIOD_S / SUBSTEPS
    return Landing(case["name"], case["m0_kg"] - y[6], optimum_kg, math.inf, math.inf, t, h_ignition, tilt, False)


def compare(data_dir: Path) -> list[Landing]:
    """All reference problems of the data directory."""
    data = json.loads((data_dir / "pdg_reference.json").read_text("utf-8"))
    flights = [fly(case, case["fuel_ref_kg"], coast=False) for case in data["cases"]]
    return flights + [fly(case, case["nlp"]["fuel"], coast=True) for case in data["drag_cases_free_ignition"]]


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    flights = compare(Path(argv[1]))
    print("problem                         propellant   optimum   excess    miss   speed   ignition  tilt")
    for f in flights:
        verdict = "" if f.within_gate else "  BEYOND THE GATE"
        print(f"{f.name:30s} {f.fuel_kg:9.1f} kg {f.optimum_kg:6.1f} kg {100 * f.excess:+6.2f} % {f.miss_m:5.2f} m "
              f"{f.speed_m_s:5.2f} m/s {f.h_ignition_m:7.0f} m {f.peak_tilt_deg:4.1f} deg{verdict}")
    return 0 if all(f.within_gate for f in flights) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
