"""One run of the navigation filter on recorded data, into a directory of its own.

nav.json: scores and counts; report.html; solution.csv: geodetic position, velocity and attitude (the columns that the data sets' score.py
reads); states.csv: biases and 1-sigma; measurements.csv: every measurement with innovation, sigma and what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from flightsw._native import compiler
from flightsw.navigation import GNSS, IMU, KINDS, OUTCOMES, ROW, TAKEN, Solution
from hil.nav.load import Job
from hil.nav.model import Window
from hil.nav.score import Errors, errors_of, score
from hil.run import OutputError, new_run_dir, point_latest, write_json

Array: TypeAlias = np.ndarray[Any, Any]
SCHEMA_VERSION = 1
_BIASES = (("b_a", "m_s2"), ("b_g", "rad_s"), ("s_a", "1"), ("s_g", "1"), ("b_n", "m"))
CHANNELS = {GNSS: ("north", "east", "down", "v_north", "v_east", "v_down")}


@dataclass(frozen=True)
class NavResult:
    """A finished run. content: of nav.json."""

    run_dir: Path
    job: Job
    solution: Solution
    errors: Errors | None
    content: dict[str, Any]

    @property
    def met(self) -> bool:
        """Do all limits of the mapping hold?"""
        return bool(self.content["met"])


def run_job(job: Job, out_root: Path = Path("runs"), progress: Callable[[float], None] | None = None, report: bool = True) -> NavResult:
    """Run the filter over a job's data and write everything. Raises ConfigError when it cannot start, OutputError when it cannot write."""
    from hil.nav.report import write_nav_report

    nav = job.filter()
    began = datetime.now(UTC)
    clock = time.perf_counter()
    baro = job.sensors["baro"]
    solution = nav.run(job.sensors["imu"][0], job.sensors["gnss"], job.sensors["radalt"], baro[0] if baro else None,
                       delay_s=job.delay_s, every=job.every, covariance=True, progress=progress)
    wall = time.perf_counter() - clock
    folder = new_run_dir(out_root, f"nav-{job.config.nav.name}", began)  # now: data that do not fit leave nothing behind
    errors = errors_of(solution, job.truth) if job.truth is not None else None
    result = NavResult(folder, job, solution, errors, _content(job, solution, errors, began, wall))
    try:
        write_json(folder / "nav.json", result.content)
        _write_csv(folder, solution)
        if report:
            write_nav_report(folder / "report.html", result)
    except OSError as exc:
        raise OutputError(f"{folder}: cannot be written: {exc.strerror}") from None
    point_latest(folder)
    return result


def _content(job: Job, solution: Solution, errors: Errors | None, began: datetime, wall: float) -> dict[str, Any]:
    windows = [Window.model_validate({"name": "whole record"}), *job.config.window]
    scores = score(errors, windows) if errors is not None else []
    limits = [limit for w in scores for limit in w["limits"]]
    span = float(solution.t_s[-1] - solution.t_s[0]) if len(solution.rows) else 0.0
    return {
        "schema_version": SCHEMA_VERSION, "name": job.config.nav.name, "title": job.config.nav.title, "mapping": job.file,
        "met": all(limit["ok"] for limit in limits), "limits": limits, "scores": scores, "measurements": counts(solution.outcomes),
        "innovations": innovations(solution.outcomes),
        "imu": {"samples": len(solution.imu_used), "refused": int((~solution.imu_used).sum())},
        "final": _final(solution), "files": [{"file": f, "sha256": s} for f, s in job.files],
        "parameters": {k: job.params[k] for k in sorted(job.params)}, "software": {"compiler": compiler()},
        "started_utc": began.isoformat(timespec="seconds"), "wall_s": wall, "span_s": span, "x_realtime": span / max(wall, 1e-9),
    }


def sources(outcomes: Array) -> list[tuple[int, int, str, Array]]:
    """(kind, unit, name, its outcomes) of each source that delivered anything."""
    out = []
    for kind in range(IMU + 1, ROW):
        of_kind = outcomes[outcomes["kind"] == kind]
        units = np.unique(of_kind["unit"]).tolist()
        out += [(kind, u, KINDS[kind] + (f" {u}" if len(units) > 1 else ""), of_kind[of_kind["unit"] == u]) for u in units]
    return out


def counts(outcomes: Array) -> dict[str, dict[str, int]]:
    """Per source: how many measurements met each fate."""
    return {name: {OUTCOMES[k]: int(n) for k, n in enumerate(np.bincount(o["outcome"], minlength=len(OUTCOMES))) if n}
            for _, _, name, o in sources(outcomes)}


def channels(kind: int) -> Sequence[str]:
    """Names of the scalars of a measurement."""
    return CHANNELS.get(kind, ("range",) if KINDS[kind] == "radalt" else ("height",))


def innovations(outcomes: Array) -> dict[str, dict[str, dict[str, float]]]:
    """Per source and scalar, of the measurements that were fused: how many, mean and standard deviation of innovation over sigma (0 and 1
    when the filter is right), share outside 3 sigma (0.0027); and NIS over its degrees of freedom.
    """
    out: dict[str, dict[str, dict[str, float]]] = {}
    for kind, _, name, o in sources(outcomes):
        taken = o[o["outcome"] < TAKEN]
        rows: dict[str, dict[str, float]] = {}
        for k, channel in enumerate(channels(kind)):
            used = (taken["sigma"][:, k] > 0) & (np.ones(len(taken), bool) if k < 3 else taken["outcome"] != 1)
            if used.any():
                z = taken["innovation"][used, k] / taken["sigma"][used, k]
                rows[channel] = {"count": int(used.sum()), "mean": float(z.mean()), "std": float(z.std()),
                                 "outside_3_sigma": float((np.abs(z) > 3).mean())}
        for k, block in enumerate(("nis", "nis_velocity")):
            dof = taken["dof"][:, k].sum()
            if dof:
                rows[block] = {"count": int((taken["dof"][:, k] > 0).sum()), "mean": float(taken["nis"][:, k].sum() / dof)}
        out[name] = rows
    return out


def _final(solution: Solution) -> dict[str, Any]:
    if not len(solution.rows):
        return {}
    row = solution.rows[-1]
    return {"t_s": float(solution.t_s[-1]), **{f"{name}_{unit}" if unit != "1" else name: row[name].tolist() for name, unit in _BIASES},
            "b_ra_m": float(row["b_ra"]), "b_baro_m": float(row["b_baro"])}


# ---- tables ------------------------------------------------------------------------------------------------------------


def _write_csv(folder: Path, solution: Solution) -> None:
    lat, lon, height = solution.geodetic()
    _save(folder / "solution.csv", {
        "t_s": ("%.9f", solution.t_s), "lat_deg": ("%.11f", np.rad2deg(lat)), "lon_deg": ("%.11f", np.rad2deg(lon)), "h_m": ("%.5f", height),
        **{n: ("%.10g", x) for n, x in zip(("vn", "ve", "vd"), solution.velocity_ned().T, strict=True)},
        **{n: ("%.10f", x) for n, x in zip(("qw", "qx", "qy", "qz"), solution.q_nb().T, strict=True)}})
    sigma = np.sqrt(np.maximum(np.einsum("nii->ni", solution.covariance_ned()), 0.0))
    names = [f"sigma_{q}_{axis}_{unit}" for q, unit in (("r", "m"), ("v", "m_s"), ("att", "rad")) for axis in ("n", "e", "d")]
    states: dict[str, tuple[str, Array]] = {"t_s": ("%.9f", solution.t_s)} | {n: ("%.6g", sigma[:, k]) for k, n in enumerate(names)}
    for j, (name, unit) in enumerate(_BIASES):
        for axis in range(3):
            at = f"{name}_{'xyz'[axis]}" + (f"_{unit}" if unit != "1" else "")
            states[at] = ("%.9g", solution.rows[name][:, axis])
            states[f"sigma_{at}"] = ("%.6g", solution.rows["sigma"][:, 9 + 3 * j + axis])
    for k, name in enumerate(("b_ra", "b_baro")):
        states[f"{name}_m"] = ("%.9g", solution.rows[name])
        states[f"sigma_{name}_m"] = ("%.6g", solution.rows["sigma"][:, 24 + k])
    _save(folder / "states.csv", states)
    o = solution.outcomes
    table: dict[str, tuple[str, Array]] = {
        "t_s": ("%.9f", o["t_valid_ns"] * 1e-9), "t_filter_s": ("%.9f", o["t_filter_ns"] * 1e-9),
        "source": ("%s", np.array(KINDS)[o["kind"]]), "unit": ("%d", o["unit"]), "outcome": ("%s", np.array(OUTCOMES)[o["outcome"]])}
    for k in range(6):
        table[f"innovation_{k}"], table[f"sigma_{k}"] = ("%.6g", o["innovation"][:, k]), ("%.6g", o["sigma"][:, k])
    for k, block in enumerate(("nis", "nis_velocity")):
        table[block], table[f"dof_{block}"] = ("%.6g", o["nis"][:, k]), ("%d", o["dof"][:, k])
    _save(folder / "measurements.csv", table, "")


def _save(path: Path, columns: Mapping[str, tuple[str, Array]], comment: str = "# ") -> None:
    """CSV with one line of names; a text with a comma is quoted."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write(comment + ",".join(columns) + "\n")
        form = ",".join('"%s"' if f == "%s" else f for f, _ in columns.values()) + "\n"
        for row in zip(*(x.tolist() for _, x in columns.values()), strict=True):
            stream.write(form % row)
