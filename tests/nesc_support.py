"""The NASA/NESC check cases: data, bodies, and a world flown without a bench.

Cases, columns and their units: NASA/TM-2015-218675 and the header lines of the files.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from flightsw._native import ffi
from flightsw.messages import dtype_of
from flightsw.params import Given, resolve
from flightsw.tasks import builtin_tasks

FT = 0.3048
SLUG = 14.593903
KNOT = 0.5144444
DEG = np.pi / 180.0
SLUG_FT2 = SLUG * FT * FT

BASE = {"site_lat_deg": 0.0, "site_lon_deg": 0.0, "init_mode": 1, "init_h_m": 30000.0 * FT, "earth_rate_rad_s": 0.004178073 * DEG}
SPHERE = {"mass_dry_kg": SLUG, "dry_ixx_kg_m2": 3.6 * SLUG_FT2, "dry_iyy_kg_m2": 3.6 * SLUG_FT2, "s_ref_m2": 0.1963495 * FT * FT}
BRICK = {"mass_dry_kg": 0.155404754 * SLUG, "dry_ixx_kg_m2": 0.00189422 * SLUG_FT2, "dry_iyy_kg_m2": 0.006211019 * SLUG_FT2,
         "dry_izz_kg_m2": 0.007194665 * SLUG_FT2, "s_ref_m2": 0.22222 * FT * FT}
TUMBLE = {"init_omega_b_deg_s": [10.0, 20.0, 30.0]}
ROUND = {"earth_a_m": 20902255.199 * FT, "earth_inv_f": 0.0, "earth_j2": 0.0, "earth_rate_rad_s": 0.0,
         "earth_gm_m3_s2": 1.407644311e16 * FT**3}
CASES: dict[int, dict[str, Any]] = {
    1: SPHERE,
    2: BRICK | TUMBLE,
    3: BRICK | TUMBLE | {"clp": -1.0, "cmq": -1.0, "cnr": -1.0, "damp_l_m": [0.33333 * FT, 0.66667 * FT, 0.33333 * FT]},
    4: SPHERE | TUMBLE | ROUND | {"cd_const": 0.1},
    6: SPHERE | {"cd_const": 0.1},
    8: SPHERE | {"cd_const": 0.1, "n_wind": 1, "wind_east_m_s": [-20.0 * FT], "wind_shear_east_1_s": 0.003},
}


def read_reference(folder: Path, case: int, sim: int) -> dict[str, np.ndarray]:
    """One simulator's trajectory, by column name. `folder` is that of the data set."""
    (path,) = folder.glob(f"Atmospheric_checkcases/Atmos_{case:02d}_*/Atmos_{case:02d}_sim_{sim:02d}.csv")
    with path.open(newline="") as file:
        names, *rows = list(csv.reader(file))
    table = np.array([[float(x) if x.strip() else np.nan for x in row] for row in rows])
    return {name.strip(): table[:, k] for k, name in enumerate(names)}


def run_world(params: dict[str, Any], seconds: float, every: int = 100) -> np.ndarray:
    """Truth of a world without commands, every so many milliseconds from t = 0."""
    task = builtin_tasks()["world.dynamics"]
    problems: list[Any] = []
    own = {name: Given(value, "test", name) for name, value in params.items()}
    record = resolve(task.params_dtype, task.params, own, {}, ("test", "world"), set(), problems)
    assert not problems, problems
    state = bytearray(task.initial_state(record))
    raw = bytearray(record.tobytes())
    truth_dtype = dtype_of(ffi.typeof("fsw_truth_t"))
    truth = bytearray(truth_dtype.itemsize)
    keep = [ffi.from_buffer(truth), ffi.from_buffer(state), ffi.from_buffer(raw)]
    ins = ffi.new("void *[]", len(task.reads))
    heads = ffi.new("fsw_topic_head_t *[]", len(task.reads))
    outs = ffi.new("void *[]", len(task.writes))
    outs[0] = keep[0]
    io = ffi.new("fsw_io_t *", {"dt_ns": 1_000_000, "seed": 1, "stream": 1, "out": outs, "state": keep[1], "params": keep[2]})
    for name, array in (("in", ins), ("in_head", heads)):  # "in" is a word of Python
        ffi.cast("void **", ffi.addressof(io[0], name))[0] = array
    rows = []
    for tick in range(round(seconds * 1000.0) + 1):
        io.tick = tick
        io.t_ns = tick * 1_000_000
        io.publish = 0xFFFFFFFF
        assert task.desc.step(io) == 0
        if tick % every == 0:
            rows.append(np.frombuffer(bytes(truth), truth_dtype)[0])
    return np.array(rows)


def local_axes(truth: np.ndarray, params: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Geodetic height (m) and rotations from e to local north, east, down. Iterated here, not with the code under test."""
    a = params.get("earth_a_m", 6378137.0)
    inv_f = params.get("earth_inv_f", 298.257223563)
    e2 = (2.0 - 1.0 / inv_f) / inv_f if inv_f else 0.0
    x, y, z = truth["r_e"].T
    p = np.hypot(x, y)
    lat = np.arctan2(z, p * (1.0 - e2))
    for _ in range(8):
        n = a / np.sqrt(1.0 - e2 * np.sin(lat) ** 2)
        lat = np.arctan2(z + e2 * n * np.sin(lat), p)
    n = a / np.sqrt(1.0 - e2 * np.sin(lat) ** 2)
    height = p * np.cos(lat) + (z + e2 * n * np.sin(lat)) * np.sin(lat) - n
    lon = np.arctan2(y, x)
    zero = np.zeros_like(lon)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], -1)
    east = np.stack([-np.sin(lon), np.cos(lon), zero], -1)
    return height, np.stack([north, east, np.cross(north, east)], 1)


def matrices(q: np.ndarray) -> np.ndarray:
    """Rotations of unit quaternions, scalar first."""
    w, x, y, z = q.T
    rows = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]]
    return np.moveaxis(np.array(rows), -1, 0)


def euler(ref: dict[str, np.ndarray]) -> np.ndarray:
    """Rotations from body to local north, east, down of a reference trajectory (3-2-1 angles)."""
    yaw, pitch, roll = (ref[f"eulerAngle_deg_{name}"] * DEG for name in ("Yaw", "Pitch", "Roll"))
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    rows = [[cp * cy, sr * sp * cy - cr * sy, cr * sp * cy + sr * sy],
            [cp * sy, sr * sp * sy + cr * cy, cr * sp * sy - sr * cy],
            [-sp, sr * cp, cr * cp]]
    return np.moveaxis(np.array(rows), -1, 0)


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle of the rotation between a and b, exact for small and large ones."""
    r = np.swapaxes(a, 1, 2) @ b
    sine = 0.5 * np.linalg.norm([r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]], axis=0)
    return np.degrees(np.arctan2(sine, 0.5 * (np.trace(r, axis1=1, axis2=2) - 1.0)))
