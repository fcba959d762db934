/* vec.h: 3-vectors, 3x3 matrices and quaternions, the small algebra of world and gnc.
 *
 * Vectors double[3]; matrices double[9], row-major; quaternions double[4], scalar first, Hamilton product (ijk = -1).
 * q_ab and C_ab take components in frame B to components in frame A: v_a = C_ab v_b = q_ab v_b conj(q_ab), so
 * q_ac = q_ab q_bc. Rates: q_ab_dot = 1/2 q_ab (0, omega_ab_b).
 * An output may be the same array as an input everywhere (not a shifted overlap). Everything is branch-free, apart from what is
 * said, and exact in the sense of flightsw/exact.h. Lengths are computed without scaling: components from 1e-150 to 1e150.
 * Not part of the cffi interface: all static inline. */
#ifndef FLIGHTSW_VEC_H
#define FLIGHTSW_VEC_H

#include <stdbool.h>

#include "flightsw/math.h"

/* ---- vectors ---- */

static inline void fsw_v3_set(double x, double y, double z, double out[3])
{
    out[0] = x;
    out[1] = y;
    out[2] = z;
}

static inline void fsw_v3_copy(const double a[3], double out[3]) { fsw_v3_set(a[0], a[1], a[2], out); }

static inline void fsw_v3_add(const double a[3], const double b[3], double out[3])
{
    for (int i = 0; i < 3; i++) out[i] = a[i] + b[i];
}

static inline void fsw_v3_sub(const double a[3], const double b[3], double out[3])
{
    for (int i = 0; i < 3; i++) out[i] = a[i] - b[i];
}

static inline void fsw_v3_scale(double s, const double a[3], double out[3])
{
    for (int i = 0; i < 3; i++) out[i] = s * a[i];
}

/* y += a x */
static inline void fsw_v3_axpy(double a, const double x[3], double y[3])
{
    for (int i = 0; i < 3; i++) y[i] += a * x[i];
}

static inline double fsw_v3_dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void fsw_v3_cross(const double a[3], const double b[3], double out[3])
{
    double x = a[1] * b[2] - a[2] * b[1], y = a[2] * b[0] - a[0] * b[2], z = a[0] * b[1] - a[1] * b[0];
    fsw_v3_set(x, y, z, out);
}

static inline double fsw_v3_norm(const double a[3]) { return fsw_sqrt(fsw_v3_dot(a, a)); }

/* out = a / |a|. A zero, overflowing or NaN vector has no direction: out becomes zero and the result is false. */
static inline bool fsw_v3_unit(const double a[3], double out[3])
{
    double n = fsw_v3_norm(a);
    if (!(n > 0.0 && n <= FSW_DOUBLE_MAX)) {
        fsw_v3_set(0.0, 0.0, 0.0, out);
        return false;
    }
    fsw_v3_scale(1.0 / n, a, out);
    return true;
}

/* ---- matrices ---- */

/* out = M v */
static inline void fsw_m3_mulv(const double m[9], const double v[3], double out[3])
{
    double x = fsw_v3_dot(m, v), y = fsw_v3_dot(m + 3, v), z = fsw_v3_dot(m + 6, v);
    fsw_v3_set(x, y, z, out);
}

/* out = transpose(M) v; for a rotation matrix the inverse rotation */
static inline void fsw_m3_tmulv(const double m[9], const double v[3], double out[3])
{
    double x = m[0] * v[0] + m[3] * v[1] + m[6] * v[2];
    double y = m[1] * v[0] + m[4] * v[1] + m[7] * v[2];
    double z = m[2] * v[0] + m[5] * v[1] + m[8] * v[2];
    fsw_v3_set(x, y, z, out);
}

/* out = A B */
static inline void fsw_m3_mul(const double a[9], const double b[9], double out[9])
{
    double c[9];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) c[3 * i + j] = a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j];
    }
    for (int i = 0; i < 9; i++) out[i] = c[i];
}

/* out = transpose(M) */
static inline void fsw_m3_t(const double m[9], double out[9])
{
    double a = m[1], b = m[2], c = m[5];
    out[0] = m[0];
    out[4] = m[4];
    out[8] = m[8];
    out[1] = m[3];
    out[2] = m[6];
    out[5] = m[7];
    out[3] = a;
    out[6] = b;
    out[7] = c;
}

/* ---- quaternions ---- */

/* out = p q: q_ac = q_ab q_bc */
static inline void fsw_q_mul(const double p[4], const double q[4], double out[4])
{
    double w = p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3];
    double x = p[0] * q[1] + p[1] * q[0] + p[2] * q[3] - p[3] * q[2];
    double y = p[0] * q[2] - p[1] * q[3] + p[2] * q[0] + p[3] * q[1];
    double z = p[0] * q[3] + p[1] * q[2] - p[2] * q[1] + p[3] * q[0];
    out[0] = w;
    fsw_v3_set(x, y, z, out + 1);
}

/* q_ba from q_ab */
static inline void fsw_q_conj(const double q[4], double out[4])
{
    out[0] = q[0];
    fsw_v3_set(-q[1], -q[2], -q[3], out + 1);
}

/* To unit length in place; the sign is kept. Without a direction (zero, overflow, NaN) it becomes the identity and the result is false. */
static inline bool fsw_q_normalize(double q[4])
{
    double n = fsw_sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    bool ok = n > 0.0 && n <= FSW_DOUBLE_MAX;
    if (ok) {
        double s = 1.0 / n;
        for (int i = 0; i < 4; i++) q[i] *= s;
    } else {
        q[0] = 1.0;
        fsw_v3_set(0.0, 0.0, 0.0, q + 1);
    }
    return ok;
}

/* v_a = q_ab v_b conj(q_ab), |q| = 1: v + 2 w (u x v) + 2 u x (u x v), 18 multiplications. For many vectors use the matrix. */
static inline void fsw_q_rotate(const double q[4], const double v[3], double out[3])
{
    double t[3], c[3];
    fsw_v3_cross(q + 1, v, t);
    fsw_v3_scale(2.0, t, t);
    fsw_v3_cross(q + 1, t, c);
    for (int i = 0; i < 3; i++) out[i] = v[i] + q[0] * t[i] + c[i];
}

/* v_b from v_a with q_ab */
static inline void fsw_q_rotate_inv(const double q[4], const double v[3], double out[3])
{
    double t[3], c[3];
    fsw_v3_cross(q + 1, v, t);
    fsw_v3_scale(2.0, t, t);
    fsw_v3_cross(q + 1, t, c);
    for (int i = 0; i < 3; i++) out[i] = v[i] - q[0] * t[i] + c[i];
}

/* C_ab of q_ab, |q| = 1 */
static inline void fsw_q_to_dcm(const double q[4], double c[9])
{
    double w = q[0], x = q[1], y = q[2], z = q[3];
    c[0] = 1.0 - 2.0 * (y * y + z * z);
    c[1] = 2.0 * (x * y - w * z);
    c[2] = 2.0 * (x * z + w * y);
    c[3] = 2.0 * (x * y + w * z);
    c[4] = 1.0 - 2.0 * (x * x + z * z);
    c[5] = 2.0 * (y * z - w * x);
    c[6] = 2.0 * (x * z - w * y);
    c[7] = 2.0 * (y * z + w * x);
    c[8] = 1.0 - 2.0 * (x * x + y * y);
}

/* q_ab of a rotation matrix C_ab, scalar >= 0. S. W. Shepperd, J. Guidance and Control 1 (1978): of the four possible divisors the
 * largest, at least 1/2, so that no attitude loses digits. Branches on which one that is. Normalised, which repairs a matrix that is
 * orthogonal only to first order. */
static inline void fsw_q_from_dcm(const double c[9], double q[4])
{
    double t = c[0] + c[4] + c[8], w, x, y, z;
    if (t >= c[0] && t >= c[4] && t >= c[8]) {
        w = 1.0 + t, x = c[7] - c[5], y = c[2] - c[6], z = c[3] - c[1];
    } else if (c[0] >= c[4] && c[0] >= c[8]) {
        w = c[7] - c[5], x = 1.0 + 2.0 * c[0] - t, y = c[1] + c[3], z = c[2] + c[6];
    } else if (c[4] >= c[8]) {
        w = c[2] - c[6], x = c[1] + c[3], y = 1.0 + 2.0 * c[4] - t, z = c[5] + c[7];
    } else {
        w = c[3] - c[1], x = c[2] + c[6], y = c[5] + c[7], z = 1.0 + 2.0 * c[8] - t;
    }
    double s = w < 0.0 ? -1.0 : 1.0; /* all four are the quaternion times the same factor: only sign and length are left to do */
    q[0] = s * w;
    fsw_v3_set(s * x, s * y, s * z, q + 1);
    (void)fsw_q_normalize(q);
}

/* Unit quaternion of the rotation vector phi [rad]: (cos a/2, phi/a sin a/2), a = |phi| < 1e5. Below 0.05 rad, where an integration
 * step lives, by its series to the sixth order in a, whose remainder is below 4e-18: no square root, no division, no singularity. */
static inline void fsw_q_from_rotvec(const double phi[3], double q[4])
{
    double z = fsw_v3_dot(phi, phi), s, c;
    if (z < 2.5e-3) {
        c = 1.0 - z * (1.0 / 8.0 - z * (1.0 / 384.0 - z * (1.0 / 46080.0)));
        s = 0.5 - z * (1.0 / 48.0 - z * (1.0 / 3840.0 - z * (1.0 / 645120.0)));
    } else {
        double a = fsw_sqrt(z);
        fsw_sincos(0.5 * a, &s, &c);
        s = s / a;
    }
    q[0] = c;
    fsw_v3_scale(s, phi, q + 1);
}

#endif
