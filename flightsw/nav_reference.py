"""The equations of the navigation filter, written to be read: documentation of `native/gnc/nav_*.c` and the oracle of its tests.

It is never used to fly: it is slow, it keeps a dense covariance and it rejects nothing. Every function is one equation of
docs/navigation-equations.md and works in the precision of its arguments: `numpy.longdouble` gives the tests an oracle with eleven bits
more than the C core (64 against 53 of mantissa, where the machine has them).

Conventions (flightsw/nav.h): SI units. Frames: e Earth-fixed, b body. `q_be`, `c_be` take body components to Earth-fixed ones.
Quaternions Hamilton, scalar first. Error state x = truth - estimate of 26 numbers,
[dr dv psi | b_a b_g s_a s_g | b_n | b_ra | b_baro], with C_true = (I + [psi]x) C_estimate, in e except the IMU errors (body).
IMU model: measured increment = (1 + s) true increment + b dt.

Sources named below: Savage, J. Guidance, Control and Dynamics 21(1) and 21(2), 1998. Groves, Principles of GNSS, Inertial, and
Multisensor Integrated Navigation Systems, 2013. Bierman, Factorization Methods for Discrete Sequential Estimation, 1977. Thornton and
Bierman, 1977 (time update). Agee and Turner, White Sands TR 38, 1972. Bowring, Survey Review 23, 1976. Carpenter and D'Souza (eds.),
Navigation Filter Best Practices, NASA/TP-2018-219822. Sola, arXiv:1711.02508.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

OMEGA_E = 7.292115e-5  # rad/s, WGS-84
GM_E = 3.986004418e14  # m3/s2
J2_E = 1.082629821e-3
A_E = 6378137.0  # m
F_E = 1.0 / 298.257223563
E2_E = F_E * (2.0 - F_E)

N = 26
NX = 9  # vehicle: dr, dv, psi
R, V, PSI, B_A, B_G, S_A, S_G, B_N = (slice(3 * k, 3 * k + 3) for k in range(8))
B_RA, B_BARO = 24, 25
FOLD_STEPS = 10  # covariance steps between two additions of bias noise


# ---- algebra ----------------------------------------------------------------------------------------------------------------------


def cross(a: Array, b: Array) -> Array:
    """a x b."""
    return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def skew(a: Array) -> Array:
    """[a]x, so that [a]x b = a x b."""
    zero = a[0] * 0
    return np.array([[zero, -a[2], a[1]], [a[2], zero, -a[0]], [-a[1], a[0], zero]])


def quat_multiply(a: Array, b: Array) -> Array:
    """Hamilton product a b (Sola)."""
    w = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[w], a[0] * b[1:] + b[0] * a[1:] + cross(a[1:], b[1:])])


def quat_from_rotvec(phi: Array) -> Array:
    """Rotation by |phi| rad about phi: [cos |phi|/2, phi/|phi| sin |phi|/2] (Sola)."""
    z = phi @ phi
    if z < 1e-8:  # the next terms are below 2^-64
        return np.concatenate([[1 - z / 8 + z * z / 384], phi * (1 - z / 24 + z * z / 1920) / 2])
    a = np.sqrt(z)
    return np.concatenate([[np.cos(a / 2)], phi * (np.sin(a / 2) / a)])


def rotvec_from_quat(q: Array) -> Array:
    """Rotation vector, rad, of the shorter way round: the inverse of quat_from_rotvec."""
    q = -q if q[0] < 0 else q
    s = np.sqrt(q[1:] @ q[1:])
    return np.asarray(2 * q[1:] if s < 1e-12 else q[1:] * (2 * np.arctan2(s, q[0]) / s))


def quat_normalize(q: Array) -> Array:
    """q / |q|."""
    return np.asarray(q / np.sqrt(q @ q))


def dcm(q: Array) -> Array:
    """Rotation matrix of a unit quaternion (Sola), its diagonal written as 1 - 2 (..)."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


# ---- Earth ------------------------------------------------------------------------------------------------------------------------


def gravity(r_e: Array) -> Array:
    """Gravity in e, m/s2: central term and J2 of the gravitation (Groves 2013, ch. 2) plus the centrifugal acceleration.

    With r = |r_e|, k = 3/2 J2 (a/r)^2, s = 5 (z/r)^2:
    g = -GM/r^3 [x (1 + k (1 - s)), y (1 + k (1 - s)), z (1 + k (3 - s))] + omega^2 [x, y, 0]. C: fsw_nav_gravity."""
    r2 = r_e @ r_e
    k = 3 * J2_E * A_E**2 / (2 * r2)
    s = 5 * r_e[2] ** 2 / r2
    oblate = np.array([1 + k * (1 - s), 1 + k * (1 - s), 1 + k * (3 - s)])
    return np.asarray(-GM_E / (r2 * np.sqrt(r2)) * oblate * r_e + OMEGA_E**2 * r_e * np.array([1, 1, 0]))


def gravity_gradient(r_e: Array) -> Array:
    """d g / d r of the central term, 1/s2: -GM/r^3 (I - 3 r r^T / r^2) (Groves 2013, ch. 14).

    J2 and the centrifugal term are left out: at most 1.2 % of it near the ground. C: the six numbers g_dt of fsw_nav_transition."""
    r2 = r_e @ r_e
    return np.asarray(-GM_E / (r2 * np.sqrt(r2)) * (np.eye(3) - 3 * np.outer(r_e, r_e) / r2))


def ned(r_e: Array) -> Array:
    """Unit vectors north, east, down at r_e as rows: C_ne. Latitude by one pass of Bowring (1976).

    tan(beta) = z a / (p b), then tan(lat) = (z + e'^2 b sin^3 beta) / (p - e^2 a cos^3 beta); no trigonometric function, because only
    sines and cosines of the angles are wanted. C: fsw_nav_ned."""
    b = A_E * (1 - F_E)
    x, y, z = r_e
    p = np.hypot(x, y)
    h = np.hypot(z * A_E, p * b)
    sin_b, cos_b = z * A_E / h, p * b / h
    up = z + E2_E / (1 - E2_E) * b * sin_b**3
    out = p - E2_E * A_E * cos_b**3
    h = np.hypot(up, out)
    s, c = up / h, out / h
    cl, sl = (x / p, y / p) if p > 1 else (p * 0 + 1, p * 0)
    return np.array([[-s * cl, -s * sl, c], [-sl, cl, p * 0], [-c * cl, -c * sl, -s]])


def site(lat_rad: float, lon_rad: float, h_m: float) -> tuple[Array, Array]:
    """Position in e of a geodetic point (Groves 2013, ch. 2) and C_le, rows east, north, up. C: fsw_nav_site."""
    sp, cp, sl, cl = np.sin(lat_rad), np.cos(lat_rad), np.sin(lon_rad), np.cos(lon_rad)
    nn = A_E / np.sqrt(1 - E2_E * sp**2)
    r_e = np.array([(nn + h_m) * cp * cl, (nn + h_m) * cp * sl, (nn * (1 - E2_E) + h_m) * sp])
    return r_e, np.array([[-sl, cl, 0.0], [-sp * cl, -sp * sl, cp], [cp * cl, cp * sl, sp]])


# ---- nominal state ------------------------------------------------------------------------------------------------------------------


def _zero3() -> Array:
    return np.zeros(3)


@dataclass
class State:
    """Nominal state and what the next step needs to know of the last one. Units as in nav.h."""

    r_e: Array  # m, IMU
    v_e: Array  # m/s, relative to the Earth
    q_be: Array
    b_a: Array = field(default_factory=_zero3)  # m/s2
    b_g: Array = field(default_factory=_zero3)  # rad/s
    s_a: Array = field(default_factory=_zero3)
    s_g: Array = field(default_factory=_zero3)
    b_n: Array = field(default_factory=_zero3)  # m, GNSS position
    b_ra: Any = 0.0  # m, altimeter
    b_baro: Any = 0.0  # m
    omega_b: Array = field(default_factory=_zero3)  # rad/s, of the last interval
    f_b: Array = field(default_factory=_zero3)  # m/s2
    dth_p: Array = field(default_factory=_zero3)  # rad, last increments, free of bias and scale factor
    dv_p: Array = field(default_factory=_zero3)  # m/s
    g_e: Array = field(default_factory=_zero3)  # m/s2, of the last step


def clean_increment(z: Array, b: Array, s: Array, dt: Any) -> Array:
    """True increment of a measured one: (z - b dt) / (1 + s), the quotient to third order: (z - b dt) (1 - s + s^2)."""
    return np.asarray((z - b * dt) * (1 - s * (1 - s)))


def rotation_vector(dth_p: Array, dth: Array) -> Array:
    """Coning: phi = dth + dth' x dth / 12 with the increment dth' of the interval before (Savage 1998, part 1, two samples)."""
    return np.asarray(dth + cross(dth_p, dth) / 12)


def velocity_increment(dth_p: Array, dv_p: Array, dth: Array, dv: Array) -> Array:
    """Rotation and sculling: u = dv + dth x dv / 2 + (dth' x dv + dv' x dth) / 12, body axes at the start of the interval
    (Savage 1998, part 2)."""
    return np.asarray(dv + cross(dth, dv) / 2 + (cross(dth_p, dv) + cross(dv_p, dth)) / 12)


def strapdown(x: State, dth_z: Array, dv_z: Array, dt: Any) -> State:
    """One step over dt seconds with measured increments in body axes, mechanised in e (Groves 2013, ch. 5; Savage 1998).

    w = (0, 0, omega_E dt), u_e = C u - w x (C u) / 2, g at the middle of the path:
    v+ = v + u_e + g dt - 2 w x (v + (u_e + g dt) / 2), r+ = r + (v + v+) dt / 2, q+ = q(-w) q q(phi), where q(-w) is taken to first
    order and the length restored by one Newton step. C: fsw_nav_strapdown."""
    dth, dv = clean_increment(dth_z, x.b_g, x.s_g, dt), clean_increment(dv_z, x.b_a, x.s_a, dt)
    w = np.array([dt * 0, dt * 0, OMEGA_E * dt])
    u_e = dcm(x.q_be) @ velocity_increment(x.dth_p, x.dv_p, dth, dv)
    u_e = u_e - cross(w, u_e) / 2
    g = gravity(x.r_e + x.v_e * dt / 2)
    v = x.v_e + u_e + g * dt - 2 * cross(w, x.v_e + (u_e + g * dt) / 2)
    q = quat_multiply(np.concatenate([[1 + dt * 0], -w / 2]), quat_multiply(x.q_be, quat_from_rotvec(rotation_vector(x.dth_p, dth))))
    q = q * (3 - q @ q) / 2
    r = x.r_e + (x.v_e + v) * dt / 2
    return replace(x, r_e=r, v_e=v, q_be=q, omega_b=dth / dt, f_b=dv / dt, dth_p=dth, dv_p=dv, g_e=g)


def inject(x: State, e: Array) -> State:
    """Reset of the nominal state by the correction e (26): sums, and q+ = q(psi) q for the attitude (Sola, with a left error).
    The Jacobian of the reset is taken for the identity: psi is below a milliradian. C: fsw_nav_inject."""
    return replace(
        x,
        r_e=x.r_e + e[R],
        v_e=x.v_e + e[V],
        q_be=quat_normalize(quat_multiply(quat_from_rotvec(e[PSI]), x.q_be)),
        b_a=x.b_a + e[B_A],
        b_g=x.b_g + e[B_G],
        s_a=x.s_a + e[S_A],
        s_g=x.s_g + e[S_G],
        b_n=x.b_n + e[B_N],
        b_ra=x.b_ra + e[B_RA],
        b_baro=x.b_baro + e[B_BARO],
    )


def difference(truth: State, estimate: State) -> Array:
    """Error state truth - estimate: the inverse of inject."""
    t, x = truth, estimate
    psi = rotvec_from_quat(quat_multiply(t.q_be, x.q_be * np.array([1, -1, -1, -1])))
    pairs = [(t.b_a, x.b_a), (t.b_g, x.b_g), (t.s_a, x.s_a), (t.s_g, x.s_g), (t.b_n, x.b_n)]
    return np.concatenate([t.r_e - x.r_e, t.v_e - x.v_e, psi, *(a - b for a, b in pairs), [t.b_ra - x.b_ra, t.b_baro - x.b_baro]])


# ---- covariance, dense ----------------------------------------------------------------------------------------------------------------


@dataclass
class Transition:
    """What a covariance step knows of the interval it bridges (fsw_nav_transition_t)."""

    dt: Any  # s
    gradient: Array  # 1/s2
    c: Array  # C_be in the middle of the interval
    dv: Array  # m/s, sum of the true increments, body
    dth: Array  # rad
    q_v: Any  # m2/s2, white noise over the interval, per axis
    q_psi: Any  # rad2


def mean_attitude(q_first: Array, q_last: Array) -> Array:
    """C_be half-way between two attitudes: of the normalised sum of their quaternions (same hemisphere)."""
    return dcm(quat_normalize(q_first + q_last))


def transition_matrix(t: Transition) -> Array:
    """Phi (26 x 26) of the error state over the interval (Groves 2013, ch. 14, discretised to second order in dt).

    With u_e = C dv, w = omega_E dt:
      psi+ = psi - w x psi - C (dt db_g + diag(dth) ds_g)
      e    = G dr dt - 2 w x dv - u_e x (psi - C (dt db_g + diag(dth) ds_g) / 2) - C (dt db_a + diag(dv) ds_a)
      dv+  = dv + e,  dr+ = dr + (dv + e / 2) dt;  all other states stay. C: fsw_nav_transition, fsw_ud_predict."""
    kind = np.result_type(t.c)
    phi = np.eye(N, dtype=kind)
    w = np.array([0, 0, OMEGA_E * t.dt])
    u_e = t.c @ t.dv
    gyro = np.zeros((3, N), dtype=kind)
    gyro[:, B_G], gyro[:, S_G] = -t.c * t.dt, -t.c * t.dth
    e = np.zeros((3, N), dtype=kind)
    e[:, R], e[:, V], e[:, PSI] = t.gradient * t.dt, -2 * skew(w), -skew(u_e)
    e[:, B_A], e[:, S_A] = -t.c * t.dt, -t.c * t.dv
    e -= skew(u_e) @ gyro / 2
    phi[R, V] += np.eye(3) * t.dt
    phi[R] += e * t.dt / 2
    phi[V] += e
    phi[PSI, PSI] -= skew(w)
    phi[PSI] += gyro
    return phi


def noise_matrix(t: Transition) -> Array:
    """Q (26 x 26): white noise of the increments, q_v I on velocity and q_psi I on attitude; what reaches position within one interval
    is left out (q_v dt^2 / 3: micrometres)."""
    q = np.zeros((N, N), dtype=np.result_type(t.c))
    q[V, V], q[PSI, PSI] = np.eye(3) * t.q_v, np.eye(3) * t.q_psi
    return q


def propagate(p: Array, phi: Array, q: Array) -> Array:
    """P+ = Phi P Phi^T + Q. What the C does on U and D of P = U D U^T (Thornton and Bierman 1977; Carpenter and D'Souza)."""
    return np.asarray(phi @ p @ phi.T + q)


def rank1(p: Array, c: Any, a: Array) -> Array:
    """P + c a a^T, c >= 0. In the C on U and D: Agee and Turner (1972), fsw_ud_rank1."""
    return np.asarray(p + c * np.outer(a, a))


def decay(p: Array, j: int, m: Any) -> Array:
    """Covariance when state j is multiplied by m (first-order Gauss-Markov process). C: fsw_ud_decay."""
    p = p.copy()
    p[j] *= m
    p[:, j] *= m
    return p


def scalar_update(p: Array, x: Array, h: Array, nu: Any, r: Any) -> tuple[Array, Array, Any]:
    """One scalar z = h x + noise of variance r. nu: innovation of the nominal state, x: correction collected so far this epoch.

    s = h P h^T + r, K = P h^T / s, x+ = x + K (nu - h x), P+ = (I - K h) P (I - K h)^T + K r K^T (Joseph's form: in exact arithmetic
    equal to Bierman 1977, sec. V.3, fsw_ud_scalar). Returns P+, x+ and the normalised innovation squared (nu - h x)^2 / s."""
    ph = p @ h
    s = h @ ph + r
    k = ph / s
    res = nu - h @ x
    a = np.eye(N, dtype=p.dtype) - np.outer(k, h)
    return a @ p @ a.T + np.outer(k, k) * r, x + k * res, res * res / s


def innovation_squared(p: Array, rows: Array, nu: Array, r: Array) -> Any:
    """Joint normalised innovation squared nu^T (H P H^T + R)^-1 nu of scalars with independent noise. C: fsw_nav_batch_test."""
    x = np.zeros(N, dtype=p.dtype)
    total = p.dtype.type(0)
    for h, n, v in zip(rows, nu, r, strict=True):  # chain rule: each scalar given those before it
        p, x, one = scalar_update(p, x, h, n, v)
        total += one
    return total


def unpack_ud(u: Array, d: Array) -> Array:
    """P = U D U^T of the C's factors: u holds the strictly upper columns of U one after the other; columns with d = 0 do not exist."""
    n = len(d)
    full = np.eye(n, dtype=np.result_type(u))
    for j in range(1, n):
        full[:j, j] = u[j * (j - 1) // 2 : j * (j + 1) // 2]
    full = full[:, d > 0]
    return np.asarray((full * d[d > 0]) @ full.T)


# ---- measurements: innovation and row, referred to the present error state ------------------------------------------------------------


@dataclass
class Past:
    """State at the time of validity of a measurement, its age tau (s) and the velocity u that the specific force gave since (m/s)."""

    r_e: Array
    v_e: Array
    q_be: Array
    omega_b: Array
    tau: Any = 0.0
    u: Array = field(default_factory=_zero3)


def present(x: State) -> Past:
    """The present state as the one a measurement without delay is compared with."""
    return Past(x.r_e, x.v_e, x.q_be, x.omega_b)


def between(a: Past, b: Past, span: Any, w: Any) -> Past:
    """State at the share w of the interval of `span` seconds from a to b: cubic Hermite polynomial in position, linear in velocity and
    rate, linear and normalised in attitude. tau and u are left to the caller. C: between() of nav_filter.c."""
    h1, h2, h3 = w * w * (3 - 2 * w), w * (1 - w) ** 2 * span, w * w * (w - 1) * span
    r = a.r_e + h1 * (b.r_e - a.r_e) + h2 * a.v_e + h3 * b.v_e
    q = quat_normalize(a.q_be + w * (b.q_be - a.q_be))
    return Past(r, a.v_e + w * (b.v_e - a.v_e), q, a.omega_b + w * (b.omega_b - a.omega_b))


def refer_to_past(tau: Any, u: Array) -> Array:
    """Error of position, velocity, attitude tau seconds ago (9 x 9) from the present one: dr' = dr - tau (dv + u x psi / 2),
    dv' = dv + u x psi, psi' = psi. The transition of those tau seconds inverted, without gradient, Earth rate and IMU errors."""
    m = np.eye(9, dtype=np.result_type(u, float))
    m[R, V], m[R, PSI], m[V, PSI] = -np.eye(3) * tau, -skew(u) * tau / 2, skew(u)
    return m


def _row(kind: Any) -> Array:
    return np.zeros(N, dtype=kind)


def gnss_position(x: State, past: Past, lever: Array, z_e: Array, n_e: Array) -> tuple[Any, Array]:
    """Component n of an antenna position (Groves 2013, ch. 14, with the error of the receiver as a state):
    nu = n . (z - r - C l - b_n); row: n on dr and b_n, (C l) x n on psi, for the past error. C: position_batch."""
    lever_e = dcm(past.q_be) @ lever
    h = _row(lever_e.dtype)
    then = np.concatenate([n_e, n_e * 0, cross(lever_e, n_e)])
    h[:9] = then @ refer_to_past(past.tau, past.u)
    h[B_N] = n_e
    return n_e @ (z_e - past.r_e - lever_e - x.b_n), h


def gnss_velocity(past: Past, lever: Array, z_e: Array, n_e: Array) -> tuple[Any, Array]:
    """Component n of an antenna velocity (Groves 2013, ch. 14): nu = n . (z - v - C (omega x l) + omega_E x (C l));
    row: n on dv, (C (omega x l)) x n on psi, n_b x l on b_g. Left out: what psi does to omega_E x (C l) and the gyro scale factor.
    C: velocity_batch."""
    c = dcm(past.q_be)
    rate_e, lever_e = c @ cross(past.omega_b, lever), c @ lever
    earth = np.array([0, 0, OMEGA_E])
    h = _row(rate_e.dtype)
    then = np.concatenate([n_e * 0, n_e, cross(rate_e, n_e)])
    h[:9] = then @ refer_to_past(past.tau, past.u)
    h[B_G] = cross(c.T @ n_e, lever)
    h[B_A], h[S_A] = past.tau * (c.T @ n_e), (c.T @ past.u) * (c.T @ n_e)  # what the accelerometer's errors did since then
    return n_e @ (z_e - past.v_e - rate_e + cross(earth, lever_e)), h


def radar_range(past: Past, lever: Array, up: Array, pad_e: Array) -> Any:
    """Slant range along -x of the body from the lever arm to the pad plane, m: (up . (r + C l - pad)) / (up . C x_b)."""
    c = dcm(past.q_be)
    return up @ (past.r_e + c @ lever - pad_e) / (up @ c[:, 0])


def radar_altimeter(x: State, past: Past, lever: Array, up: Array, pad_e: Array, z: Any) -> tuple[Any, Array]:
    """Radar altimeter: nu = z - range - b_ra; with c = up . C x_b and h = range c the row is up / c on dr,
    (C l x up) / c - (h / c^2) (C x_b x up) on psi, -tau up / c on dv, 1 on b_ra. C: radalt_batch."""
    c_be = dcm(past.q_be)
    axis, lever_e = c_be[:, 0], c_be @ lever
    c = up @ axis
    height = up @ (past.r_e + lever_e - pad_e)
    h = _row(lever_e.dtype)
    h[R], h[V] = up / c, -past.tau * up / c
    h[PSI] = cross(lever_e, up) / c - height / c**2 * cross(axis, up)
    h[B_RA] = 1
    return z - height / c - x.b_ra, h


def barometer(x: State, past: Past, up: Array, pad_e: Array, site_height: Any, z: Any) -> tuple[Any, Array]:
    """Pressure height z above the 101325 Pa level, m: nu = z - up . (r - pad) - height of the site - b_baro; row: up on dr,
    -tau up on dv, 1 on b_baro. C: baro_batch."""
    h = _row(np.result_type(past.r_e))
    h[R], h[V], h[B_BARO] = up, -past.tau * up, 1
    return z - up @ (past.r_e - pad_e) - site_height - x.b_baro, h


# ---- the filter -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Settings:
    """Parameters of the filter in SI units (from fsw_nav_params_t; sigma: 1-sigma, tau: correlation time)."""

    vrw: float  # m/s/sqrt(s)
    arw: float  # rad/sqrt(s)
    period_s: float  # IMU
    cov_period: int  # IMU samples per covariance step
    accel_gm: float  # m/s2, slow part of the bias
    gyro_gm: float  # rad/s
    bias_tau: float
    gnss_gm: float = 0.0  # m
    gnss_tau: float = 120.0
    radalt_bias: float = 0.0  # m
    radalt_tau: float = 1000.0
    baro_bias: float = 0.0  # m
    baro_tau: float = 300.0


def gauss_markov(sigma: Any, tau: Any, dt: Any) -> tuple[Any, Any]:
    """Factor m and added variance sigma^2 (1 - m^2) of a first-order Gauss-Markov state over dt; exp(-dt / tau) to first order
    (Carpenter and D'Souza). C: bias_noise() of nav_filter.c."""
    m = 1 - dt / max(tau, 10 * dt)
    return m, sigma**2 * (1 - m * m)


class Filter:
    """Strapdown, dense covariance and measurement updates in the order in which the C does them. No gate, no ring, no bridging of gaps:
    measurements belong to the present state and all of them are fused."""

    def __init__(self, x: State, p: Array, settings: Settings) -> None:
        self.x, self.p, self.settings = x, p, settings
        self._q_first, self._folded, self._folds = x.q_be, 0.0, 0
        self._clear()

    def _clear(self) -> None:
        self._dt: Any = 0.0
        self._dth, self._dv = np.zeros(3), np.zeros(3)
        self._steps = 0

    def on_imu(self, dth: Array, dv: Array, dt: Any) -> None:
        """One IMU sample; a covariance step every cov_period samples."""
        self.x = strapdown(self.x, dth, dv, dt)
        self._dth, self._dv, self._dt = self._dth + self.x.dth_p, self._dv + self.x.dv_p, self._dt + dt
        self._steps += 1
        if self._steps >= self.settings.cov_period:
            self.update_covariance()

    def transition(self) -> Transition:
        """Of everything since the last covariance step. C: fsw_nav_transition."""
        s, c = self.settings, mean_attitude(self._q_first, self.x.q_be)
        noise = s.vrw**2 * self._dt, s.arw**2 * self._dt
        return Transition(self._dt, gravity_gradient(self.x.r_e), c, self._dv, self._dth, *noise)

    def update_covariance(self) -> None:
        """Brings P up to the present; bias noise every FOLD_STEPS steps. C: fsw_nav_update_covariance."""
        if not self._dt > 0:
            return
        t = self.transition()
        self.p = propagate(self.p, transition_matrix(t), noise_matrix(t))
        self._folded, self._folds, self._q_first = self._folded + self._dt, self._folds + 1, self.x.q_be
        self._clear()
        if self._folds >= FOLD_STEPS:
            self.bias_noise(self._folded)
            self._folded, self._folds = 0.0, 0

    def bias_noise(self, dt: Any) -> None:
        """Random walk 2 sigma^2 dt / tau of the IMU biases (turn-on and slow part are one state); decay of the others."""
        s, x = self.settings, self.x
        for j in range(6):
            sigma = s.accel_gm if j < 3 else s.gyro_gm
            self.p[9 + j, 9 + j] += 2 * sigma**2 * dt / s.bias_tau
        m, q = gauss_markov(s.gnss_gm, s.gnss_tau, dt)
        if s.gnss_gm > 0:
            x = replace(x, b_n=x.b_n * m)
        for j in range(B_N.start, B_N.stop):
            self.p = decay(self.p, j, m)
            self.p[j, j] += q
        for j, sigma, tau in ((B_RA, s.radalt_bias, s.radalt_tau), (B_BARO, s.baro_bias, s.baro_tau)):
            m, q = gauss_markov(sigma, tau, dt)
            self.p = decay(self.p, j, m)
            self.p[j, j] += q
            x = replace(x, b_ra=x.b_ra * m) if j == B_RA else replace(x, b_baro=x.b_baro * m)
        self.x = x

    def fuse(self, scalars: list[tuple[Any, Array, Any]]) -> None:
        """Scalars (nu, row, variance) of one epoch one after the other, then the reset. The covariance must be of the present."""
        e = np.zeros(N, dtype=self.p.dtype)
        for nu, h, r in scalars:
            self.p, e, _ = scalar_update(self.p, e, h, nu, r)
        self.x = inject(self.x, e)
        self._q_first = quat_normalize(quat_multiply(quat_from_rotvec(e[PSI]), self._q_first))
