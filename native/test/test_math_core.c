/* Tests of exact.h, math.h, vec.h, random.h, digest.h, checksum.h and frame.h that need nothing but C, so that they run on every
 * processor. Accuracy against mpmath and other implementations: tests/test_core_math.py. Prints failures, returns 1 if any. */
#include <stdio.h>
#include <string.h>

#include "flightsw/checksum.h"
#include "flightsw/digest.h"
#include "flightsw/exact.h"
#include "flightsw/frame.h"
#include "flightsw/math.h"
#include "flightsw/random.h"
#include "flightsw/vec.h"

static int failures;

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            failures++;                                                       \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);    \
        }                                                                     \
    } while (0)

static const fsw_rng_t rng = { .seed = 42, .stream = 7 };

static uint64_t bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static double from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static bool close(double a, double b, double tolerance) { return fsw_abs(a - b) <= tolerance; }

static double uniform(int64_t i, double lo, double hi)
{
    double u[4];
    fsw_rng_uniform4(&rng, i, 1, u);
    return lo + (hi - lo) * u[0];
}

static void test_canaries(void)
{
    CHECK(fsw_contracted() == 0);
    CHECK(fsw_flushes_denormals() == 0);
}

/* ---- math ---- */

static void test_math_values(void)
{
    const uint64_t nan = 0x7ff8000000000000u;
    const double inf = from_bits(0x7ff0000000000000u), big = FSW_DOUBLE_MAX, tiny = from_bits(1), qnan = from_bits(nan);
    const double outside[] = { inf, -inf, qnan, from_bits(0xfff8000000000001u), big, -big, 1e5, -1e5 };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        double s = 0, c = 0;
        fsw_sincos(outside[i], &s, &c);
        CHECK(bits(s) == nan && bits(c) == nan);
        CHECK(bits(fsw_sin(outside[i])) == nan && bits(fsw_cos(outside[i])) == nan && bits(fsw_tan(outside[i])) == nan);
        CHECK(bits(fsw_asin(outside[i])) == nan && bits(fsw_acos(outside[i])) == nan);
    }
    CHECK(bits(fsw_sin(-0.0)) == bits(-0.0) && fsw_cos(0.0) == 1.0 && bits(fsw_tan(-0.0)) == bits(-0.0));
    CHECK(fsw_sin(tiny) == tiny);
    CHECK(close(fsw_sin(FSW_PI / 6), 0.5, 1.2e-16) && close(fsw_cos(FSW_PI / 3), 0.5, 1.2e-16) && fsw_sin(FSW_PI / 2) == 1.0);
    CHECK(fsw_sin(FSW_PI) == 0x1.1a62633145c07p-53); /* the distance of the double FSW_PI from pi */
    CHECK(180.0 * FSW_DEG == FSW_PI);

    CHECK(fsw_atan(inf) == FSW_PI / 2 && fsw_atan(-big) == -FSW_PI / 2 && bits(fsw_atan(qnan)) == nan && fsw_atan(1.0) == FSW_PI / 4);
    CHECK(bits(fsw_atan(-0.0)) == bits(-0.0) && fsw_atan(tiny) == tiny);
    CHECK(bits(fsw_atan2(0.0, 0.0)) == 0 && bits(fsw_atan2(-0.0, 1.0)) == bits(-0.0));
    CHECK(fsw_atan2(0.0, -0.0) == FSW_PI && fsw_atan2(-0.0, -1.0) == -FSW_PI);
    CHECK(fsw_atan2(1.0, 0.0) == FSW_PI / 2 && fsw_atan2(-tiny, 0.0) == -FSW_PI / 2 && fsw_atan2(inf, -5.0) == FSW_PI / 2);
    CHECK(fsw_atan2(inf, inf) == FSW_PI / 4 && fsw_atan2(-inf, -inf) == -0x1.2d97c7f3321d2p+1 && fsw_atan2(3.0, -inf) == FSW_PI);
    CHECK(bits(fsw_atan2(qnan, 1.0)) == nan && bits(fsw_atan2(1.0, qnan)) == nan);
    CHECK(fsw_atan2(big, big) == FSW_PI / 4 && fsw_atan2(tiny, tiny) == FSW_PI / 4 && fsw_atan2(tiny, big) == 0.0);
    CHECK(fsw_asin(1.0) == FSW_PI / 2 && fsw_asin(-1.0) == -FSW_PI / 2 && fsw_acos(1.0) == 0.0 && fsw_acos(-1.0) == FSW_PI);
    CHECK(bits(fsw_acos(1.0 + 0x1p-52)) == nan);

    CHECK(fsw_exp(0.0) == 1.0 && close(fsw_exp(1.0), 0x1.5bf0a8b145769p+1, 0x1p-51) && fsw_exp(-708.0) > 0x1p-1022);
    CHECK(fsw_exp(-708.1) == 0.0 && fsw_exp(-inf) == 0.0 && fsw_exp(709.79) == big && fsw_exp(inf) == big && bits(fsw_exp(qnan)) == nan);
    CHECK(fsw_exp(FSW_EXP_MAX) <= big && fsw_exp(FSW_EXP_MAX) > 0.99 * big);
    CHECK(fsw_log(1.0) == 0.0 && fsw_log(2.0) == 0x1.62e42fefa39efp-1 && close(fsw_log(tiny), -744.4400719213812, 1.2e-13));
    CHECK(close(fsw_log(big), 709.782712893384, 1.2e-13));
    CHECK(bits(fsw_log(0.0)) == nan && bits(fsw_log(-0.0)) == nan && bits(fsw_log(-1.0)) == nan && bits(fsw_log(inf)) == nan);
    CHECK(bits(fsw_log(qnan)) == nan);
    CHECK(close(fsw_pow(2.0, 10.0), 1024.0, 1e-12) && fsw_pow(1.0, 1e300) == 1.0 && fsw_pow(5.0, 0.0) == 1.0);
    CHECK(fsw_pow(0.0, 0.5) == 0.0 && fsw_pow(0.0, 0.0) == 1.0 && bits(fsw_pow(0.0, -1.0)) == nan && bits(fsw_pow(-2.0, 2.0)) == nan);
    CHECK(fsw_pow(10.0, 400.0) == big && fsw_pow(10.0, -400.0) == 0.0 && bits(fsw_pow(2.0, qnan)) == nan);

    CHECK(fsw_min(1.0, 2.0) == 1.0 && fsw_max(1.0, 2.0) == 2.0 && fsw_min(qnan, 2.0) == 2.0 && fsw_max(qnan, 2.0) == 2.0);
    CHECK(fsw_clamp(5.0, -1.0, 1.0) == 1.0 && fsw_clamp(-5.0, -1.0, 1.0) == -1.0 && fsw_clamp(0.5, -1.0, 1.0) == 0.5);
    CHECK(fsw_clamp(qnan, -1.0, 1.0) == -1.0 && fsw_clamp(inf, -1.0, 1.0) == 1.0);
    CHECK(fsw_isfinite(big) && fsw_isfinite(tiny) && !fsw_isfinite(inf) && !fsw_isfinite(-inf) && !fsw_isfinite(qnan));
    CHECK(fsw_floor_i64(-0.5) == -1 && fsw_floor_i64(2.0) == 2 && fsw_floor_i64(-2.0) == -2 && fsw_floor_i64(2.9) == 2);
    CHECK(fsw_floor_i64(0x1p63) == INT64_MAX && fsw_floor_i64(-0x1p63) == INT64_MIN && fsw_floor_i64(-inf) == INT64_MIN);
    CHECK(fsw_floor_i64(qnan) == INT64_MIN && fsw_floor_i64(inf) == INT64_MAX && fsw_floor_i64(0x1.fffffffffffffp62) == 0x7ffffffffffffc00);
}

static void test_soft_sqrt(void)
{
    const double special[] = { 0.0, -0.0, 1.0, 4.0, 0x1p-1074, 0x1p-1022, 0x1.fffffffffffffp-1023, FSW_DOUBLE_MAX,
                               from_bits(0x7ff0000000000000u) };
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) CHECK(bits(fsw_soft_sqrt(special[i])) == bits(fsw_sqrt(special[i])));
    CHECK(bits(fsw_soft_sqrt(-1.0)) == 0x7ff8000000000000u);
    for (int64_t i = 0; i < 20000; i++) {
        uint32_t w[4];
        fsw_rng_u32x4(&rng, i, 2, w);
        double x = from_bits((uint64_t)(w[0] & 0x7fffffffu) << 32 | w[1]); /* any non-negative bit pattern */
        if (fsw_isfinite(x)) CHECK(bits(fsw_soft_sqrt(x)) == bits(fsw_sqrt(x)));
    }
}

static void test_math_identities(void)
{
    for (int64_t i = 0; i < 20000; i++) {
        double x = uniform(i, -1e5, 1e5), s, c;
        fsw_sincos(x, &s, &c);
        CHECK(bits(s) == bits(fsw_sin(x)) && bits(c) == bits(fsw_cos(x)));
        CHECK(close(s * s + c * c, 1.0, 5e-16));
        double t = uniform(i, -FSW_PI, FSW_PI);
        fsw_sincos(t, &s, &c);
        CHECK(close(fsw_atan2(s, c), t, 1e-15));
        double e = uniform(i, -700.0, 700.0);
        CHECK(close(fsw_log(fsw_exp(e)), e, 3e-13));
    }
}

/* One number for all results: the same on every processor, compiler and optimisation level, or logs do not replay. */
#define GOLDEN 0x617c68efa87427fcu

static void put(fsw_digest_t *d, double x)
{
    uint8_t b[8];
    uint64_t u = bits(x);
    for (int i = 0; i < 8; i++) b[i] = (uint8_t)(u >> (8 * i));
    fsw_digest_update(d, b, 8);
}

static void test_golden(void)
{
    fsw_digest_t d;
    fsw_digest_init(&d, 0);
    for (int64_t i = 0; i < 20000; i++) {
        double u[4], g[4], s, c;
        fsw_rng_uniform4(&rng, i, 3, u);
        fsw_rng_gauss4(&rng, i, 4, g);
        fsw_sincos((u[0] - 0.5) * 2e5, &s, &c);
        put(&d, s);
        put(&d, c);
        put(&d, fsw_tan(g[0]));
        put(&d, fsw_atan(g[0] * 3.0));
        put(&d, fsw_atan2(g[1], g[2]));
        put(&d, fsw_asin(2.0 * u[1] - 1.0));
        put(&d, fsw_acos(2.0 * u[1] - 1.0));
        put(&d, fsw_exp((u[2] - 0.5) * 1400.0));
        put(&d, fsw_log(u[3]));
        put(&d, fsw_pow(u[1], g[3] * 10.0));
        double phi[3], q[4], m[9], v[3];
        fsw_v3_scale(u[0] < 0.5 ? 0.01 : 1.0, g, phi);
        fsw_q_from_rotvec(phi, q);
        fsw_q_to_dcm(q, m);
        fsw_q_from_dcm(m, q);
        fsw_q_rotate(q, u, v);
        for (int k = 0; k < 4; k++) put(&d, g[k]);
        for (int k = 0; k < 4; k++) put(&d, q[k]);
        for (int k = 0; k < 3; k++) put(&d, v[k]);
    }
    uint64_t h = fsw_digest_final(&d);
    if (h != GOLDEN) printf("golden digest is 0x%08lx%08lx\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
    CHECK(h == GOLDEN);
}

/* ---- vectors and quaternions ---- */

static double distance(const double *a, const double *b, int n)
{
    double d = 0;
    for (int i = 0; i < n; i++) d = fsw_max(d, fsw_abs(a[i] - b[i]));
    return d;
}

static void test_vec(void)
{
    double a[3] = { 1, 2, 3 }, b[3] = { -4, 5, 6 }, c[3], r[3];
    fsw_v3_cross(a, b, c);
    CHECK(c[0] == -3 && c[1] == -18 && c[2] == 13 && fsw_v3_dot(a, b) == 24);
    fsw_v3_copy(a, r);
    fsw_v3_cross(r, b, r);
    CHECK(distance(r, c, 3) == 0);
    fsw_v3_copy(b, r);
    fsw_v3_axpy(2.0, a, r);
    CHECK(r[0] == -2 && r[1] == 9 && r[2] == 12);
    fsw_v3_add(a, b, r);
    fsw_v3_sub(r, b, r);
    CHECK(distance(r, a, 3) == 0);
    fsw_v3_set(3, 0, 4, r);
    CHECK(fsw_v3_norm(r) == 5 && fsw_v3_unit(r, r) && close(fsw_v3_norm(r), 1, 3e-16));
    fsw_v3_set(0, 0, 0, r);
    CHECK(!fsw_v3_unit(r, r) && r[0] == 0);
    fsw_v3_set(0, from_bits(0x7ff8000000000000u), 0, r);
    CHECK(!fsw_v3_unit(r, r) && r[1] == 0);

    double m[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 10 }, t[9], p[9], v[3], w[3];
    fsw_m3_t(m, t);
    CHECK(t[1] == 4 && t[2] == 7 && t[3] == 2 && t[5] == 8 && t[6] == 3 && t[7] == 6 && t[8] == 10);
    fsw_m3_t(t, t);
    CHECK(distance(t, m, 9) == 0);
    fsw_m3_mulv(m, a, v);
    CHECK(v[0] == 14 && v[1] == 32 && v[2] == 53);
    fsw_m3_t(m, t);
    fsw_m3_tmulv(m, a, v);
    fsw_m3_mulv(t, a, w);
    CHECK(distance(v, w, 3) == 0);
    fsw_m3_mul(m, t, p);
    CHECK(p[0] == 14 && p[1] == 32 && p[3] == 32 && p[8] == 213);
    fsw_m3_mul(m, t, t);
    CHECK(distance(p, t, 9) == 0);
}

static void test_quaternion(void)
{
    /* convention: q_ab, B turned by +90 deg about z relative to A, takes x of B to y of A */
    double phi[3] = { 0, 0, FSW_PI / 2 }, q[4], v[3] = { 1, 0, 0 }, y[3] = { 0, 1, 0 }, r[3];
    fsw_q_from_rotvec(phi, q);
    fsw_q_rotate(q, v, r);
    CHECK(distance(r, y, 3) < 3e-16);
    double i4[4] = { 0, 1, 0, 0 }, j4[4] = { 0, 0, 1, 0 }, k4[4] = { 0, 0, 0, 1 }, o[4];
    fsw_q_mul(i4, j4, o);
    CHECK(distance(o, k4, 4) == 0);

    double zero[4] = { 0 };
    CHECK(!fsw_q_normalize(zero) && zero[0] == 1.0);

    for (int64_t i = 0; i < 5000; i++) {
        double g[4], h[4], p[4], pq[4], c[9], d[9], e[9], back[4], w[3], z[3];
        fsw_rng_gauss4(&rng, i, 10, g);
        fsw_rng_gauss4(&rng, i, 11, h);
        for (int k = 0; k < 4; k++) q[k] = g[k], p[k] = h[k];
        CHECK(fsw_q_normalize(q) && fsw_q_normalize(p));
        if (i < 4) /* half turns about the axes and the identity: each branch of Shepperd at its worst neighbour */
            for (int k = 0; k < 4; k++) q[k] = k == (int)i;
        fsw_q_mul(q, p, pq);
        fsw_q_to_dcm(q, c);
        fsw_q_to_dcm(p, d);
        fsw_m3_mul(c, d, e);
        fsw_q_to_dcm(pq, d);
        CHECK(distance(d, e, 9) < 4e-15);
        fsw_q_rotate(q, h, w);
        fsw_m3_mulv(c, h, z);
        CHECK(distance(w, z, 3) < 1e-14);
        fsw_q_rotate_inv(q, w, w);
        CHECK(distance(w, h, 3) < 1e-14);
        fsw_m3_tmulv(c, z, z);
        CHECK(distance(z, h, 3) < 1e-14);
        fsw_q_from_dcm(c, back);
        CHECK(back[0] >= 0.0);
        double s = q[0] * back[0] + q[1] * back[1] + q[2] * back[2] + q[3] * back[3] < 0 ? -1.0 : 1.0;
        for (int k = 0; k < 4; k++) back[k] *= s;
        CHECK(distance(back, q, 4) < 1e-15);
        fsw_q_conj(q, back);
        fsw_q_mul(q, back, back);
        CHECK(distance(back, (double[4]){ 1, 0, 0, 0 }, 4) < 1e-15);

        double scale = uniform(i, 0, 0.1), a; /* both sides of the switch at 0.05 rad */
        fsw_v3_scale(scale, g, w);
        a = fsw_v3_norm(w);
        fsw_q_from_rotvec(w, back);
        CHECK(close(back[0] * back[0] + fsw_v3_dot(back + 1, back + 1), 1, 6e-16));
        CHECK(close(back[0], fsw_cos(0.5 * a), 2.3e-16));
        CHECK(close(fsw_v3_norm(back + 1), fsw_sin(0.5 * a), 4e-16 * a));
    }
    fsw_v3_set(0, 0, 0, phi);
    fsw_q_from_rotvec(phi, q);
    CHECK(q[0] == 1 && q[1] == 0);
}

/* ---- random ---- */

static void test_philox(void)
{
    /* known answers of Random123 */
    static const uint32_t kat[3][10] = {
        { 0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 },
        { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd },
        { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 },
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        fsw_philox4x32(kat[i], kat[i] + 4, out);
        CHECK(memcmp(out, kat[i] + 6, sizeof out) == 0);
    }
    fsw_rng_t r = { .seed = 0x299f31d0a4093822u, .stream = 0x03707344 };
    uint32_t out[4];
    fsw_rng_u32x4(&r, (int64_t)0x85a308d3243f6a88u, 0x13198a2e, out); /* counter layout */
    CHECK(memcmp(out, kat[2] + 6, sizeof out) == 0);
}

static void test_gauss(void)
{
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0, last = 0, u1 = 0;
    const int n = 200000;
    int beyond3 = 0;
    for (int64_t i = -n / 8; i < n / 8; i++) {
        double g[4], u[4];
        fsw_rng_gauss4(&rng, i, 5, g);
        fsw_rng_uniform4(&rng, i, 5, u);
        for (int k = 0; k < 4; k++) {
            double z = g[k];
            CHECK(u[k] > 0.0 && u[k] < 1.0 && fsw_abs(z) < 6.34 && (z < 0.0) == (u[k] < 0.5));
            m1 += z, m2 += z * z, m3 += z * z * z, m4 += z * z * z * z;
            lag += z * last, last = z, u1 += u[k];
            beyond3 += fsw_abs(z) > 3.0;
        }
    }
    const double sd = 1.0 / fsw_sqrt((double)n); /* limits at 4 standard deviations */
    CHECK(fsw_abs(m1 / n) < 4 * sd && fsw_abs(m2 / n - 1) < 4 * 1.4143 * sd && fsw_abs(m3 / n) < 4 * 3.873 * sd);
    CHECK(fsw_abs(m4 / n - 3) < 4 * 9.8 * sd && fsw_abs(lag / n) < 4 * sd && fsw_abs(u1 / n - 0.5) < 4 * 0.2887 * sd);
    CHECK(beyond3 > 540 - 93 && beyond3 < 540 + 93);
}

/* ---- digest and checksums ---- */

static void test_digest(void)
{
    uint8_t data[1000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 7 + 3);
    CHECK(fsw_digest(NULL, 0, 0) == 0xEF46DB3751D8E999u);
    CHECK(fsw_digest("a", 1, 0) == 0xD24EC4F1A98C6E5Bu);
    CHECK(fsw_digest("abc", 3, 0) == 0x44BC2CF5AD770999u);
    CHECK(fsw_digest("Nobody inspects the spammish repetition", 39, 0) == 0xFBCEA83C8A378BF1u);
    for (size_t n = 0; n <= sizeof data; n += 13) {
        for (size_t step = 1; step < 80; step += 6) {
            fsw_digest_t d;
            fsw_digest_init(&d, 99);
            for (size_t at = 0; at < n; at += step) fsw_digest_update(&d, data + at, at + step < n ? step : n - at);
            CHECK(fsw_digest_final(&d) == fsw_digest(data, n, 99));
        }
    }
}

static void test_crc(void)
{
    CHECK(fsw_crc32c(0, "123456789", 9) == 0xE3069283u);
    CHECK(fsw_crc32(0, "123456789", 9) == 0xCBF43926u);
    CHECK(fsw_crc32c(0, NULL, 0) == 0 && fsw_crc32(0, NULL, 0) == 0);
    uint8_t data[32]; /* RFC 3720, B.4 */
    memset(data, 0, sizeof data);
    CHECK(fsw_crc32c(0, data, 32) == 0x8A9136AAu);
    memset(data, 0xff, sizeof data);
    CHECK(fsw_crc32c(0, data, 32) == 0x62A8AB43u);
    for (int i = 0; i < 32; i++) data[i] = (uint8_t)i;
    CHECK(fsw_crc32c(0, data, 32) == 0x46DD794Eu);
    for (size_t cut = 0; cut <= 32; cut++) {
        CHECK(fsw_crc32c(fsw_crc32c(0, data, cut), data + cut, 32 - cut) == 0x46DD794Eu);
        CHECK(fsw_crc32(fsw_crc32(0, data, cut), data + cut, 32 - cut) == fsw_crc32(0, data, 32));
    }
}

/* ---- frames ---- */

static const fsw_frame_header_t example = { .version = FSW_FRAME_VERSION, .type = 2, .src = 3, .dst = 4, .length = 5,
                                            .sequence = 0x01020304, .tick = 0xfffefdfc, .t_ns = -2 };

static void test_frame(void)
{
    static const uint8_t expected[] = { 1, 2, 3, 4, 5, 0, 0, 0, 4, 3, 2, 1, 0xfc, 0xfd, 0xfe, 0xff,
                                        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'h', 'e', 'l', 'l', 'o' };
    uint8_t f[FSW_FRAME_MAX], big[FSW_FRAME_PAYLOAD_MAX];
    fsw_frame_header_t h = example, g;
    const uint8_t *payload = NULL;
    CHECK(fsw_frame_encode(&h, (const uint8_t *)"hello", f, 32) == FSW_FRAME_ERR_SPACE);
    CHECK(fsw_frame_encode(&h, (const uint8_t *)"hello", f, 33) == 33);
    CHECK(memcmp(f, expected, sizeof expected) == 0);
    uint32_t crc = fsw_crc32c(0, expected, sizeof expected);
    for (unsigned i = 0; i < 4; i++) CHECK(f[29 + i] == (uint8_t)(crc >> (8 * i)));
    CHECK(fsw_frame_decode(f, 33, &g, &payload) == 0 && payload == f + 24);
    CHECK(g.version == 1 && g.type == 2 && g.src == 3 && g.dst == 4 && g.length == 5 && g.reserved == 0);
    CHECK(g.sequence == h.sequence && g.tick == h.tick && g.t_ns == -2);

    CHECK(fsw_frame_decode(f, 27, &g, &payload) == FSW_FRAME_ERR_SHORT && fsw_frame_decode(NULL, 0, &g, &payload) == FSW_FRAME_ERR_SHORT);
    CHECK(fsw_frame_decode(f, 32, &g, &payload) == FSW_FRAME_ERR_LENGTH);
    f[0] = 9;
    CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_VERSION);
    f[0] = 1;
    f[28] ^= 1;
    CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_CRC);
    f[28] ^= 1;
    f[6] = 1;
    crc = fsw_crc32c(0, f, 29);
    for (unsigned i = 0; i < 4; i++) f[29 + i] = (uint8_t)(crc >> (8 * i));
    CHECK(fsw_frame_decode(f, 33, &g, &payload) == FSW_FRAME_ERR_RESERVED);

    h.version = 2;
    CHECK(fsw_frame_encode(&h, big, f, sizeof f) == FSW_FRAME_ERR_VERSION);
    h = example, h.reserved = 1;
    CHECK(fsw_frame_encode(&h, big, f, sizeof f) == FSW_FRAME_ERR_RESERVED);
    h = example, h.length = FSW_FRAME_PAYLOAD_MAX + 1;
    CHECK(fsw_frame_encode(&h, big, f, sizeof f) == FSW_FRAME_ERR_LENGTH);

    /* largest frame, every single-bit error rejected; likewise each truncation */
    h.length = FSW_FRAME_PAYLOAD_MAX;
    for (size_t i = 0; i < sizeof big; i++) big[i] = (uint8_t)(i * 31);
    CHECK(fsw_frame_encode(&h, big, f, sizeof f) == FSW_FRAME_MAX);
    CHECK(fsw_frame_decode(f, FSW_FRAME_MAX, &g, &payload) == 0 && memcmp(payload, big, sizeof big) == 0);
    for (size_t bit = 0; bit < 8 * FSW_FRAME_MAX; bit++) {
        f[bit / 8] ^= (uint8_t)(1u << bit % 8);
        CHECK(fsw_frame_decode(f, FSW_FRAME_MAX, &g, &payload) < 0);
        f[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t n = 0; n < FSW_FRAME_MAX; n++) CHECK(fsw_frame_decode(f, n, &g, &payload) < 0);
    h.length = 0;
    CHECK(fsw_frame_encode(&h, NULL, f, 28) == 28 && fsw_frame_decode(f, 28, &g, &payload) == 0 && g.length == 0);
}

static void test_cobs(void)
{
    /* the paper's and Wikipedia's examples, and the block limits */
    uint8_t in[600] = { 0 }, out[610];
    CHECK(fsw_cobs_encode(in, 0, out, 1) == 1 && out[0] == 1 && fsw_cobs_encode(in, 0, out, 0) == 0);
    CHECK(fsw_cobs_encode((const uint8_t *)"\x11\x22\x00\x33", 4, out, 5) == 5 && memcmp(out, "\x03\x11\x22\x02\x33", 5) == 0);
    CHECK(fsw_cobs_encode((const uint8_t *)"\x11\x22\x00\x33", 4, out, 4) == 0);
    CHECK(fsw_cobs_encode((const uint8_t *)"\x11\x00\x00", 3, out, 9) == 4 && memcmp(out, "\x02\x11\x01\x01", 4) == 0);
    for (int z = 0; z < 2; z++) {
        for (size_t n = 0; n <= sizeof in; n++) {
            for (size_t i = 0; i < n; i++) in[i] = z && i % 300 == 254 ? 0 : (uint8_t)(1 + i % 255);
            size_t m = fsw_cobs_encode(in, n, out + 1, sizeof out - 2), size = 0;
            const uint8_t *frame = NULL;
            fsw_cobs_decoder_t d;
            CHECK(m >= n + 1 - (n > 0) && m <= n + n / 254 + 1 && !memchr(out + 1, 0, m));
            out[0] = out[m + 1] = 0;
            fsw_cobs_decoder_init(&d);
            CHECK(fsw_cobs_decoder_feed(&d, out, m + 2, &frame, &size) == m + 2);
            CHECK(frame && size == n && memcmp(frame, in, n) == 0 && d.frames == 1 && d.truncated == 0 && d.overlong == 0);
        }
    }
}

/* Feeds in pieces of the given size and returns a mask of the sequence numbers received. */
static unsigned receive(fsw_cobs_decoder_t *d, const uint8_t *bytes, size_t n, size_t piece)
{
    unsigned mask = 0;
    for (size_t at = 0; at < n; at += piece) {
        size_t end = at + piece < n ? at + piece : n, used = 0;
        for (size_t i = at; i < end; i += used) {
            fsw_frame_header_t h;
            const uint8_t *payload;
            if (fsw_frame_receive(d, bytes + i, end - i, &used, &h, &payload)) {
                CHECK(h.length == 5 && memcmp(payload, "he\0lo", 5) == 0 && h.sequence < 8);
                mask |= 1u << (h.sequence & 7u);
            }
        }
    }
    return mask;
}

static void test_stream(void)
{
    uint8_t stream[4 * FSW_FRAME_STREAM_MAX], copy[sizeof stream + 2000];
    size_t n = 0, at[5] = { 0 };
    fsw_cobs_decoder_t d;
    for (uint32_t i = 0; i < 4; i++) {
        fsw_frame_header_t h = example;
        h.sequence = i;
        int m = fsw_frame_encode_stream(&h, (const uint8_t *)"he\0lo", stream + n, sizeof stream - n);
        CHECK(m > 0 && stream[n] == 0 && stream[n + (size_t)m - 1] == 0);
        n += (size_t)m;
        at[i + 1] = n;
        CHECK(fsw_frame_encode_stream(&h, (const uint8_t *)"he\0lo", copy, (size_t)m - 1) == FSW_FRAME_ERR_SPACE);
        CHECK(fsw_frame_encode_stream(&h, (const uint8_t *)"he\0lo", copy, 1) == FSW_FRAME_ERR_SPACE);
    }
    for (size_t piece = 1; piece <= n; piece++) {
        fsw_cobs_decoder_init(&d);
        CHECK(receive(&d, stream, n, piece) == 15 && d.good == 4 && d.frames == 4);
        CHECK(d.unsynced_bytes + d.truncated + d.overlong + d.bad_short + d.bad_length + d.bad_crc + d.bad_version == 0);
    }
    /* any single-bit error on the line, delimiters included: the frame it hits is lost, no other, and nothing false is accepted */
    for (size_t bit = 0; bit < 8 * n; bit++) {
        memcpy(copy, stream, n);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        fsw_cobs_decoder_init(&d);
        unsigned mask = receive(&d, copy, n, n), hit = 0;
        while (bit / 8 >= at[hit + 1]) hit++;
        CHECK((mask | 1u << hit) == 15 && d.good >= 3);
        if (bit / 8 != at[hit] && bit / 8 != at[hit + 1] - 1) CHECK(mask == (15 & ~(1u << hit)));
    }
    /* any byte missing, any byte doubled */
    for (size_t i = 0; i < n; i++) {
        unsigned hit = 0;
        while (i >= at[hit + 1]) hit++;
        memcpy(copy, stream, i);
        memcpy(copy + i, stream + i + 1, n - i - 1);
        fsw_cobs_decoder_init(&d);
        CHECK((receive(&d, copy, n - 1, n) | 1u << hit) == 15);
        memcpy(copy, stream, i + 1);
        memcpy(copy + i + 1, stream + i, n - i);
        fsw_cobs_decoder_init(&d);
        CHECK((receive(&d, copy, n + 1, n + 1) | 1u << hit) == 15);
    }
    /* joining in the middle of a frame; no delivery without the closing delimiter */
    fsw_cobs_decoder_init(&d);
    CHECK(receive(&d, stream + 5, n - 5, n) == 14 && d.unsynced_bytes == at[1] - 6);
    fsw_cobs_decoder_init(&d);
    CHECK(receive(&d, stream, n - 1, n) == 7 && d.frames == 3);
    CHECK(receive(&d, stream + n - 1, 1, 1) == 8);
    /* 2000 bytes of line noise without a delimiter: one overlong frame, then everything */
    memset(copy, 0xA5, 2000);
    memcpy(copy + 2000, stream, n);
    fsw_cobs_decoder_init(&d);
    d.state = 1;
    CHECK(receive(&d, copy, 2000 + n, 97) == 15 && d.overlong == 1 && d.good == 4);
    /* counters saturate */
    d.good = d.frames = UINT32_MAX;
    CHECK(receive(&d, stream, n, n) == 15 && d.good == UINT32_MAX && d.frames == UINT32_MAX);
    /* noise of every kind */
    for (int64_t i = 0; i < 2000; i++) {
        uint32_t w[4];
        fsw_rng_u32x4(&rng, i, 20, w);
        for (int k = 0; k < 16; k++) copy[k] = (uint8_t)(w[k / 4] >> (8 * (k % 4)) & (i % 2 ? 0xffu : 0x03u));
        CHECK(receive(&d, copy, 16, 16) == 0);
    }
    CHECK(receive(&d, stream, n, n) == 15);
}

int main(void)
{
    test_canaries();
    test_math_values();
    test_soft_sqrt();
    test_math_identities();
    test_golden();
    test_vec();
    test_quaternion();
    test_philox();
    test_gauss();
    test_digest();
    test_crc();
    test_frame();
    test_cobs();
    test_stream();
    if (failures) printf("%d failures\n", failures);
    return failures != 0;
}
