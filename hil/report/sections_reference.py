"""Navigation beside what was recorded of the same flight: another estimate, the barometer, the fixes of a receiver."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from flightsw._native import ffi, lib
from hil.report.figures import GREEN, ORANGE, PALETTE, Line, Row
from hil.report.sections import Context, Motion, Section, nav_motion, number
from hil.report.sections_recorded import feeds, fields_of, gaps, shaded, times
from hil.report.signals import Array, interpolate, seconds

_FIELDS = ("t_valid_ns", "height_m", "v_up_m_s")
_SITE = ("site_lat_deg", "site_lon_deg", "site_height_m")


def beside(ctx: Context) -> Section | None:
    """Height and climb of navigation over those of the first message that has `t_valid_ns`, `height_m` and `v_up_m_s`, pressure
    height, and position over the recorded fixes.

    The other is an estimate too: the difference says how far two filters agree, not which is right.
    """
    nav = nav_motion(ctx)
    topic = next((t for t in ctx.signals.log.topics if set(_FIELDS) <= set(fields_of(ctx, t))), None)
    data = ctx.signals.read(topic) if nav is not None and topic is not None else None
    if nav is None or data is None or len(data) < 2:
        return None
    t, height, climb = seconds(data, "t_valid_ns"), data["height_m"], data["v_up_m_s"]
    off = interpolate(t, nav.t, nav.r)[:, 2] - height
    rows = [
        Row("height, m", [*_pressure(ctx, nav), Line("navigation", nav.t, nav.r[:, 2], PALETTE[0]),
                          Line("recorded estimate", t, height, ORANGE, "dash")], 220),
        Row("climb, m/s", [Line("navigation", nav.t, nav.v[:, 2], PALETTE[0]),
                           Line("recorded estimate", t, climb, ORANGE, "dash")]),
        Row("height, navigation minus recorded estimate, m", [Line("difference", t, off, PALETTE[2])]),
    ]
    fixes, outages = _fixes(ctx)
    for k, axis in enumerate(("east", "north")):
        if fixes is not None:
            rows.append(Row(f"{axis}, m", [Line("recorded fix", fixes[0], fixes[1][:, k], GREEN, points=True),
                                           Line("navigation", nav.t, nav.r[:, k], PALETTE[0])]))
    text = (
        f"The flight's own computer estimated this ({topic}); it is another filter's output, not the truth. Greatest height: "
        f"navigation {number(nav.r[:, 2].max())} m, recorded {number(np.nanmax(height))} m; at the end they differ by "
        f"{number(off[-1])} m. Pressure height counts from the first reading; times without a fix are red."
    )
    return Section("beside", "Beside the recorded estimate", text, [shaded(ctx.rows(rows), outages)])


def _pressure(ctx: Context, nav: Motion) -> list[Line]:
    """Pressure height of the recorded barometer, from where navigation was at its first reading."""
    data = _fed(ctx, "fsw_baro_t")
    if data is None:
        return []
    data = data[:: max(1, len(data) // 3000)]
    h = np.array([lib.fsw_nav_pressure_height(float(p)) for p in data["p_pa"]])
    t = times(data)
    return [Line("pressure height", t, h - h[0] + float(np.interp(t[0], nav.t, nav.r[:, 2])), GREEN, points=True)]


def _fixes(ctx: Context) -> tuple[tuple[Array, Array] | None, list[tuple[float, float]]]:
    """((times, (n, 3) east north up of the site), gaps) of the recorded receiver; None without one, or without a known site."""
    data, site = _fed(ctx, "fsw_gnss_t"), _site(ctx)
    if data is None or site is None:
        return None, []
    origin, dcm, q = (ffi.new("double[]", n) for n in (3, 9, 4))
    lib.fsw_nav_site(np.radians(site[0]), np.radians(site[1]), site[2], origin, dcm, q)
    c_le = np.array(list(dcm)).reshape(3, 3)
    t = times(data)
    return (t, (data["r_e"] - np.array(list(origin))) @ c_le.T), gaps(t)


def _fed(ctx: Context, kind: str) -> Array | None:
    """Messages of the first recorded input of a type."""
    known = feeds(ctx)
    topic = next((t for t in ctx.signals.all_of(kind) if t in known), None)
    data = ctx.signals.read(topic) if topic is not None else None
    return data if data is not None and len(data) > 1 else None


def _site(ctx: Context) -> tuple[float, float, float] | None:
    """Latitude, longitude (deg) and height (m) of the landing site, from the configuration that flew."""
    found: dict[str, float] = {}

    def look(table: Mapping[str, Any]) -> None:
        for key, value in table.items():
            if isinstance(value, Mapping):
                look(value)
            elif key in _SITE and isinstance(value, int | float):
                found.setdefault(key, float(value))

    for name, data in ctx.signals.log.attachments.items():
        if name.startswith("config/") and name.endswith(".toml"):
            try:
                look(tomllib.loads(data.decode("utf-8")))
            except ValueError:
                continue
    return (found[_SITE[0]], found[_SITE[1]], found.get(_SITE[2], 0.0)) if {*_SITE[:2]} <= set(found) else None
