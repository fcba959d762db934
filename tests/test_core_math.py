"""The C core's arithmetic against independent implementations: mpmath, numpy, xxhash, zlib, crc32c, cobs.

What needs no other implementation is in native/test/test_math_core.c, which also runs on other processors.
"""

import itertools
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw import _core

mpmath = pytest.importorskip("mpmath")
from mpmath import mp, mpf  # noqa: E402

lib, ffi = _core.lib, _core.ffi
NATIVE = Path(__file__).parents[1] / "native"
N = 20_000

finite = st.floats(allow_nan=False, allow_infinity=False)
anything = st.floats()


def ulp_errors(function, reference, arguments):
    """Errors in units of the last place of the exact result."""
    errors = np.empty(len(arguments))
    with mp.workprec(130):
        for i, a in enumerate(arguments):
            exact = reference(*(mpf(float(v)) for v in a))
            errors[i] = abs((mpf(function(*a)) - exact) / mpf(math.ulp(float(exact))))
    return errors


def uniform(lo, hi):
    return lambda rng: [(v,) for v in rng.uniform(lo, hi, N)]


def log_uniform(lo, hi, signed=False):
    def make(rng):
        v = np.exp(rng.uniform(np.log(lo), np.log(hi), N))
        return [(x,) for x in (v * rng.choice([-1.0, 1.0], N) if signed else v)]

    return make


def near_quarter_turns(rng):
    """Doubles next to multiples of pi/2, where reduction loses all leading digits."""
    k = rng.integers(-63661, 63661, N)
    return [(np.nextafter(v, d),) for v, d in zip(k * (math.pi / 2), rng.choice([-1e9, 1e9], N), strict=True)]


def points(rng):
    return list(zip(rng.standard_normal(N) * 10.0 ** rng.uniform(-6, 6, N), rng.standard_normal(N), strict=True))


CASES = [  # name, reference, arguments, bound in ulp
    ("sin", mpmath.sin, uniform(-1e5, 1e5), 0.80),
    ("sin", mpmath.sin, uniform(-3.2, 3.2), 0.80),
    ("sin", mpmath.sin, log_uniform(1e-300, 1.0, signed=True), 0.80),
    ("sin", mpmath.sin, near_quarter_turns, 0.80),
    ("cos", mpmath.cos, uniform(-1e5, 1e5), 0.85),
    ("cos", mpmath.cos, uniform(-3.2, 3.2), 0.85),
    ("cos", mpmath.cos, near_quarter_turns, 0.85),
    ("tan", mpmath.tan, uniform(-1e5, 1e5), 2.1),
    ("tan", mpmath.tan, uniform(-1.6, 1.6), 2.1),
    ("atan", mpmath.atan, uniform(-3.0, 3.0), 0.80),
    ("atan", mpmath.atan, log_uniform(1e-300, 1e300, signed=True), 0.80),
    ("atan2", mpmath.atan2, points, 1.2),
    ("asin", mpmath.asin, uniform(-1.0, 1.0), 1.8),
    ("acos", mpmath.acos, uniform(-1.0, 1.0), 1.8),
    ("acos", mpmath.acos, lambda rng: [(1.0 - v[0],) for v in log_uniform(1e-16, 1.0)(rng)], 1.8),
    ("exp", mpmath.exp, uniform(-708.0, 709.78), 0.9),
    ("exp", mpmath.exp, uniform(-1.0, 1.0), 0.9),
    ("log", mpmath.log, log_uniform(1e-300, 1e300), 0.80),
    ("log", mpmath.log, uniform(0.5, 2.0), 0.80),
    ("log", mpmath.log, log_uniform(1e-320, 1e-308), 0.80),
]


@pytest.mark.parametrize("name, reference, arguments, bound", CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_ulp(name, reference, arguments, bound, record_property):
    rng = np.random.default_rng(1)
    errors = ulp_errors(getattr(lib, f"fsw_{name}"), reference, arguments(rng))
    record_property("max_ulp", errors.max())
    print(f"{name}: max {errors.max():.3f} ulp")
    assert errors.max() <= bound


def test_pow_error_grows_with_the_logarithm_of_the_result():
    rng = np.random.default_rng(2)
    x, y = np.exp(rng.uniform(-50, 50, N)), rng.uniform(-12, 12, N)
    bound = (1 + 1.3 * np.abs(y * np.log(x))) * 2.0**-52
    with mp.workprec(130):
        exact = [mpmath.power(mpf(float(a)), mpf(float(b))) for a, b in zip(x, y, strict=True)]
        errors = [float(abs(mpf(lib.fsw_pow(a, b)) / e - 1)) for a, b, e in zip(x, y, exact, strict=True)]
    assert np.all(errors <= bound)


def test_soft_sqrt_is_correctly_rounded():
    bits = np.random.default_rng(3).integers(0, 0x7FF0 << 48, N, dtype=np.uint64)
    x = bits.view(np.float64)
    assert [lib.fsw_soft_sqrt(v) for v in x] == list(np.sqrt(x))


@given(anything, anything)
def test_no_function_ever_returns_an_infinity_or_a_foreign_nan(x, y):
    results = [getattr(lib, f"fsw_{f}")(x) for f in ("sin", "cos", "tan", "atan", "asin", "acos", "exp", "log")]
    results += [lib.fsw_atan2(y, x), lib.fsw_pow(x, y)]
    for r in results:
        assert math.isfinite(r) or struct.pack(">d", r).hex() == "7ff8000000000000"


@given(anything, anything)
def test_atan2_agrees_with_libm_everywhere(y, x):
    ours, theirs = lib.fsw_atan2(y, x), math.atan2(y, x)
    assert ours == pytest.approx(theirs, rel=4e-16, abs=1e-323, nan_ok=True)
    assert math.isnan(ours) or math.copysign(1, ours) == math.copysign(1, theirs)


@given(st.floats(-99999.0, 99999.0))
def test_symmetries(x):
    s, c = ffi.new("double *"), ffi.new("double *")
    lib.fsw_sincos(x, s, c)
    assert (s[0], c[0]) == (lib.fsw_sin(x), lib.fsw_cos(x))
    assert lib.fsw_sin(-x) == -lib.fsw_sin(x)
    assert lib.fsw_cos(-x) == lib.fsw_cos(x)
    assert lib.fsw_atan(-x) == -lib.fsw_atan(x)


def test_canaries():
    assert lib.fsw_contracted() == 0
    assert lib.fsw_flushes_denormals() == 0


@pytest.mark.parametrize(
    "script, header",
    [("gen_math_coefficients.py", "math_coefficients.h"), ("gen_crc_tables.py", "checksum_tables.h")],
)
def test_generated_headers_are_current(script, header):
    made = subprocess.run([sys.executable, NATIVE / "tools" / script], capture_output=True, text=True, check=True).stdout
    assert made == (NATIVE / "core" / header).read_text()


# ---- random ----------------------------------------------------------------------------------------------------


def philox_reference(ctr, key):
    c, k = list(ctr), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1))
def test_draws_are_a_function_of_seed_stream_tick_channel(seed, stream, tick, channel):
    rng = ffi.new("fsw_rng_t *", {"seed": seed, "stream": stream})
    words, u, z = ffi.new("uint32_t[4]"), ffi.new("double[4]"), ffi.new("double[4]")
    lib.fsw_rng_u32x4(rng, tick, channel, words)
    lib.fsw_rng_uniform4(rng, tick, channel, u)
    lib.fsw_rng_gauss4(rng, tick, channel, z)
    t = tick % 2**64
    assert list(words) == philox_reference([t & 0xFFFFFFFF, t >> 32, channel, stream], [seed & 0xFFFFFFFF, seed >> 32])
    assert list(u) == [(w + 0.5) / 2**32 for w in words]
    for p, value in zip(u, z, strict=True):
        exact = mp.sqrt(2) * mp.erfinv(2 * mpf(p) - 1)
        assert abs(value - exact) <= 3e-7 * max(abs(exact), 1e-9)


def gaussians(n, stream=0):
    rng, out = ffi.new("fsw_rng_t *", {"seed": 7, "stream": stream}), np.empty((n, 4))
    for tick in range(n):
        lib.fsw_rng_gauss4(rng, tick, 3, ffi.cast("double *", out[tick].ctypes.data))
    return out


def test_gaussians_are_normal_and_independent():
    scipy_stats = pytest.importorskip("scipy.stats")
    a, b = gaussians(50_000), gaussians(50_000, stream=1)
    assert scipy_stats.kstest(a.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.hstack([a, b]).T) - np.eye(8)
    assert np.abs(correlation).max() < 4.5 / math.sqrt(50_000)


# ---- digest and checksums ----------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.integers(0, 2**64 - 1), st.lists(st.integers(0, 400), max_size=5))
def test_digest_is_xxh64_however_it_is_cut(data, seed, cuts):
    xxhash = pytest.importorskip("xxhash")
    expected = xxhash.xxh64_intdigest(data, seed=seed)
    assert lib.fsw_digest(data, len(data), seed) == expected
    state = ffi.new("fsw_digest_t *")
    lib.fsw_digest_init(state, seed)
    edges = [0, *sorted(min(c, len(data)) for c in cuts), len(data)]
    for a, b in itertools.pairwise(edges):
        lib.fsw_digest_update(state, data[a:b], b - a)
    assert lib.fsw_digest_final(state) == expected


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_checksums_agree_with_zlib_and_crc32c(a, b, start):
    crc32c = pytest.importorskip("crc32c")
    assert lib.fsw_crc32(start, a, len(a)) == zlib.crc32(a, start)
    assert lib.fsw_crc32c(start, a, len(a)) == crc32c.crc32c(a, start)
    assert lib.fsw_crc32c(lib.fsw_crc32c(0, a, len(a)), b, len(b)) == crc32c.crc32c(a + b)


# ---- frames ------------------------------------------------------------------------------------------------------

headers = st.fixed_dictionaries(
    {
        "version": st.just(lib.FSW_FRAME_VERSION),
        "type": st.integers(0, 255),
        "src": st.integers(0, 255),
        "dst": st.integers(0, 255),
        "sequence": st.integers(0, 2**32 - 1),
        "tick": st.integers(0, 2**32 - 1),
        "t_ns": st.integers(-(2**63), 2**63 - 1),
    }
)
# many zeros and long runs without one: what COBS is about
payloads = st.one_of(
    st.binary(max_size=lib.FSW_FRAME_PAYLOAD_MAX),
    st.lists(st.sampled_from([b"\0", b"\1", b"\xff" * 253, b"\xfe"]), max_size=20).map(lambda p: b"".join(p)[:624]),
)


def encode(header, payload, stream=False):
    h = ffi.new("fsw_frame_header_t *", {**header, "length": len(payload)})
    out = ffi.new("uint8_t[]", lib.FSW_FRAME_STREAM_MAX)
    n = (lib.fsw_frame_encode_stream if stream else lib.fsw_frame_encode)(h, payload, out, len(out))
    assert n > 0
    return bytes(ffi.buffer(out, n))


def as_tuple(h):
    return {k: getattr(h, k) for k in ("version", "type", "src", "dst", "sequence", "tick", "t_ns")}


class Receiver:
    def __init__(self):
        self.state = ffi.new("fsw_cobs_decoder_t *")
        lib.fsw_cobs_decoder_init(self.state)

    def feed(self, data):
        buffer, at, out = ffi.from_buffer("uint8_t[]", data), 0, []
        h, payload, used = ffi.new("fsw_frame_header_t *"), ffi.new("uint8_t **"), ffi.new("size_t *")
        while at < len(data):
            if lib.fsw_frame_receive(self.state, buffer + at, len(data) - at, used, h, payload):
                out.append((as_tuple(h), bytes(ffi.buffer(payload[0], h.length))))
            assert used[0] > 0
            at += used[0]
        return out


@given(headers, payloads)
def test_frame_layout_and_round_trip(header, payload):
    crc32c = pytest.importorskip("crc32c")
    frame = encode(header, payload)
    body = struct.pack("<BBBBHHIIq", header["version"], header["type"], header["src"], header["dst"], len(payload), 0,
                       header["sequence"], header["tick"], header["t_ns"]) + payload  # fmt: skip
    assert frame == body + struct.pack("<I", crc32c.crc32c(body))
    h, p = ffi.new("fsw_frame_header_t *"), ffi.new("uint8_t **")
    buffer = ffi.from_buffer("uint8_t[]", frame)
    assert lib.fsw_frame_decode(buffer, len(frame), h, p) == 0
    assert as_tuple(h) == header
    assert bytes(ffi.buffer(p[0], h.length)) == payload


@given(headers, payloads, st.data())
def test_up_to_five_bit_errors_are_always_detected(header, payload, data):
    frame = bytearray(encode(header, payload))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(frame) - 1), min_size=1, max_size=5, unique=True)):
        frame[bit // 8] ^= 1 << bit % 8
    h, p = ffi.new("fsw_frame_header_t *"), ffi.new("uint8_t **")
    assert lib.fsw_frame_decode(ffi.from_buffer("uint8_t[]", frame), len(frame), h, p) < 0


@given(st.binary(max_size=700))
def test_arbitrary_bytes_never_decode(noise):
    h, p = ffi.new("fsw_frame_header_t *"), ffi.new("uint8_t **")
    assert lib.fsw_frame_decode(ffi.from_buffer("uint8_t[]", noise), len(noise), h, p) < 0
    assert Receiver().feed(noise) == []


@given(payloads)
def test_cobs_agrees_with_the_cobs_package(data):
    cobs = pytest.importorskip("cobs.cobs")
    out = ffi.new("uint8_t[]", len(data) + len(data) // 254 + 1)
    n = lib.fsw_cobs_encode(data, len(data), out, len(out))
    assert bytes(ffi.buffer(out, n)) == cobs.encode(data)
    assert lib.fsw_cobs_encode(data, len(data), out, n - 1) == 0


@settings(max_examples=200)
@given(st.lists(st.tuples(headers, payloads), max_size=4), st.integers(1, 700))
def test_streams_are_received_whatever_the_chunks(frames, chunk):
    stream, receiver, got = b"".join(encode(h, p, stream=True) for h, p in frames), Receiver(), []
    for i in range(0, len(stream), chunk):
        got += receiver.feed(stream[i : i + chunk])
    assert got == frames
    assert receiver.state.good == receiver.state.frames == len(frames)


@settings(max_examples=200)
@given(headers, payloads, st.binary(max_size=1500), st.data())
def test_noise_costs_no_frame_after_it_and_invents_none(header, payload, noise, data):
    frame, receiver = encode(header, payload, stream=True), Receiver()
    cut = data.draw(st.integers(1, len(frame) - 1))
    broken = frame[:cut] + noise
    whole = broken.split(b"\0").count(frame[1:-1])  # it is whole where only the delimiter was cut, or the noise is what it lacks
    assert receiver.feed(frame + broken + frame) == [(header, payload)] * (2 + whole)
