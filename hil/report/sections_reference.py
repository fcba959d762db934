"""Navigation beside another estimate of the same flight, where a bench has one recorded."""

from __future__ import annotations

import numpy as np

from hil.report.figures import PALETTE, Line, Row
from hil.report.sections import Context, Section, nav_motion, number
from hil.report.signals import interpolate, seconds

_FIELDS = ("t_valid_ns", "height_m", "v_up_m_s")


def beside(ctx: Context) -> Section | None:
    """Height and climb of navigation over those of the first message that has `t_valid_ns`, `height_m` and `v_up_m_s`.

    The other is an estimate too: the difference says how far two filters agree, not which is right.
    """
    nav = nav_motion(ctx)
    topic = next((t for t in ctx.signals.rest() if set(_FIELDS) <= set(ctx.signals.log.dtype(t).names or ())), None)
    if nav is None or topic is None:
        return None
    data = ctx.signals.read(topic)
    if data is None or len(data) < 2:
        return None
    t, height, climb = seconds(data, "t_valid_ns"), data["height_m"], data["v_up_m_s"]
    off = interpolate(t, nav.t, nav.r)[:, 2] - height
    rows = [
        Row("height, m", [Line("navigation", nav.t, nav.r[:, 2], PALETTE[0]), Line("recorded estimate", t, height, PALETTE[1])]),
        Row("climb, m/s", [Line("navigation", nav.t, nav.v[:, 2], PALETTE[0]), Line("recorded estimate", t, climb, PALETTE[1])]),
        Row("height, navigation minus recorded estimate, m", [Line("difference", t, off, PALETTE[2])]),
    ]
    text = (
        f"The flight's own computer estimated this ({topic}); it is another filter's output, not the truth. Greatest height: "
        f"navigation {number(nav.r[:, 2].max())} m, recorded {number(np.nanmax(height))} m; at the end they differ by "
        f"{number(off[-1])} m."
    )
    return Section("beside", "Beside the recorded estimate", text, [ctx.rows(rows)])
