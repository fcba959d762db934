"""Can physics save this flight? An answer before the run, by a calculation of its own.

A point mass falls vertically with the dispersed values of the run: mass, thrust, specific impulse, drag, plume factor,
start transient. It shares no code and no result with the flight software. From the faults of the bench follow the times at
which engines do not light or die; to each comes the delay of the detection; then every group of engines that is still
available (one in the centre, opposite pairs, centre and pair) is tried at its greatest usable throttle: at most 97 % of full
thrust, at most the axial limit. A group whose stop lies above the ground can also stop on the ground by starting later or
throttling less, so the flight is feasible. A single engine off the centre counts only if its gimbal can trim the offset from
the centre of mass.

The model is one-dimensional, with rho = 1.225 exp(-h / 8500 m) and no lateral motion: the answer is an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.bench import Bench

G0 = 9.80665
DETECT_NO_LIGHT_S = 1.25   # a start is decided within this time of its command
DETECT_DEATH_S = 0.15      # persistence, decision and link delays after the pressure is gone
AXIAL_LIMIT_G = 6.0
USABLE = 0.97              # share of full thrust kept for steering
DRY = "runs out of propellant in a burn as planned"
_DT = 0.02


@dataclass(frozen=True)
class Option:
    """One group of engines tried: from which height, and how it would end."""

    engines: list[int]
    start_m: float
    start_m_s: float
    throttle: float
    peak_g: float
    stops_at_m: float | None
    impact_m_s: float | None

    @property
    def saves(self) -> bool:
        """True when the vehicle stops above or on the ground."""
        return self.stops_at_m is not None


@dataclass(frozen=True)
class Feasibility:
    """feasible: by any option. reason: one sentence. table: the options tried."""

    feasible: bool
    reason: str
    table: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _State:
    t: float
    h: float
    v: float   # m/s, down positive
    m: float


class _Vehicle:
    """The numbers of the world that matter to a falling point mass."""

    def __init__(self, p: Any, restartable: list[float]) -> None:
        alpha = [float(a) for a in p["alpha_bp_deg"][: int(p["n_alpha"])]]
        mach = [float(a) for a in p["mach_bp"][: int(p["n_mach"])]]
        cd = float(p["cd_const"])
        if mach and alpha:
            row = min(range(len(mach)), key=lambda i: abs(mach[i] - 0.8))
            cd = float(p["cd_table"][row * len(alpha) + len(alpha) - 1])
        self.cda = cd * float(p["s_ref_m2"]) * float(p["drag_scale"])
        self.plume = float(p["plume_factor"])
        self.thrust, self.flow = float(p["thrust_sl_n"]), float(p["thrust_sl_n"]) / (float(p["isp_sl_s"]) * G0)
        self.dead, self.ramp, self.throttle_min = (float(p[k]) for k in ("start_dead_s", "start_ramp_s", "throttle_min"))
        self.dry = float(p["mass_dry_kg"])
        self.n = int(p["n_engines"])
        self.usable = [k for k in range(self.n) if k >= len(restartable) or restartable[k]]
        self.y, self.z = [float(v) for v in p["engine_y_m"][: self.n]], [float(v) for v in p["engine_z_m"][: self.n]]
        self.trim_m = (float(p["dry_cm_x_m"]) - float(p["engine_x_m"])) * math.tan(math.radians(float(p["gimbal_max_deg"])))

    def step(self, s: _State, lit: float, running: float) -> float:
        """Advance by _DT with `lit` engines' worth of full thrust; `running` 0..1 is the plume's share. Returns axial g."""
        lit = lit if s.m > self.dry else 0.0  # no propellant, no thrust
        thrust = lit * self.thrust
        drag = 0.5 * 1.225 * math.exp(-max(s.h, 0.0) / 8500.0) * s.v * abs(s.v) * self.cda
        drag *= 1.0 - (1.0 - self.plume) * running
        force = (thrust + drag) / s.m
        s.v += (G0 - force) * _DT
        s.h -= s.v * _DT
        s.m = max(self.dry, s.m - lit * self.flow * _DT)
        s.t += _DT
        return force / G0

    def groups(self) -> list[list[int]]:
        """Sets of engines that can brake without more torque than a gimbal trims."""
        radius = [math.hypot(y, z) for y, z in zip(self.y, self.z, strict=True)]
        single = [[k] for k in self.usable if radius[k] < self.trim_m]
        pairs = [[a, b] for a in self.usable for b in self.usable
                 if a < b and radius[a] > 0.1 and math.hypot(self.y[a] + self.y[b], self.z[a] + self.z[b]) < 0.05]
        return single + pairs + [[*s, *p] for s in single if radius[s[0]] < 0.1 for p in pairs]


class _Engines:
    """What the faults of a bench do to each engine, as the fall goes on."""

    def __init__(self, bench: Bench, n: int) -> None:
        self.faults = [f for f in bench.config.fault if f.target.startswith("engine[")]
        self.n = n
        self.since: list[float | None] = [None] * len(self.faults)
        self.thrust = [1.0] * n
        self.late = [0.0] * n

    def _hits(self, i: int, k: int) -> bool:
        return self.faults[i].target in (f"engine[{k}]", "engine[*]")

    def update(self, s: _State, burning: bool, started: set[int], lit: set[int]) -> None:
        """Trigger faults that are due."""
        for i, f in enumerate(self.faults):
            if self.since[i] is not None:
                continue
            at = f.at
            due = (at.time_s is not None and s.t >= at.time_s) or (at.altitude_m is not None and s.h <= at.altitude_m) \
                or (at.phase == "burn" and burning) or (at.engine_start is not None and at.engine_start in started) \
                or (at.engine_lit is not None and at.engine_lit in lit) or (at.phase == "aero")
            if due:
                self.since[i] = s.t + f.after_s

    def _active(self, kinds: tuple[str, ...], k: int, t: float) -> bool:
        for i, f in enumerate(self.faults):
            since = self.since[i]
            if f.type in kinds and self._hits(i, k) and since is not None and since <= t < since + (f.for_s or math.inf):
                return True
        return False

    def blocked(self, k: int, t: float) -> bool:
        """A start of engine k at time t does not light."""
        return self._active(("no_light", "off", "dies"), k, t)

    def dead(self, k: int, t: float) -> bool:
        """A running engine k is gone at time t."""
        return self._active(("dies", "off"), k, t)


def _planned_throttle(bench: Bench) -> tuple[float, int]:
    for plan in bench.plans:
        for task in plan.tasks:
            if "plan_throttle" in bench.task_types[task.type].params:
                p = bench.params(plan.name, task.name, 0)
                return float(p["plan_throttle"]), int(p["plan_engines"]) if "plan_engines" in p.dtype.names else 1
    return 0.8, 1


def _brake(vehicle: _Vehicle, s: _State, engines: float, stop: float = 0.0) -> tuple[float, float, float]:
    """(height of the stop, or 0; speed at the ground, or 0; peak g) of a start commanded now with constant thrust."""
    s = _State(s.t, s.h, s.v, s.m)
    start, peak = s.t, 0.0
    while s.h > 0.0 and s.v > stop:
        share = min(1.0, max(0.0, (s.t - start - vehicle.dead) / max(vehicle.ramp, 1e-6)))
        peak = max(peak, vehicle.step(s, engines * share, share))
    return max(s.h, 0.0), s.v if s.h <= 0.0 else 0.0, peak


def _ignition_height(vehicle: _Vehicle, start: _State, throttle: float, n: int) -> float:
    """Height at which a start command with this constant throttle stops on the ground."""
    low, high = 0.0, start.h
    for _ in range(14):
        mid = 0.5 * (low + high)
        s = _State(start.t, start.h, start.v, start.m)
        while s.h > mid and s.v > 0.0:
            vehicle.step(s, 0.0, 0.0)
        if _brake(vehicle, s, throttle * n)[1] > 0.0:
            low = mid
        else:
            high = mid
    return high


def _option(vehicle: _Vehicle, s: _State, group: list[int], limit: float) -> Option:
    stop, impact, peak = _brake(vehicle, s, limit * len(group))
    return Option(group, round(s.h, 1), round(s.v, 1), round(limit, 3), round(peak, 2), round(stop, 1) if impact == 0.0 else None,
                  round(impact, 1) if impact > 0.0 else None)


def _try_groups(vehicle: _Vehicle, engines: _Engines, s: _State, used: set[int]) -> list[Option]:
    out = []
    for group in vehicle.groups():
        lights = s.t + vehicle.dead
        if any(k in used or engines.blocked(k, s.t) or engines.blocked(k, lights) for k in group):
            continue
        limit = min(USABLE, AXIAL_LIMIT_G * G0 * vehicle.dry / (len(group) * vehicle.thrust))
        if limit < vehicle.throttle_min:
            continue
        out.append(_option(vehicle, s, group, limit))
    return out


def _nominal(vehicle: _Vehicle, engines: _Engines, s: _State, ignition_m: float, throttle: float) -> tuple[str, _State]:
    """Fall, light engine 0 at the planned height, and go on to the ground or to its failure plus the detection delay."""
    started: float | None = None
    lit_at: float | None = None
    lost_at: float | None = None
    no_light = False
    while s.h > 0.0 and s.v > 0.0:
        engines.update(s, started is not None, {0} if started is not None else set(), {0} if lit_at is not None else set())
        if started is None and s.h <= ignition_m:
            started = s.t
        share = 0.0
        if started is not None and lost_at is None:
            if s.t >= started + vehicle.dead and lit_at is None:
                if engines.blocked(0, s.t):
                    lost_at, no_light = s.t, True
                else:
                    lit_at = s.t
            if lit_at is not None and engines.dead(0, s.t):
                lost_at = s.t
            elif lit_at is not None:
                share = min(1.0, (s.t - lit_at) / max(vehicle.ramp, 1e-6))
        if lost_at is not None and started is not None:
            known = started + DETECT_NO_LIGHT_S if no_light else lost_at + DETECT_DEATH_S
            if s.t >= known:
                return ("does not light" if no_light else f"dies at {s.h:.0f} m"), s
        vehicle.step(s, share * throttle, share)
    if (lost_at is None and s.m > vehicle.dry) or s.v <= 5.0:
        return "", s
    return ("fails just above the ground" if lost_at is not None else DRY), s


def _try_late(vehicle: _Vehicle, start: _State) -> list[Option]:
    """Every group started as late as its greatest throttle allows, which costs the least propellant; faults left aside."""
    out = []
    for group in vehicle.groups():
        limit = min(USABLE, AXIAL_LIMIT_G * G0 * vehicle.dry / (len(group) * vehicle.thrust))
        if limit < vehicle.throttle_min:
            continue
        h = _ignition_height(vehicle, start, limit, len(group))
        s = _State(start.t, start.h, start.v, start.m)
        while s.h > h and s.v > 0.0:
            vehicle.step(s, 0.0, 0.0)
        out.append(_option(vehicle, s, group, limit))
    return out


def assess(bench: Bench, seed: int | None = None) -> Feasibility:
    """Judge a bench of a powered descent for one seed. Benches of another kind are called feasible, with that reason."""
    world = next(((p.name, t.name) for p in bench.plans for t in p.tasks if t.type == "world.dynamics"), None)
    if world is None:
        return Feasibility(True, "not assessed: the bench has no world of this package")
    p = bench.params(*world, seed)
    if int(p["init_on_pad"]) or int(p["n_engines"]) == 0 or float(p["init_r_l_m"][2]) < 100.0:
        return Feasibility(True, "not assessed: the flight does not begin with a descent")
    restartable = bench.constants.get("engine_restartable")
    vehicle = _Vehicle(p, list(restartable.value) if restartable else [])
    engines = _Engines(bench, vehicle.n)
    start = _State(0.0, float(p["init_r_l_m"][2]), -float(p["init_v_l_m_s"][2]), vehicle.dry + float(p["propellant_kg"]))
    throttle, n = _planned_throttle(bench)
    ignition = _ignition_height(vehicle, start, throttle, n)
    what, state = _nominal(vehicle, engines, _State(start.t, start.h, start.v, start.m), ignition, throttle)
    if not what:
        return Feasibility(True, f"one engine stops it from {ignition:.0f} m")
    options = _try_late(vehicle, start) if what == DRY else _try_groups(vehicle, engines, state, {0})
    saving = [o for o in options if o.saves]
    table = [asdict(o) for o in options]
    where = f"the landing engine {what}" + ("" if what == DRY else f", known at {state.h:.0f} m and {state.v:.0f} m/s")
    if saving:
        best = max(saving, key=lambda o: o.stops_at_m or 0.0)
        return Feasibility(True, f"{where}; engines {best.engines} can still stop it", table)
    why = "no engine is left that lights" if not options else \
        f"the best group would still hit at {min(o.impact_m_s or 0.0 for o in options):.0f} m/s"
    return Feasibility(False, f"{where}; {why}", table)


__all__ = ["Feasibility", "Option", "assess"]

