"""Instructions of the navigation filter, counted by callgrind: `python tests/benchmarks/nav_instructions.py`.

Each figure is the difference of two counts, so that start-up cancels. 25 states exist (GNSS and altimeter bias included). Bars:
prediction with strapdown 25 k; GNSS position and velocity (six scalars, gates, injection, correction of the past states) 48 k; one
lane 3 M per second of flight, so that three stay within 9 M. A late fix is compared with the ring of past states: there is no rewind.
Beside them what others need for the same kind of work (data set "estimation", baselines.json). Exit code 1 when a bar is not met;
without valgrind 2 in CI, else 0 with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# usage: cost N PERIOD_US COV GNSS_EVERY LATE_MS RADALT_EVERY: N IMU samples, a covariance step every COV of them, a fix every
# GNSS_EVERY (0 none, below 0 made and not fused), LATE_MS old, a range every RADALT_EVERY. The vehicle descends upright; sensors are
# perfect, so that every gate passes.
SOURCE = """
#include <stdlib.h>
#include "nav_rig.h"
static int fuse(fsw_nav_state_t *s, const fsw_nav_params_t *p, fsw_gnss_t *z, int64_t late_ns, uint32_t seq, int given)
{
  fsw_nav_state_t past = *s;
  double t = (double)late_ns * 1e-9;
  for (int i = 0; i < 3; i++) past.f.r_e[i] -= t * s->f.v_e[i];
  gnss_of(&past, z);
  z->t_valid_ns = s->f.t_ns - late_ns;
  z->seq = seq;
  return given ? fsw_nav_on_gnss(s, p, 0, z, NULL) : 1;
}
int main(int argc, char **argv)
{
  static fsw_nav_params_t p;
  static fsw_nav_state_t s;
  long a[6];
  if (argc != 7) return 2;
  for (int i = 0; i < 6; i++) a[i] = strtol(argv[i + 1], NULL, 10);
  defaults(&p);
  p.init_r_l_m[0] = 0.0; p.init_v_l_m_s[0] = 0.0; p.init_v_l_m_s[2] = -20.0; p.init_tilt_deg = 0.0;
  p.gnss_gm_m = 1.0;
  p.imu_period_ms = (double)a[1] * 1e-3;
  p.cov_period_ticks = (uint32_t)a[2];
  fsw_nav_init(&s, &p);
  double dth[3] = {0, 0, 0};
  int64_t dt_ns = a[1] * 1000;
  long missed = 0;
  for (long k = 1; k <= a[0]; k++) {
    double g[3], dv[3];
    for (int i = 0; i < 3; i++) g[i] = -s.f.g_e[i] * (double)dt_ns * 1e-9;
    fsw_q_rotate_inv(s.f.q_be, g, dv);
    missed += fsw_nav_on_imu(&s, &p, s.t_start_ns + k * dt_ns, dth, dv) != 0;
    fsw_gnss_t z;
    if (a[3] && k % abs((int)a[3]) == 0 && k * dt_ns > 400000000)
      missed += fuse(&s, &p, &z, a[4] * 1000000, (uint32_t)k, a[3] > 0) != 1;
    if (a[5] && k % a[5] == 0) {
      fsw_radalt_t r = {s.f.t_ns, range_of(&s), (uint32_t)k, 1, {0, 0, 0}};
      (void)fsw_nav_on_radalt(&s, &p, 0, &r, NULL);
    }
  }
  for (int i = 0; i < 26; i++) if (!(s.f.d[i] >= 0.0)) return 3;
  if (missed) printf("%ld samples not taken\\n", missed);
  return missed ? 4 : failures;
}
"""


def instructions(program: Path, arguments: list[int], work: Path) -> int:
    """Instructions executed. SystemExit with what it says when the program fails."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={work / 'cg.out'}", str(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=work)
    found = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or found is None:
        raise SystemExit(f"{' '.join(command)}: exit {result.returncode}\n{result.stdout}{result.stderr[-2000:]}")
    return int(found[1])


def build(work: Path) -> Path:
    """The program, linked to the libraries as the project builds them."""
    for command in (["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(work / "b"), "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release"],
                    ["cmake", "--build", str(work / "b"), "--target", "fsw_gnc", "fsw_core"]):
        subprocess.run(command, check=True, capture_output=True)
    (work / "cost.c").write_text(SOURCE, "utf-8")
    subprocess.run(["cc", "-O2", "-std=c11", "-ffp-contract=off", f"-I{ROOT / 'native/include'}", f"-I{ROOT / 'native/test'}",
                    "cost.c", f"{work / 'b'}/libfsw_gnc.a", f"{work / 'b'}/libfsw_core.a", "-lm", "-o", "cost"], check=True, cwd=work)
    return work / "cost"


def main() -> int:
    missing = [tool for tool in ("valgrind", "cmake", "ninja", "cc") if not shutil.which(tool)]
    if missing:
        print(f"not measured, not installed: {', '.join(missing)}", file=sys.stderr)
        return 2 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        program = build(work)

        def count(*arguments: int) -> int:
            return instructions(program, list(arguments), work)

        long, short = 400, 200
        per = long - short
        far = 10**6  # a covariance step that does not come within the run
        step = (count(long, 5000, 1, 0, 0, 0) - count(short, 5000, 1, 0, 0, 0)) / per
        strap = (count(long, 5000, far, 0, 0, 0) - count(short, 5000, far, 0, 0, 0)) / per
        made = (count(long, 5000, 1, -1, 0, 0) - count(short, 5000, 1, -1, 0, 0)) / per
        fused = (count(long, 5000, 1, 1, 0, 0) - count(short, 5000, 1, 1, 0, 0)) / per
        late = (count(long, 5000, 1, 1, 150, 0) - count(short, 5000, 1, 1, 150, 0)) / per
        gauge = {200: (5000, 4, 40, 4), 1000: (1000, 20, 200, 20)}
        second = {hz: count(2 * hz, us, cov, gnss, 0, radalt) - count(hz, us, cov, gnss, 0, radalt)
                  for hz, (us, cov, gnss, radalt) in gauge.items()}
    rows = [("strapdown alone, per IMU sample", strap, None, ""),
            ("predict: strapdown and covariance, 25 states", step, 25e3, "prototype, 24 states 21.7 k; KF-GINS, 21 states 186 k"),
            ("GNSS, six scalars", fused - made, 48e3, "prototype, 24 states 42.0 k"),
            ("GNSS, six scalars, 150 ms late", late - made, 1.6e6, "bar: that of a rewind over 0.3 s")]
    rows += [(f"one lane per second: IMU {hz} Hz, covariance 50 Hz, GNSS 5 Hz, altimeter 50 Hz", float(n), 3e6,
              "EKF2 11.6 M, KF-GINS 37 M, for one") for hz, n in second.items()]
    bad = 0
    for name, value, bar, others in rows:
        met = bar is None or value <= bar
        bad += not met
        print(f"{name:<76} {value:>10,.0f}" + (f"   bar {bar:>9,.0f}   {'met' if met else 'NOT MET'}" if bar else "") +
              (f"   {others}" if others else ""))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
