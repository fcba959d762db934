/* nav_ud.c - covariance P = U D U^T of the navigation filter: time update, process noise, scalar measurements.
 *
 * U is unit upper triangular; its strictly upper part is stored by columns, column j (j elements) from index j(j-1)/2. D is
 * diagonal and stays >= 0 by construction, so nothing is ever symmetrised, clipped or repaired. A state with D_j = 0 does
 * not exist: its column is never read (see nav.h). */
#include "flightsw/math.h"
#include "flightsw/nav.h"

#define COL(j) ((j) * ((j) - 1U) / 2U)
#define NX FSW_NAV_NX
#define NW (FSW_NAV_NX + 7U) /* states, six noises, and a zero that makes the number even */

/* Two neighbours at a time: element by element the same IEEE operations on every target, half the instructions where the processor
 * has such registers. */
typedef double pair __attribute__((vector_size(16)));
typedef double pair_mem __attribute__((vector_size(16), aligned(8), may_alias));

static inline pair load2(const double *p) { return *(const pair_mem *)p; }
static inline void store2(double *p, pair x) { *(pair_mem *)p = x; }

/* P += c a a^T, c >= 0. Agee and Turner, White Sands TR 38 (1972). `a` is used up; entries above `top` must be zero. */
void fsw_ud_rank1(double *u, double *d, double c, double *a, uint32_t top)
{
  for (uint32_t j = top; c > 0.0; j--) {
    double s = a[j];
    double dj = d[j] + c * s * s;
    if (s != 0.0 && dj > 0.0) {
      double *uj = u + COL(j);
      double b = c * s / dj;
      if (d[j] > 0.0) {
        for (uint32_t i = 0; i < j; i++) {
          a[i] -= s * uj[i];
          uj[i] += b * a[i];
        }
      } else {
        double inv = 1.0 / s; /* the column did not exist: it becomes a / s and takes the whole term */
        for (uint32_t i = 0; i < j; i++) uj[i] = a[i] * inv;
      }
      c = c * d[j] / dj;
      d[j] = dj;
    }
    if (j == 0U) break;
  }
}

/* Decay of state j by m (0 < m <= 1): x_j becomes m x_j. M U D U^T M with M = diag(.. m ..) keeps U unit by scaling the row by
 * m, the column above the diagonal by 1/m and D_j by m^2. */
void fsw_ud_decay(double *u, double *d, uint32_t n, uint32_t j, double m)
{
  if (!(d[j] > 0.0) || !(m > 0.0)) return;
  double inv = 1.0 / m;
  for (uint32_t i = 0; i < j; i++) u[COL(j) + i] *= inv;
  for (uint32_t k = j + 1U; k < n; k++) u[COL(k) + j] *= m;
  d[j] *= m * m;
}

typedef struct { /* the elements of h that are not zero: a measurement sees few of the states */
  uint32_t n;
  uint32_t at[FSW_NAV_N + 1U]; /* the last is followed by the number of states */
  double h[FSW_NAV_N];
} sparse_t;

static void sparse(const double *h, uint32_t n, sparse_t *s)
{
  s->n = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (h[i] == 0.0) continue;
    s->at[s->n] = i;
    s->h[s->n++] = h[i];
  }
  s->at[s->n] = n;
}

/* How many of the elements lie before column j, given how many lie before an earlier one. */
static uint32_t elements_before(const sparse_t *s, uint32_t m, uint32_t j)
{
  while (s->at[m] < j) m++;
  return m;
}

/* f_j = (U^T h)_j for one column, above whose diagonal lie the first m elements of h. */
static double column_dot(const double *uj, double hj, const sparse_t *s, uint32_t m)
{
  double f = hj;
  uint32_t i = 0;
  for (; i + 2U < m; i += 3U) { /* rows of vectors: their elements come in threes */
    f += uj[s->at[i]] * s->h[i];
    f += uj[s->at[i + 1U]] * s->h[i + 1U];
    f += uj[s->at[i + 2U]] * s->h[i + 2U];
  }
  for (; i < m; i++) f += uj[s->at[i]] * s->h[i];
  return f;
}

void fsw_ud_project(const double *u, const double *d, uint32_t n, const double *h, double *f)
{
  sparse_t s;
  sparse(h, n, &s);
  uint32_t m = 0;
  for (uint32_t j = 0; j < n; j++) {
    m = elements_before(&s, m, j);
    f[j] = d[j] > 0.0 ? column_dot(u + COL(j), h[j], &s, m) : 0.0;
  }
}

/* Three rows at once: what they share of U is read once. Element for element the sums of fsw_ud_project. */
void fsw_ud_project3(const double *u, const double *d, uint32_t n, const double *h, double *f)
{
  uint32_t at[FSW_NAV_N + 1U];
  double g[FSW_NAV_N][3];
  uint32_t elements = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (h[i] == 0.0 && h[n + i] == 0.0 && h[2U * n + i] == 0.0) continue;
    for (uint32_t k = 0; k < 3U; k++) g[elements][k] = h[k * n + i];
    at[elements++] = i;
  }
  at[elements] = n;
  uint32_t m = 0;
  for (uint32_t j = 0; j < n; j++) {
    double s[3] = {0.0, 0.0, 0.0};
    const double *uj = u + COL(j);
    while (at[m] < j) m++;
    if (d[j] > 0.0) {
      for (uint32_t k = 0; k < 3U; k++) s[k] = h[k * n + j];
      for (uint32_t i = 0; i < m; i++) {
        double x = uj[at[i]];
        s[0] += x * g[i][0];
        s[1] += x * g[i][1];
        s[2] += x * g[i][2];
      }
    }
    for (uint32_t k = 0; k < 3U; k++) f[k * n + j] = s[k];
  }
}

double fsw_ud_inner(const double *d, uint32_t n, const double *fa, const double *fb)
{
  double s = 0.0;
  for (uint32_t j = 0; j < n; j++) s += fa[j] * d[j] * fb[j];
  return s;
}

double fsw_ud_cov(const double *u, const double *d, uint32_t n, uint32_t i, uint32_t k)
{
  if (i > k) {
    uint32_t t = i;
    i = k;
    k = t;
  }
  double s = d[k] > 0.0 ? (i == k ? d[k] : u[COL(k) + i] * d[k]) : 0.0;
  for (uint32_t j = k + 1U; j < n; j++)
    if (d[j] > 0.0) s += u[COL(j) + i] * d[j] * u[COL(j) + k];
  return s;
}

/* Column u of n elements and gain k: u + lambda k, k + v u. */
static void gain_column(double *u, double *k, uint32_t n, double lambda, double v)
{
  uint32_t i = 0;
  for (; i + 1U < n; i += 2U) {
    pair t = load2(u + i);
    pair g = load2(k + i);
    store2(u + i, t + lambda * g);
    store2(k + i, g + v * t);
  }
  if (i < n) {
    double t = u[i];
    u[i] = t + lambda * k[i];
    k[i] += v * t;
  }
}

/* Bierman (1977), section V.3: one scalar z = h x + noise of variance r > 0; x collects the correction of the epoch. */
double fsw_ud_scalar(double *u, double *d, double *x, uint32_t n, const double *h, double nu, double r)
{
  double k[FSW_NAV_N];
  sparse_t s;
  sparse(h, n, &s);
  uint32_t m = 0;
  double alpha = r;
  double res = nu;
  for (uint32_t i = 0; i < s.n; i++) res -= s.h[i] * x[s.at[i]];
  for (uint32_t j = 0; j < n; j++) k[j] = 0.0;
  for (uint32_t j = 0; j < n; j++) {
    if (!(d[j] > 0.0)) continue;
    double *uj = u + COL(j);
    m = elements_before(&s, m, j);
    double f = column_dot(uj, h[j], &s, m);
    if (f == 0.0) continue;
    double v = d[j] * f;
    double before = alpha;
    alpha += f * v;
    double lambda = -f / before;
    d[j] *= before / alpha;
    gain_column(uj, k, j, lambda, v);
    k[j] = v;
  }
  double g = res / alpha;
  for (uint32_t j = 0; j < n; j++) x[j] += k[j] * g;
  return res * g;
}

/* ---- time update ------------------------------------------------------------------------------------------------------- */

/* One column of the vehicle block, x <- A x (nav.h, error equations). */
static void apply_a(const fsw_nav_transition_t *t, double *x)
{
  double e0 = t->g_dt[0] * x[0] + t->g_dt[1] * x[1] + t->g_dt[2] * x[2] + 2.0 * t->w_z * x[4];
  double e1 = t->g_dt[1] * x[0] + t->g_dt[3] * x[1] + t->g_dt[4] * x[2] - 2.0 * t->w_z * x[3];
  double e2 = t->g_dt[2] * x[0] + t->g_dt[4] * x[1] + t->g_dt[5] * x[2];
  e0 -= t->u_e[1] * x[8] - t->u_e[2] * x[7];
  e1 -= t->u_e[2] * x[6] - t->u_e[0] * x[8];
  e2 -= t->u_e[0] * x[7] - t->u_e[1] * x[6];
  x[0] += t->dt * (x[3] + 0.5 * e0);
  x[1] += t->dt * (x[4] + 0.5 * e1);
  x[2] += t->dt * (x[5] + 0.5 * e2);
  x[3] += e0;
  x[4] += e1;
  x[5] += e2;
  double p = x[6];
  x[6] += t->w_z * x[7];
  x[7] -= t->w_z * p;
}

/* x += B b for one column of the bias block, of which only the first n elements of the IMU errors are not zero. */
static void apply_b(const fsw_nav_transition_t *t, const double *b, double *x)
{
  double ya[3];
  double yg[3];
  for (uint32_t i = 0; i < 3U; i++) {
    ya[i] = t->dt * b[i] + t->dv[i] * b[6U + i];
    yg[i] = t->dt * b[3U + i] + t->dth[i] * b[9U + i];
  }
  double eg[3];
  for (uint32_t i = 0; i < 3U; i++) {
    const double *c = t->c + 3U * i;
    eg[i] = c[0] * yg[0] + c[1] * yg[1] + c[2] * yg[2];
    x[6U + i] -= eg[i];
  }
  for (uint32_t i = 0; i < 3U; i++) {
    const double *c = t->c + 3U * i;
    uint32_t k = i < 2U ? i + 1U : 0U;
    uint32_t l = i > 0U ? i - 1U : 2U;
    double e = c[0] * ya[0] + c[1] * ya[1] + c[2] * ya[2];
    e -= 0.5 * (t->u_e[k] * eg[l] - t->u_e[l] * eg[k]); /* u_e acts through the mean tilt of the interval */
    x[i] -= 0.5 * t->dt * e;
    x[3U + i] -= e;
  }
}

/* Modified weighted Gram-Schmidt of the rows of w with weights dw (Thornton and Bierman 1977): new U and D of the vehicle. */
static void gram_schmidt(double w[NX][NW], const double *dw, double *u, double *d)
{
  double dr[NW];
  for (uint32_t j = NX; j-- > 0U;) {
    double s = 0.0;
    for (uint32_t k = 0; k < NW; k += 2U) store2(dr + k, load2(dw + k) * load2(w[j] + k));
    for (uint32_t k = 0; k < NW; k++) s += w[j][k] * dr[k];
    d[j] = s;
    double inv = s > 0.0 ? 1.0 / s : 0.0;
    for (uint32_t i = 0; i < j; i++) {
      double c = 0.0;
      for (uint32_t k = 0; k < NW; k++) c += w[i][k] * dr[k];
      c *= inv;
      u[COL(j) + i] = c;
      for (uint32_t k = 0; k < NW; k += 2U) store2(w[i] + k, load2(w[i] + k) - c * load2(w[j] + k));
    }
  }
}

void fsw_ud_predict(double *u, double *d, const fsw_nav_transition_t *t)
{
  double w[NX][NW] = {{0.0}};
  double dw[NW] = {0.0};
  for (uint32_t j = 0; j < NX; j++) {
    double x[NX] = {0.0};
    for (uint32_t i = 0; i < j; i++) x[i] = u[COL(j) + i];
    x[j] = 1.0;
    apply_a(t, x);
    for (uint32_t i = 0; i < NX; i++) w[i][j] = x[i];
    dw[j] = d[j];
  }
  for (uint32_t k = 0; k < 6U; k++) w[3U + k][NX + k] = 1.0; /* noise enters velocity and attitude */
  for (uint32_t k = 0; k < 3U; k++) {
    dw[NX + k] = t->q_v;
    dw[NX + 3U + k] = t->q_psi;
  }
  gram_schmidt(w, dw, u, d);

  for (uint32_t j = NX; j < FSW_NAV_N; j++) {
    if (!(d[j] > 0.0)) continue;
    double b[12] = {0.0};
    double *uj = u + COL(j);
    for (uint32_t i = 0; i < 12U && NX + i < j; i++) b[i] = uj[NX + i];
    if (j - NX < 12U) b[j - NX] = 1.0;
    apply_a(t, uj);
    apply_b(t, b, uj);
  }
}
