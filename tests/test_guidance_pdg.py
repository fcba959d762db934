"""The landing law against fuel-optimal landings: it lands, close to the optimum, and never beats it."""

import math

import pytest

from hil.pdg_compare import compare, ffi, lib


@pytest.fixture(scope="module")
def flights(data_set):
    return {f.name: f for f in compare(data_set("pdg"))}


@pytest.mark.parametrize("name", ["A_1eng_nominal", "C_2eng_3km_330mps", "D_3eng_late_1500m"])
def test_lands_within_three_percent_of_the_optimum(flights, name):
    f = flights[name]
    assert f.within_gate, f
    assert f.excess <= 0.03, f
    assert f.fuel_kg >= f.optimum_kg - 0.5, "nothing beats the optimum: the plant is wrong"


@pytest.mark.parametrize("name", ["DR1_1eng_6km_340mps_kp1", "DR1_1eng_6km_340mps_kp0.3", "DR3_3eng_6km_340mps_kp1",
                                  "DR3_3eng_6km_340mps_kp0.3"])
def test_free_ignition_with_drag_lands(flights, name):
    f = flights[name]
    assert f.within_gate, f
    assert f.fuel_kg >= f.optimum_kg - 0.5
    assert f.excess <= 0.05, f


def law(h=500.0, v=80.0, n=1, need=0.0, **change):
    p = ffi.new("fsw_law_params_t *", {
        "thrust_sl_n": 814e3, "thrust_vac_n": 923e3, "isp_sl_s": 283.0, "throttle_min": 0.5, "throttle_max": 1.0,
        "throttle_plan": 0.8, "throttle_lag_s": 0.15, "thrust_scale": 1.0, "cda_m2": 18.0, "plume_factor": 0.3,
        "lift_area_m2": 39.8, "rho_pad_kg_m3": 1.225,
        "rho_height_m": 10400.0, "rho_curve_1_m": 1.25e-5, "mass_floor_kg": 24300.0, "axial_max_m_s2": 56.9, "td_speed_m_s": 0.9,
        "flare_height_m": 10.0, "flare_throttle": 0.6, "tilt_max_rad": 0.35, "tilt_low_rad": 0.087, "tilt_td_rad": 0.02,
        "reach_tan": 0.2, "lat_min_s": 3.0, "lat_lead_s": 2.0})
    inp, out = ffi.new("fsw_law_in_t *"), ffi.new("fsw_law_out_t *")
    inp.r_l, inp.v_l, inp.mass_kg, inp.n_engines, inp.need_prev = [0.0, 0.0, h], [0.0, 0.0, -v], 31e3, n, need
    for key, value in change.items():
        setattr(inp, key, value)
    status = lib.fsw_landing_law(inp, p, out)
    return status, out


@pytest.mark.parametrize("h", [-2.0, 0.0, 0.01, 1.0, 9.99, 10.01, 12.0, 60.0, 500.0, 5000.0])
@pytest.mark.parametrize("v", [-50.0, -1.0, 0.0, 0.5, 2.0, 30.0, 250.0, 600.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_always_an_answer_within_the_limits(h, v, n):
    for r in ([0.0, 0.0, h], [300.0, -200.0, h]):
        for need in (0.0, 0.7, 4.9):
            _, out = law(h, v, n, need, r_l=r)
            assert 0.5 <= out.throttle <= 1.0
            assert 0.0 <= out.throttle_need < 10.0
            assert all(math.isfinite(x) for x in (*out.a_cmd_l, *out.dir_l, out.t_go_s, out.fuel_kg))
            assert sum(x * x for x in out.dir_l) == pytest.approx(1.0)


def test_need_agrees_with_constant_deceleration_in_vacuum_without_fuel():
    """v^2 / 2h = u T/m - g when neither drag nor mass flow counts."""
    p = ffi.new("fsw_law_params_t *", {
        "thrust_sl_n": 600e3, "isp_sl_s": 1e9, "throttle_min": 0.5, "throttle_max": 1.0, "thrust_scale": 1.0,
        "rho_height_m": 8500.0, "mass_floor_kg": 1.0, "td_speed_m_s": 0.001,
        "flare_height_m": 0.0, "flare_throttle": 0.6, "axial_max_m_s2": 1e3})
    stop = ffi.new("fsw_stop_in_t *", {"h_m": 1000.0, "v_m_s": 120.0, "lat": 1.0, "mass_kg": 30e3, "n_new": 1.0})
    out = ffi.new("fsw_stop_out_t *")
    need = lib.fsw_stop_need(stop, p, 0.7, 8, out)
    assert need == pytest.approx((120.0**2 / 2000.0 + 9.80665) / 20.0, rel=2e-4)
    assert out.t_s == pytest.approx(2 * 1000.0 / 120.0, rel=1e-3)


def test_tilt_is_small_near_the_ground():
    for h, most in [(400.0, 20.1), (50.0, 5.1), (5.0, 2.5), (0.5, 1.3)]:
        _, out = law(h, 10.0, 1, 0.7, r_l=[40.0, -30.0, h], v_l=[5.0, 5.0, -10.0])
        assert math.degrees(math.acos(min(1.0, out.dir_l[2]))) < most
