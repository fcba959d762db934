"""Track of a booster from speed and altitude alone, as a webcast displays them, and the events that can be told from it.

The display gives a speed without direction (steps of 1 km/h) and an altitude (steps of 100 m, of 1 km above 100 km), 30 times a
second, read by character recognition. There is no direction, no attitude and no inertial unit, so a strapdown filter has nothing
to work on. What can be estimated is motion in a vertical plane: an extended Kalman filter with the states

    altitude h, speed V, flight-path angle, specific force along the velocity a_t and across it a_n

    h' = V sin g    V' = a_t - G sin g    g' = (a_n - G cos g) / V + V cos g / r    a_t, a_n: first-order Gauss-Markov

which is flight over a round Earth that does not rotate, with the accelerations of a manoeuvring target after Singer (IEEE
Trans. AES-6, 1970). Vertical and horizontal speed are V sin g and V cos g; in these states the measured speed is linear, and a
direction that turns through the vertical (boostback) needs no special case. The angle itself never appears: the direction is a
unit vector that is turned by small angles, so the arithmetic is + - * / and square roots, the same on every computer.

A rounded altitude is not a measurement with white noise: while its digits stand still the same error repeats. It is used when
it steps: at that moment the true altitude was half-way between the two readings, give or take what was flown since the last one.
In free flight outside the air specific force is zero, so the process noise depends on the phase that the detector is in.

Sigmas are those of errors that average out. What the display does to all readings alike (being late by some frames: 30 m for each
30 ms at 1 km/s; a zero that is not the pad) is not in them, because nothing in the data tells it.

Mirror images are equal: whether the booster flies away or comes back changes neither speed nor altitude. Only the size of
the horizontal speed is published.
"""

from __future__ import annotations

from math import isfinite, nan, sqrt
from typing import Any

from flightsw import TaskIO, python_task

PAD, ASCENT, COAST, BOOSTBACK, ENTRY, AIR, LANDING, LANDED = range(8)
EVENTS = ("meco", "boostback_start", "boostback_end", "apogee", "entry_start", "entry_end", "landing_start", "landing_end")
N = 5
H, V, GAMMA, A_T, A_N = range(N)
G0, EARTH_M = 9.80665, 6.371e6

STATE = """
typedef struct {
  double x[5];             /* altitude, speed, unused, specific force along, across */
  double dir[2];           /* direction of flight: horizontal, vertical */
  double p[25];            /* covariance; the third is of the flight-path angle, rad */
  double shown_m;          /* altitude as displayed last */
  double sum_nis_h;
  double sum_nis_v;
  double innov[4];         /* altitude, speed, and their sigmas */
  double events[8];
  double since_s;          /* of the detector: when its condition began to hold; negative: it does not */
  double extreme;          /* of the detector: greatest thrust or deceleration, or least drag for the air, in this phase */
  double smooth;           /* of the detector: drag area per mass, smoothed */
  double turned;           /* 1: apogee is behind */
  int64_t t_last_ns;
  uint32_t samples;
  uint32_t steps;
  uint32_t gaps;
  uint32_t phase;
} webcast_track_state_t;
"""
PARAMS = """
typedef struct {
  double sigma_speed_m_s;    /* [0.01, 100] = 0.1 : of a reading: digits, and frames that repeat the last value */
  double sigma_step_m;       /* [0.1, 1000] = 20 : of the altitude at a step of the display */
  double display_age_s;      /* [0, 1] = 0.012 : a reading may be this old */
  double force_tau_s;        /* [0.1, 1000] = 20 : correlation time of specific force while an engine runs or air is felt */
  double force_q_m2_s5;      /* [0, 1e4] = 30 : its process noise along the velocity, then */
  double turn_q_m2_s5;       /* [0, 1e4] = 2 : across, then */
  double boostback_q_m2_s5;  /* [0, 1e4] = 100 : across, in the boostback burn, which is flown across the velocity */
  double coast_tau_s;        /* [0.1, 1000] = 2 : the same in free flight, where specific force is zero */
  double coast_q_m2_s5;      /* [0, 1e4] = 1 */
  double coast_turn_q_m2_s5; /* [0, 1e4] = 0.05 */
  double held_below_m_s;     /* [1, 1000] = 50 : slower than this the direction is held */
  double gap_s;              /* [0.01, 100] = 0.2 : a longer time without a reading counts as a gap */
} webcast_track_params_t;
"""
Matrix = list[list[float]]


def times(a: Matrix, b: Matrix) -> Matrix:
    """Product of small square matrices, in a fixed order of operations."""
    n = range(len(a))
    return [[sum(a[i][k] * b[k][j] for k in n) for j in n] for i in n]


def turned(direction: list[float], angle: float) -> list[float]:
    """A unit vector turned by a small angle, rad."""
    c, s = direction[0] - direction[1] * angle, direction[1] + direction[0] * angle
    size = sqrt(c * c + s * s)
    return [c / size, s / size]


class Filter:
    """State and covariance of one step: taken from the task's state, put back at the end."""

    def __init__(self, state: Any) -> None:
        self.x, self.dir = state["x"].tolist(), state["dir"].tolist()
        flat = state["p"].tolist()
        self.p: Matrix = [flat[N * i : N * i + N] for i in range(N)]

    def store(self, state: Any) -> None:
        """Put back."""
        state["x"], state["dir"], state["p"] = self.x, self.dir, [v for row in self.p for v in row]

    def predict(self, dt: float, tau: float, q: tuple[float, float], held_below: float) -> None:
        """Propagate by dt (s) with specific force of correlation time tau (s) and process noise q along and across (m2/s5)."""
        (h, v, _, a_t, a_n), (c, s) = self.x, self.dir
        r = EARTH_M + h
        g = G0 * (EARTH_M / r) * (EARTH_M / r)
        free = v > held_below  # else 1/V turns every error of the specific force into any direction
        f = [[0.0] * N for _ in range(N)]
        f[H][V], f[H][GAMMA] = s, v * c
        f[V][GAMMA], f[V][A_T] = -g * c, 1.0
        turn = (a_n - g * c) / v + v * c / r if free else 0.0
        if free:
            f[GAMMA][V] = -(a_n - g * c) / (v * v) + c / r
            f[GAMMA][GAMMA], f[GAMMA][A_N] = g * s / v - v * s / r, 1.0 / v
        f[A_T][A_T] = f[A_N][A_N] = -1.0 / tau
        rate = [v * s, a_t - g * s, turn, -a_t / tau, -a_n / tau]
        second = [sum(f[i][k] * rate[k] for k in range(N)) for i in range(N)]
        step = [dt * (rate[i] + 0.5 * dt * second[i]) for i in range(N)]
        ff = times(f, f)
        phi = [[(i == j) + dt * (f[i][j] + 0.5 * dt * ff[i][j]) for j in range(N)] for i in range(N)]
        p = times(times(phi, self.p), [list(column) for column in zip(*phi, strict=True)])
        p[V][V] += q[0] * dt * dt * dt / 3.0
        p[V][A_T] += q[0] * dt * dt / 2.0
        p[A_T][V] += q[0] * dt * dt / 2.0
        p[A_T][A_T] += q[0] * dt
        p[A_N][A_N] += q[1] * dt if free else 0.0
        self.p = p
        self._move(step)

    def _move(self, step: list[float]) -> None:
        self.dir = turned(self.dir, step[GAMMA])
        self.x = [self.x[i] + step[i] if i != GAMMA else 0.0 for i in range(N)]

    def update(self, index: int, innovation: float, r: float) -> float:
        """Scalar measurement of one state with variance r, in Joseph's form. Returns the innovation's variance."""
        s = self.p[index][index] + r
        k = [self.p[i][index] / s for i in range(N)]
        a = [[(i == j) - k[i] * (j == index) for j in range(N)] for i in range(N)]
        p = times(times(a, self.p), [list(column) for column in zip(*a, strict=True)])
        self.p = [[p[i][j] + k[i] * k[j] * r for j in range(N)] for i in range(N)]
        self._move([k[i] * innovation for i in range(N)])
        return s

    def sigma(self, index: int) -> float:
        """1 sigma of a state."""
        return sqrt(max(0.0, self.p[index][index]))

    def speeds(self) -> tuple[float, float, float, float]:
        """Vertical and horizontal speed and the sigma of each, m/s."""
        v, (c, s), p = self.x[V], self.dir, self.p
        up = s * s * p[V][V] + 2.0 * s * v * c * p[V][GAMMA] + v * v * c * c * p[GAMMA][GAMMA]
        across = c * c * p[V][V] - 2.0 * s * v * c * p[V][GAMMA] + v * v * s * s * p[GAMMA][GAMMA]
        return v * s, abs(v * c), sqrt(max(0.0, up)), sqrt(max(0.0, across))


def start(s: Any, altitude_m: float) -> None:
    """First reading: standing on the pad, pointing up, but for 3 deg: exactly upright neither mirror image could be left."""
    s["dir"] = turned([0.0, 1.0], -0.052)
    s["x"] = [altitude_m, 0.0, 0.0, G0, 0.0]
    for i, sigma in enumerate((30.0, 0.5, 0.052, 1.0, 0.1)):
        s["p"][(N + 1) * i] = sigma * sigma
    s["shown_m"], s["events"], s["since_s"] = altitude_m, [nan] * 8, -1.0


def noise(phase: int, p: Any) -> tuple[float, tuple[float, float]]:
    """Correlation time and process noise (along, across) of specific force in a phase."""
    if phase == COAST:
        return float(p["coast_tau_s"]), (float(p["coast_q_m2_s5"]), float(p["coast_turn_q_m2_s5"]))
    across = p["boostback_q_m2_s5"] if phase == BOOSTBACK else p["turn_q_m2_s5"]
    return float(p["force_tau_s"]), (float(p["force_q_m2_s5"]), float(across))


def use(f: Filter, s: Any, p: Any, reading: tuple[float, float], dt: float) -> None:
    """Fuse one reading (altitude m, speed m/s) that came dt after the last one."""
    altitude, speed = reading
    old = (f.x[A_T] - G0 * f.dir[1]) * float(p["display_age_s"])
    innovation = speed - f.x[V]
    variance = f.update(V, innovation, float(p["sigma_speed_m_s"]) ** 2 + old * old)
    s["sum_nis_v"] += innovation * innovation / variance
    s["innov"][1], s["innov"][3] = innovation, sqrt(variance)
    shown = float(s["shown_m"])
    if altitude == shown:
        return
    s["shown_m"] = altitude
    climb = f.x[V] * f.dir[1]
    middle = 0.5 * (altitude + shown)
    # a step of more than one digit: it is known only that the altitude lies between the two readings
    wide = abs(altitude - shown) - (1000.0 if max(altitude, shown) > 100_500.0 else 100.0)
    flown, late, wide = climb * dt, climb * float(p["display_age_s"]), max(0.0, wide)
    innovation = middle - (f.x[H] - 0.5 * flown)
    r = float(p["sigma_step_m"]) ** 2 + late * late + (flown * flown + wide * wide) / 12.0
    variance = f.update(H, innovation, r)
    s["sum_nis_h"] += innovation * innovation / variance
    s["steps"] += 1
    s["innov"][0], s["innov"][2] = innovation, sqrt(variance)


# ---- events ------------------------------------------------------------------------------------------------------------


def holds(s: Any, condition: bool, t: float, for_s: float) -> float | None:
    """Time since when a condition has held, once it has for so long."""
    if not condition:
        s["since_s"] = -1.0
        return None
    if s["since_s"] < 0.0:
        s["since_s"] = t
    return float(s["since_s"]) if t - s["since_s"] >= for_s else None


def detect(f: Filter, s: Any, t: float, dt: float) -> None:
    """Move the phase on. Specific force along the velocity tells thrust and drag; a burn begins or ends where it changes.

    The landing burn is lit against drag that falls by itself: it is seen in the ratio of deceleration to dynamic pressure.
    """
    phase, a, v, climb, h = int(s["phase"]), f.x[A_T], f.x[V], f.x[V] * f.dir[1], f.x[H]
    found: float | None = None
    name, following = "", phase
    if phase == PAD and v > 20.0:
        following = ASCENT
    elif phase == ASCENT:
        s["extreme"] = max(float(s["extreme"]), a)
        found, name, following = holds(s, v > 500.0 and a < 0.4 * s["extreme"], t, 0.5), "meco", COAST
    elif phase == COAST and climb > 0.0:
        found, name, following = holds(s, abs(a) > 2.5, t, 0.5), "boostback_start", BOOSTBACK
        found = found if t - s["events"][0] > 5.0 else None  # the engines' tail-off is no burn
    elif phase == COAST:
        found, name, following = holds(s, a < -4.0, t, 0.5), "entry_start", ENTRY
    elif phase == BOOSTBACK:  # thrust across the velocity does not show along it: for a moment, in the middle of the burn
        found, name, following = holds(s, abs(a) < 4.0, t, 2.5), "boostback_end", COAST
    elif phase == ENTRY:
        s["extreme"] = min(float(s["extreme"]), a)
        found, name, following = holds(s, a > 0.25 * s["extreme"], t, 0.3), "entry_end", AIR
    elif phase == AIR:
        drag = -a / dynamic_pressure(h, v)
        least = least_drag(s, drag, h, dt)
        found, name, following = holds(s, drag > 1.3 * least > 0.0, t, 1.5), "landing_start", LANDING
    elif phase == LANDING:
        found, name, following = holds(s, v < 3.0, t, 0.5), "landing_end", LANDED
    if found is not None:
        s["events"][EVENTS.index(name)] = found
    if found is not None or (phase == PAD and following == ASCENT):
        s["phase"], s["since_s"], s["extreme"] = following, -1.0, 0.0
    if not s["turned"] and t > 60.0 and climb < 0.0 and phase == COAST:
        s["turned"], s["events"][EVENTS.index("apogee")] = 1.0, t


def least_drag(s: Any, drag: float, h: float, dt: float) -> float:
    """Least drag area per mass so far below 10 km, of its mean over a second (the display stutters); 0: higher, or before one."""
    s["smooth"] = drag if h > 10_000.0 else float(s["smooth"]) + (drag - float(s["smooth"])) * min(1.0, dt)
    s["extreme"] = 0.0 if h > 10_000.0 else min(float(s["extreme"]) or float(s["smooth"]), float(s["smooth"]))
    return float(s["extreme"])


def dynamic_pressure(h: float, v: float) -> float:
    """Pa, in the standard atmosphere below 11 km (ISO 2533; its exponent 4.2559 taken as 4.25: two square roots)."""
    x = max(0.0, 1.0 - 2.25577e-5 * h)
    return max(1.0, 0.5 * 1.225 * x * x * x * x * sqrt(sqrt(x)) * v * v)


# ---- tasks -------------------------------------------------------------------------------------------------------------


@python_task("webcast.track", reads={"webcast": "webcast_t"}, writes={"track": "webcast_track_t", "events": "webcast_events_t"},
             state=STATE, params=PARAMS)
def track(io: TaskIO) -> None:
    """Extended Kalman filter and event detector on displayed speed and altitude, one step for each reading."""
    z, s, p = io.reads["webcast"], io.state, io.params
    t_ns, reading = int(z["t_valid_ns"]), (float(z["altitude_m"]), float(z["speed_m_s"]))
    fresh = io.age_ticks("webcast") is not None and (s["samples"] == 0 or t_ns > int(s["t_last_ns"]))
    if not fresh or not all(map(isfinite, reading)):
        io.withhold("track")
        io.withhold("events")
        return
    if s["samples"] == 0:
        start(s, reading[0])
        s["t_last_ns"] = t_ns
    dt = (t_ns - int(s["t_last_ns"])) * 1e-9
    f = Filter(s)
    tau, q = noise(int(s["phase"]), p)
    parts = max(1, int(dt / 0.1) + 1) if dt > 0.0 else 0
    for _ in range(min(parts, 600)):
        f.predict(dt / parts, tau, q, float(p["held_below_m_s"]))
    use(f, s, p, reading, dt)
    detect(f, s, t_ns * 1e-9, dt)
    f.store(s)
    s["samples"] += 1
    s["gaps"] += int(dt > p["gap_s"])
    s["t_last_ns"] = t_ns
    publish(io, f, t_ns)


def publish(io: TaskIO, f: Filter, t_ns: int) -> None:
    """Fill both topics."""
    s, out, events = io.state, io.writes["track"], io.writes["events"]
    up, across, sigma_up, sigma_across = f.speeds()
    out["t_valid_ns"], out["altitude_m"], out["speed_m_s"] = t_ns, f.x[H], f.x[V]
    out["v_vertical_m_s"], out["v_horizontal_m_s"] = up, across
    out["a_along_m_s2"], out["a_normal_m_s2"] = f.x[A_T], f.x[A_N]
    out["sigma_altitude_m"], out["sigma_speed_m_s"], out["sigma_a_along_m_s2"] = f.sigma(H), f.sigma(V), f.sigma(A_T)
    out["sigma_v_vertical_m_s"], out["sigma_v_horizontal_m_s"] = sigma_up, sigma_across
    for k, name in enumerate(("innov_altitude_m", "innov_speed_m_s", "innov_sigma_altitude_m", "innov_sigma_speed_m_s")):
        out[name] = s["innov"][k]
    out["nis_altitude"], out["nis_speed"] = s["sum_nis_h"] / max(1, int(s["steps"])), s["sum_nis_v"] / int(s["samples"])
    out["samples"], out["altitude_updates"], out["gaps"], out["phase"] = s["samples"], s["steps"], s["gaps"], s["phase"]
    events["t_ns"] = io.t_ns
    for k, name in enumerate(EVENTS):
        events[f"t_{name}_s"] = s["events"][k]


ANNOTATED = "typedef struct {" + "".join(
    f"double {name}_s; /* [0, 1e6] : s of mission time, as annotated */\n" for name in EVENTS) + "} webcast_judge_params_t;"


@python_task("webcast.judge", reads={"events": "webcast_events_t"}, writes={"judgement": "webcast_judgement_t"}, params=ANNOTATED)
def judge(io: TaskIO) -> None:
    """Times of events beside annotated ones: the difference is not a number until the event is found."""
    seen, out = io.reads["events"], io.writes["judgement"]
    if io.age_ticks("events") != 0:
        io.withhold("judgement")
        return
    out["t_ns"] = io.t_ns
    for name in EVENTS:
        out[f"t_{name}_s"], out[f"annotated_{name}_s"] = seen[f"t_{name}_s"], io.params[f"{name}_s"]
        out[f"diff_{name}_s"] = seen[f"t_{name}_s"] - io.params[f"{name}_s"]
