"""Sections of the report on the flight as a whole: path, attitude, navigation, forces, air, actuators.

A section is made from message types. Each function returns None when the log does not hold what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.report.figures import (
    BLUE,
    CYAN,
    GRAY,
    GREEN,
    ORANGE,
    PALETTE,
    PURPLE,
    RED,
    Figure,
    Line,
    Point,
    Row,
    packed,
    space_figure,
    time_figure,
    xy_figure,
)
from hil.report.signals import (
    Array,
    Signals,
    interpolate,
    interpolate_hermite,
    interpolate_quat,
    roll_rad,
    rotation_error,
    seconds,
    stride,
    thin,
    tilt_rad,
)
from hil.story import Event

ENU = ("east", "north", "up")
DEG = 180.0 / np.pi


@dataclass
class Context:
    """What sections are made from: signals of the log, run.json, events, span of time (s)."""

    signals: Signals
    run: Mapping[str, Any]
    events: Sequence[Event]
    span: tuple[float, float]

    def rows(self, rows: Sequence[Row]) -> Figure:
        """Time figure over the span of the run, with its events."""
        return time_figure(rows, self.events, self.span)


@dataclass
class Section:
    """A chapter of the page: a sentence (HTML) on what one sees, figures, and more HTML behind them."""

    ident: str
    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)
    html: str = ""


def number(given: Any) -> str:
    """Four significant digits of anything like a number, without exponent for everyday sizes; "-" for what is not one."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        return "-"
    if not np.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = max(0, 3 - int(np.floor(np.log10(abs(value)))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


@dataclass(frozen=True)
class Motion:
    """Motion of the body origin and whose word it is: time (s), r and v in L (n, 3), q_bl (n, 4), omega_bl_b (n, 3)."""

    t: Array
    r: Array
    v: Array
    q: Array
    omega: Array
    source: str


def true_motion(ctx: Context) -> Motion | None:
    """Motion as the world knows it."""
    data = ctx.signals.get("fsw_world_state_t")
    if data is None or len(data) < 2:
        return None
    return Motion(seconds(data, "t_ns"), data["r_bl_l"], data["v_bl_l"], data["q_bl"], data["omega_bl_b"], "truth")


def nav_motion(ctx: Context) -> Motion | None:
    """Motion as navigation knows it, where valid."""
    data = ctx.signals.get("fsw_nav_t")
    if data is None:
        return None
    data = data[(data["valid"] > 0) & (np.linalg.norm(data["q_bl"], axis=1) > 0.5)]
    if len(data) < 2:
        return None
    return Motion(seconds(data, "t_valid_ns"), data["r_bl_l"], data["v_bl_l"], data["q_bl"], data["omega_bl_b"], "navigation")


def _points(ctx: Context, m: Motion) -> list[tuple[Point, float]]:
    """Marked places with the speed there (m/s)."""
    points = [(Point("pad", (0.0, 0.0, 0.0), GREEN, "diamond"), 0.0)]
    for name, label, color in (
        ("IGNITION_DECIDED", "landing burn decided", ORANGE),
        ("ENGINE_LIT", "first engine lit", RED),
        ("CUTOFF", "cut-off", PURPLE),
    ):
        first = next((e for e in ctx.events if e.name == name), None)
        if first is not None:
            t = np.array([first.t_s])
            speed = float(np.linalg.norm(interpolate(t, m.t, m.v)))
            points.append((Point(f"{label}, {first.t_s:.1f} s", interpolate(t, m.t, m.r)[0], color), speed))
    guidance = ctx.signals.get("fsw_guidance_t")
    if guidance is not None and (guidance["divert"] > 0).any():
        points.append((Point("divert target", guidance["target_l"][guidance["divert"] > 0][-1], PURPLE, "x"), 0.0))
    return points


def trajectory(ctx: Context) -> Section | None:
    """The path in space, altitude over speed, both over time."""
    truth, nav = true_motion(ctx), nav_motion(ctx)
    m = truth or nav
    if m is None:
        return None
    speed = np.linalg.norm(m.v, axis=1)
    s = stride(len(m.t), 1500)
    ends = np.r_[m.r[s], m.r[-1:]]
    space = space_figure([(m.source, ends, BLUE)], [p for p, _ in _points(ctx, m)])
    t_thin, _ = thin(m.t, m.r[:, 2], 1500)
    index = np.searchsorted(m.t, t_thin)
    envelope: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": m.source,
            "x": packed(speed[index]),
            "y": packed(m.r[index, 2]),
            "line": {"color": BLUE, "width": 2},
            "hovertemplate": "%{x:.1f} m/s, %{y:.1f} m",
        }
    ]
    for p, at in _points(ctx, m)[1:]:
        envelope.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": p.name,
                "marker": {"size": 9, "color": p.color, "symbol": p.symbol},
                "x": [at],
                "y": [float(p.r_l[2])],
            }
        )
    rows = [
        Row("altitude, m", [Line(m.source, m.t, m.r[:, 2])]),
        Row(
            "speed, m/s",
            [
                Line("speed", m.t, speed),
                Line("down", m.t, -m.v[:, 2], ORANGE, "dash"),
                Line("across", m.t, np.hypot(m.v[:, 0], m.v[:, 1]), GREEN, "dot"),
            ],
        ),
        Row("position, m", [Line("east", m.t, m.r[:, 0]), Line("north", m.t, m.r[:, 1], ORANGE)], 120),
    ]
    text = (
        f"From {m.r[0, 2]:z.1f} m and {speed[0]:.1f} m/s to {m.r[-1, 2]:z.1f} m and {speed[-1]:.1f} m/s "
        f"in {m.t[-1] - m.t[0]:.1f} s ({m.source}). "
        "The view in space stretches the horizontal scale; turn it with the mouse or a finger."
    )
    return Section("trajectory", "Trajectory", text, [space, xy_figure(envelope, "speed, m/s", "altitude, m"), ctx.rows(rows)])


def attitude(ctx: Context) -> Section | None:
    """Angle from the vertical, roll and body rates, commanded and actual."""
    m = true_motion(ctx) or nav_motion(ctx)
    if m is None:
        return None
    tilt, roll = [Line(m.source, m.t, tilt_rad(m.q) * DEG)], [Line(m.source, m.t, roll_rad(m.q) * DEG)]
    guidance = ctx.signals.get("fsw_guidance_t")
    if guidance is not None:
        guidance = guidance[
            (np.linalg.norm(guidance["q_cmd_bl"], axis=1) > 0.5) & (guidance["phase"] > 0)
        ]  # idle commands nothing
    if guidance is not None and len(guidance) > 1:
        t = seconds(guidance)
        tilt.append(Line("commanded", t, tilt_rad(guidance["q_cmd_bl"]) * DEG, ORANGE, "dash"))
        roll.append(Line("commanded", t, roll_rad(guidance["q_cmd_bl"]) * DEG, ORANGE, "dash"))
    rates = [Line(f"{axis} {m.source}", m.t, m.omega[:, k] * DEG, PALETTE[k]) for k, axis in enumerate("xyz")]
    rows = [Row("angle from the vertical, deg", tilt), Row("roll, deg", roll, 110), Row("body rates, deg/s", rates)]
    control = ctx.signals.get("fsw_control_t")
    text = (
        f"The stage axis ends {number(tilt[0].y[-1])} deg from the vertical; its greatest rate is "
        f"{number(np.abs(m.omega).max() * DEG)} deg/s."
    )
    if control is not None and len(control) > 1:
        t = seconds(control)
        rows.append(
            Row(
                "attitude error as control sees it, deg",
                [Line(axis, t, control["att_err_b"][:, k] * DEG, PALETTE[k]) for k, axis in enumerate("xyz")],
                120,
            )
        )
        rows.append(
            Row(
                "moment asked (line) and given (dots), kN m",
                [
                    Line(f"{axis} {what}", t, control[f"moment_{what}_b"][:, k] * 1e-3, PALETTE[k], dash)
                    for k, axis in enumerate("xyz")
                    for what, dash in (("cmd", ""), ("alloc", "dot"))
                ],
            )
        )
        share = 100.0 * float(np.mean(control["saturated"] > 0))
        text += f" Some actuator was at its limit for {share:.1f} % of the time."
    return Section("attitude", "Attitude and rates", text, [ctx.rows(rows)])


def _error_figure(ctx: Context, t: Array, error: Array, sigma: tuple[Array, Array] | None, what: str) -> Figure:
    rows = []
    for k, axis in enumerate(ENU):
        lines = [Line("3 sigma as stated", sigma[0], 3.0 * sigma[1][:, k], GRAY, band=True)] if sigma is not None else []
        span = _focus(error[:, k], 3.0 * sigma[1][:, k] if sigma is not None else error[:0, k])
        rows.append(Row(f"{what.format(axis)}", [*lines, Line("error", t, error[:, k], PALETTE[k])], 96, span, most=900))
    return ctx.rows(rows)


def _focus(error: Array, bound: Array) -> tuple[float, float] | None:
    """Value range of what is usual, when something rare (an impact, the first instant) would hide it; None: all of it."""
    usual = max(float(np.nanpercentile(np.abs(v), 97)) for v in (error, bound) if len(v))
    most = max(float(np.nanmax(np.abs(v))) for v in (error, bound) if len(v))
    return (-1.6 * usual, 1.6 * usual) if 0.0 < usual < most / 3.0 else None


def navigation(ctx: Context) -> Section | None:
    """Navigation minus truth at the instant each solution belongs to, within the bounds that navigation states itself."""
    truth, nav = true_motion(ctx), nav_motion(ctx)
    if truth is None or nav is None:
        return None
    use = (nav.t >= truth.t[0]) & (nav.t <= truth.t[-1])
    t = nav.t[use]
    if len(t) < 2:
        return None
    r = nav.r[use] - interpolate_hermite(t, truth.t, truth.r, truth.v)
    v = nav.v[use] - interpolate(t, truth.t, truth.v)
    att = -rotation_error(interpolate_quat(t, truth.t, truth.q), nav.q[use]) * DEG
    status = ctx.signals.get("fsw_nav_status_t")
    bounds: dict[str, tuple[Array, Array]] = {}
    inside = ""
    if status is not None and len(status) > 1:
        ts = seconds(status, "t_valid_ns")
        bounds = {"r": (ts, status["sigma_r_m"]), "v": (ts, status["sigma_v_m_s"]), "att": (ts, status["sigma_att_rad"] * DEG)}
        shares = [
            float(np.mean(np.abs(e) <= 3.0 * interpolate(t, *bounds[key]))) * 100.0
            for key, e in (("r", r), ("v", v), ("att", att))
        ]
        inside = (
            " Inside the 3-sigma bounds that navigation states itself: position {:.1f} %, velocity {:.1f} %, attitude {:.1f} % "
            "of the time (a Gaussian error: 99.7 %)."
        ).format(*shares)
    final = np.abs(r[-1])
    text = (
        f"Navigation minus truth. At the end {number(np.hypot(final[0], final[1]))} m across and {number(final[2])} m in "
        f"height; greatest error {number(np.abs(r).max())} m, {number(np.abs(v).max())} m/s, "
        f"{number(np.abs(att).max())} deg.{inside} A double click on a diagram shows what lies outside it."
    )
    figures = [
        _error_figure(ctx, t, r, bounds.get("r"), "position error {}, m"),
        _error_figure(ctx, t, v, bounds.get("v"), "velocity error {}, m/s"),
        _error_figure(ctx, t, att, bounds.get("att"), "attitude error about {}, deg"),
    ]
    if status is not None and len(status) > 1:
        figures.append(ctx.rows(_status_rows(status)))
    return Section("navigation", "Navigation error", text, figures)


def _status_rows(status: Array) -> list[Row]:
    ts = seconds(status, "t_valid_ns")
    total = status["accepted"][-1] + status["rejected"][-1]
    usual = max(4.0, float(np.nanpercentile(np.r_[status["nis_gnss"], status["nis_radalt"]], 99)) * 1.2)
    return [
        Row(
            "normalised innovation squared (1 on average)",
            [Line("GNSS", ts, status["nis_gnss"]), Line("radar altimeter", ts, status["nis_radalt"], ORANGE)],
            110,
            (0.0, usual),
        ),
        Row(f"measurements rejected of {int(total)}", [Line("rejected", ts, status["rejected"], RED, steps=True)], 80),
    ]


def forces(ctx: Context) -> Section | None:
    """Mass and propellant, thrust, dynamic pressure, Mach number, angle of attack, axial load."""
    data = ctx.signals.get("fsw_world_state_t")
    if data is None or len(data) < 2:
        return None
    t = seconds(data, "t_ns")
    thrust = [Line("true", t, data["f_thrust_b"][:, 0] * 1e-3)]
    guidance, control = ctx.signals.get("fsw_guidance_t"), ctx.signals.get("fsw_control_t")
    if guidance is not None:
        thrust.append(Line("asked by guidance", seconds(guidance), guidance["thrust_cmd_n"] * 1e-3, ORANGE, "dash"))
    if control is not None:
        thrust.append(Line("estimated on board", seconds(control), control["thrust_est_n"] * 1e-3, GREEN, "dot"))
    off_axis = np.where(data["alpha_rad"] > np.pi / 2, np.pi - data["alpha_rad"], data["alpha_rad"]) * DEG
    rows = [
        Row("mass, t", [Line("mass", t, data["mass_kg"] * 1e-3)], 100),
        Row("propellant, t", [Line("propellant", t, data["propellant_kg"] * 1e-3, ORANGE)], 100),
        Row("thrust along the axis, kN", thrust),
        Row("dynamic pressure, kPa", [Line("q", t, data["q_pa"] * 1e-3)], 100),
        Row("Mach number", [Line("Mach", t, data["mach"], PURPLE)], 100),
        Row("angle between air flow and stage axis, deg", [Line("angle of attack", t, off_axis, CYAN)], 100),
        Row("axial load, g", [Line("axial", t, data["axial_g"], RED)], 100),
    ]
    burnt = float(data["propellant_kg"][0] - data["propellant_kg"][-1])
    text = (
        f"{number(burnt)} kg of propellant burnt, {number(data['propellant_kg'][-1])} kg left. Greatest dynamic pressure "
        f"{number(data['q_pa'].max() * 1e-3)} kPa, greatest axial load {number(data['axial_g'].max())} g. "
        "The angle is taken to the nearer end of the axis: 0 is nose or tail straight into the flow; it means little when "
        "the air flow is slow."
    )
    return Section("forces", "Propellant, thrust and loads", text, [ctx.rows(rows)])


def wind(ctx: Context) -> Section | None:
    """Wind at the vehicle, over time and altitude."""
    data = ctx.signals.get("fsw_world_state_t")
    if data is None or len(data) < 2:
        return None
    t, w = seconds(data, "t_ns"), data["wind_l"]
    rows = [Row("wind at the vehicle, m/s", [Line(axis, t, w[:, k], PALETTE[k]) for k, axis in enumerate(ENU)])]
    low = data["r_bl_l"][:, 2] <= max(100.0, float(data["r_bl_l"][:, 2].min()) + 1.0)
    across = np.hypot(w[:, 0], w[:, 1])
    if not np.any(w):
        return Section("wind", "Wind", "The air is still in this run.")
    ground = across[low].max() if low.any() else across[-1]
    text = f"Up to {number(across.max())} m/s across on the way, {number(ground)} m/s near the ground."
    return Section("wind", "Wind", text, [ctx.rows(rows)])


def actuators(ctx: Context) -> Section | None:
    """Fins, gimbals and thrusters, commanded and where known actual."""
    rows = []
    fins, world = ctx.signals.get("fsw_fin_cmd_t"), ctx.signals.get("fsw_world_state_t")
    parts = []
    if fins is not None:
        t = seconds(fins)
        lines = [Line(f"{k} cmd", t, fins["fin_rad"][:, k] * DEG, PALETTE[k], "dot") for k in _moving(fins["fin_rad"])]
        if world is not None and lines:
            lines += [
                Line(f"{k}", seconds(world, "t_ns"), world["fin_rad"][:, k] * DEG, PALETTE[k])
                for k in _moving(world["fin_rad"])
            ]
        rows.append(Row("fins, deg", lines or [Line("all", t, fins["fin_rad"][:, 0], GRAY)]))
        parts.append(f"Fins use up to {number(np.abs(fins['fin_rad']).max() * DEG)} deg")
    tvc = ctx.signals.get("fsw_tvc_cmd_t")
    if tvc is not None:
        t = seconds(tvc)
        for offset, axis in ((0, "y"), (1, "z")):
            angles = tvc["gimbal_rad"][:, offset::2]
            lines = [Line(f"engine {k}", t, angles[:, k] * DEG, PALETTE[k % len(PALETTE)]) for k in _distinct(angles)]
            rows.append(
                Row(f"gimbal about body {axis}, commanded, deg", lines or [Line("all", t, angles[:, 0], GRAY)], 120, most=800)
            )
        parts.append(f"gimbals up to {number(np.abs(tvc['gimbal_rad']).max() * DEG)} deg")
    rcs = ctx.signals.get("fsw_rcs_cmd_t")
    if rcs is not None:
        count = sum((rcs["on_mask"].astype(np.uint64) >> np.uint64(k)) & np.uint64(1) for k in range(32))
        rows.append(Row("thrusters open", [Line("thrusters", seconds(rcs), np.asarray(count, float), PURPLE, steps=True)], 80))
        parts.append("thrusters fire as needed where the air is thin or slow")
    if not rows:
        return None
    if world is not None:
        rows.append(Row("cold gas left, kg", [Line("gas", seconds(world, "t_ns"), world["gas_kg"], CYAN)], 80))
    text = "; ".join(parts)
    return Section("actuators", "Fins, gimbals and thrusters", text[:1].upper() + text[1:] + ".", [ctx.rows(rows)])


def _moving(values: Array) -> list[int]:
    return [k for k in range(values.shape[1]) if np.nanmax(np.abs(values[:, k])) > 0.0]


def _distinct(values: Array) -> list[int]:
    """Columns that move, one of each set of equal ones."""
    out: list[int] = []
    for k in _moving(values):
        if not any(np.array_equal(values[:, k], values[:, j]) for j in out):
            out.append(k)
    return out


def slosh(ctx: Context) -> Section | None:
    """Lateral motion of the liquids."""
    data = ctx.signals.get("fsw_world_state_t")
    if data is None or len(data) < 2 or not np.any(data["slosh_m"]):
        return None
    t = seconds(data, "t_ns")
    names = ("oxidiser y", "oxidiser z", "fuel y", "fuel z")
    rows = [
        Row(
            "lateral displacement of the moving liquid, m",
            [Line(n, t, data["slosh_m"][:, k], PALETTE[k]) for k, n in enumerate(names)],
        )
    ]
    text = f"The liquids move sideways by up to {number(np.abs(data['slosh_m']).max())} m."
    return Section("slosh", "Slosh", text, [ctx.rows(rows)])
