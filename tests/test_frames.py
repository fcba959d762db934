"""The link frame codec against published values, other libraries, the page that describes it, algebra, and damage of every kind.

What needs only C, all damage of short frames exhaustively, is native/test/test_frame.c. `python tests/benchmarks/damaged_frames.py`
and `python tests/fuzz/run_fuzz.py` do at length what is sampled here.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from pathlib import Path

import crc32c
import numpy as np
import pytest
from benchmarks import damaged_frames
from cobs import cobs
from fuzz import frame_coverage, link_page, run_fuzz
from fuzz import frame_programs as fp
from hypothesis import given, settings
from hypothesis import strategies as st

from flightsw._native import ffi, lib

PAGE = fp.ROOT / "docs" / "link-format.md"
LONGEST = lib.FSW_FRAME_PAYLOAD_MAX
OURS = ("frames", "unsynced_bytes", "truncated", "overlong", "good",
        "bad_short", "bad_version", "bad_length", "bad_crc", "bad_reserved")

# runs without a zero around the length of a block, and zeros: what COBS is about
pieces = st.one_of(st.binary(max_size=40), st.sampled_from([b"\0", b"\0\0", b"\1" * 253, b"\xff" * 254, b"\2" * 255, b"\1" * 508]))
any_bytes = st.one_of(st.binary(max_size=700), st.lists(pieces, max_size=6).map(b"".join))
payloads = any_bytes.map(lambda data: data[:LONGEST])
NUMBERS = ("type", "src", "dst", "sequence", "tick")
headers = st.fixed_dictionaries({name: st.integers(0, 256 ** link_page.FIELDS[name] - 1) for name in NUMBERS}
                                | {"t_ns": st.integers(-(2**63), 2**63 - 1)})
frames = st.tuples(headers, payloads)


def encode(header: dict[str, int], payload: bytes, stream: bool = False) -> bytes:
    h = ffi.new("fsw_frame_header_t *", {"version": 1, "length": len(payload)} | header)
    out = ffi.new("uint8_t[]", lib.FSW_FRAME_STREAM_MAX)
    n = (lib.fsw_frame_encode_stream if stream else lib.fsw_frame_encode)(h, payload, out, len(out))
    assert n > 0
    return bytes(ffi.buffer(out, n))


class Receiver:
    """The decoder of the core; frames come out bare."""

    def __init__(self) -> None:
        self.state = ffi.new("fsw_cobs_decoder_t *")
        lib.fsw_cobs_decoder_init(self.state)

    def feed(self, data: bytes) -> list[bytes]:
        h, payload, used = ffi.new("fsw_frame_header_t *"), ffi.new("uint8_t **"), ffi.new("size_t *")
        buffer, at, out = ffi.from_buffer("uint8_t[]", data), 0, []
        while at < len(data):
            if lib.fsw_frame_receive(self.state, buffer + at, len(data) - at, used, h, payload):
                out.append(bytes(ffi.buffer(payload[0] - 24, h.length + 28)))
                values = {name: getattr(h, name) for name in link_page.FIELDS}
                assert link_page.frame(values, out[-1][24:-4]) == out[-1]
            assert 0 < used[0] <= len(data) - at
            at += used[0]
        return out

    @property
    def counters(self) -> dict[str, int]:
        return {name: getattr(self.state, ours) for name, ours in zip(link_page.COUNTERS, OURS, strict=True)}


# ---- the checksum: published values ----------------------------------------------------------------------------------

READ_10 = bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400"
                        "00000014 00000018 28000000 00000000 02000000 00000000")
VECTORS = {
    # RFC 3720, Internet Small Computer Systems Interface, B.4 "CRC Examples", checksums as numbers
    "RFC 3720 zeros": (bytes(32), 0x8A9136AA),
    "RFC 3720 ones": (b"\xff" * 32, 0x62A8AB43),
    "RFC 3720 up": (bytes(range(32)), 0x46DD794E),
    "RFC 3720 down": (bytes(reversed(range(32))), 0x113FDB5C),
    "RFC 3720 read (10)": (READ_10, 0xD9963A56),
    # G. Cook, Catalogue of parametrised CRC algorithms, CRC-32/ISCSI: check
    "catalogue": (b"123456789", 0xE3069283),
    # The Go project, hash/crc32, test table, column Castagnoli
    "Go 0": (b"", 0), "Go 1": (b"a", 0xC1D04330), "Go 2": (b"ab", 0xE2A22936), "Go 3": (b"abc", 0x364B3FB7),
    "Go 4": (b"abcd", 0x92C80A31), "Go 5": (b"abcde", 0xC450D697), "Go 6": (b"abcdef", 0x53BCEFF1),
    "Go 7": (b"abcdefg", 0xE627F441), "Go 8": (b"abcdefgh", 0x0A9421B7), "Go 9": (b"abcdefghi", 0x2DDC99FC),
    "Go 10": (b"abcdefghij", 0xE6599437),
    "Go 24": (b"size:  a.out:  bad magic", 0x572B74E2), "Go 32": (b"C is as portable as Stonehedge!!", 0xDE2E65C5),
    "Go 46": (b"If the enemy is within range, then so are you.", 0x735400A4),
}


@pytest.mark.parametrize("name", VECTORS)
def test_published_checksums(name: str) -> None:
    data, expected = VECTORS[name]
    assert lib.fsw_crc32c(0, data, len(data)) == crc32c.crc32c(data) == link_page.crc32c(data) == expected
    # its residue: data and their checksum together give the same, whatever the data
    whole = data + expected.to_bytes(4, "little")
    assert lib.fsw_crc32c(0, whole, len(whole)) == 0xB798B438 ^ 0xFFFFFFFF


@settings(deadline=None)
@given(any_bytes, any_bytes)
def test_checksum_of_any_bytes(a: bytes, b: bytes) -> None:
    first = lib.fsw_crc32c(0, a, len(a))
    assert first == crc32c.crc32c(a)
    assert lib.fsw_crc32c(first, b, len(b)) == crc32c.crc32c(a + b)


# ---- the checksum: what it cannot miss -------------------------------------------------------------------------------


def columns(size: int = 652) -> np.ndarray:
    """What each wrong bit of a frame of this size does to (checksum computed XOR checksum stored), by the code itself.

    Bits in the order of the line. The checksum is affine, test_checksum_is_affine, so patterns of wrong bits add up.
    """
    out = np.empty(8 * size, np.uint32)
    body = size - 4
    nothing = lib.fsw_crc32c(0, bytes(body), body)
    for bit in range(8 * body):
        data = bytearray(body)
        data[bit // 8] = 1 << bit % 8
        out[bit] = lib.fsw_crc32c(0, bytes(data), body) ^ nothing
    out[8 * body :] = np.uint32(1) << np.arange(32, dtype=np.uint32)
    return out


@settings(deadline=None)
@given(st.integers(0, 648).flatmap(lambda n: st.tuples(st.binary(min_size=n, max_size=n), st.binary(min_size=n, max_size=n))))
def test_checksum_is_affine(pair: tuple[bytes, bytes]) -> None:
    a, b = pair
    n = len(a)
    both = bytes(x ^ y for x, y in zip(a, b, strict=True))
    assert lib.fsw_crc32c(0, both, n) == lib.fsw_crc32c(0, a, n) ^ lib.fsw_crc32c(0, b, n) ^ lib.fsw_crc32c(0, bytes(n), n)


def test_up_to_five_wrong_bits_are_always_seen() -> None:
    """In the largest frame, so in each: a wrong bit in a shorter one has the column of the same place counted from the end."""
    c = columns()
    for size in (28, 29, 300):
        assert np.array_equal(columns(size), c[-8 * size :])
    ones = np.unpackbits(c.view(np.uint8).reshape(-1, 4), axis=1).sum(axis=1)
    assert (ones % 2 == 1).all()                        # so the sum of an odd number of columns has an odd number of ones: not zero
    pairs = np.concatenate([c[i] ^ c[i + 1 :] for i in range(len(c))])
    assert len(pairs) == math.comb(5216, 2) and pairs.all()         # 2 wrong bits
    pairs.sort()
    assert (pairs[1:] != pairs[:-1]).all()              # 4: no two pairs have the same sum


def test_bursts_are_always_seen() -> None:
    """32 neighbouring columns are linearly independent, so no burst of up to 32 bits is zero: everywhere in the largest frame."""
    c = columns()
    window = np.lib.stride_tricks.sliding_window_view(c, 32).copy()
    for bit in range(32):                               # Gauss, all windows at once
        has = (window[:, bit:] >> np.uint32(bit)) & 1
        assert has.any(axis=1).all()
        pivot = bit + has.argmax(axis=1)
        rows = np.arange(len(window))
        window[rows, pivot], window[:, bit] = window[:, bit].copy(), window[rows, pivot].copy()
        window[:, bit + 1 :] ^= window[:, bit, None] * ((window[:, bit + 1 :] >> np.uint32(bit)) & 1)


# ---- COBS ------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(any_bytes)
def test_cobs_encoding_agrees_with_the_cobs_package_and_the_page(data: bytes) -> None:
    out = ffi.new("uint8_t[]", len(data) + len(data) // 254 + 1)
    n = lib.fsw_cobs_encode(data, len(data), out, len(out))
    assert bytes(ffi.buffer(out, n)) == cobs.encode(data) == link_page.cobs_encode(data)
    assert lib.fsw_cobs_encode(data, len(data), out, n - 1) == 0


def decoded(line: bytes) -> bytes | str:
    """What the core makes of bytes between two delimiters."""
    d, out, size = ffi.new("fsw_cobs_decoder_t *"), ffi.new("uint8_t **"), ffi.new("size_t *")
    lib.fsw_cobs_decoder_init(d)
    whole = b"\0" + line + b"\0"
    assert lib.fsw_cobs_decoder_feed(d, whole, len(whole), out, size) == len(whole)
    assert d.frames + d.truncated + d.overlong == 1
    return bytes(ffi.buffer(out[0], size[0])) if d.frames else "truncated" if d.truncated else "overlong"


@settings(deadline=None)
@given(st.one_of(any_bytes.map(cobs.encode), any_bytes).map(lambda line: line.replace(b"\0", b"\3") or b"\1"))
def test_cobs_decoding_agrees_with_the_cobs_package(line: bytes) -> None:
    """Of any bytes without a zero, well-formed or not."""
    try:
        expected: bytes | str = cobs.decode(line)
    except cobs.DecodeError:
        expected = "truncated"
    found = decoded(line)
    assert found == expected or (found == "overlong" and len(line) > 653)


# ---- the page --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(headers, payloads)
def test_frames_are_those_of_the_page(header: dict[str, int], payload: bytes) -> None:
    bare = encode(header, payload)
    assert bare == link_page.frame(header, payload)
    assert encode(header, payload, stream=True) == link_page.stream(bare)
    assert link_page.verdict(bare) == "good"


damage = st.tuples(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 5, 40]),
                   st.sampled_from([b"", b"\0", b"\1", b"\xff", b"\2\2\0"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(frames.map(lambda f: encode(*f, stream=True)), any_bytes, any_bytes.map(link_page.stream)), max_size=4),
       st.lists(damage, max_size=4), st.integers(1, 900))
def test_receiver_is_that_of_the_page(parts: list[bytes], hits: list[tuple[int, int, bytes]], piece: int) -> None:
    """Frames, noise and damage to both: the same frames and the same counters, however the bytes arrive."""
    line = b"".join(parts)
    for at, size, new in hits:
        at %= len(line) + 1
        line = line[:at] + new + line[at + size :]
    ours, theirs = Receiver(), link_page.Receiver()
    got = [frame for i in range(0, len(line), piece) for frame in ours.feed(line[i : i + piece])]
    assert got == theirs.feed(line)
    assert ours.counters == theirs.counters


@settings(deadline=None)
@given(headers, payloads, st.integers(0, 2**16 - 1), st.integers(0, 255), st.integers(-3, 3))
def test_verdicts_are_those_of_the_page(header: dict[str, int], payload: bytes, reserved: int, version: int, more: int) -> None:
    """With a right checksum over wrong fields."""
    wrong = {"reserved": reserved, "version": version % 3, "length": (len(payload) + more) % 65536}
    bare = link_page.frame(header | wrong, payload)
    receiver = Receiver()
    receiver.feed(link_page.stream(bare))
    assert receiver.counters[link_page.verdict(bare)] == 1


def test_examples_of_the_page() -> None:
    block = re.search(r"<!-- frames -->\n```text\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert block
    examples = block[1].strip().split("\n\n")
    assert len(examples) >= 3
    for example in examples:
        said, bare, line = example.splitlines()
        numbers = dict(re.findall(r"(\w+) (-?[0-9A-F]+)(?:,|$)", said))
        header = {name: int(numbers[word], 16) for name, word in (("type", "type"), ("src", "source"), ("dst", "destination"),
                                                                  ("sequence", "sequence"), ("tick", "tick"))}
        payload = bytes.fromhex(said.split("payload ")[1].replace("empty", ""))
        header["t_ns"] = int(numbers["time"])
        frame = encode(header, payload)
        assert bytes.fromhex(bare.removeprefix("bare ")) == frame == link_page.frame(header, payload)
        assert bytes.fromhex(line.removeprefix("line ")) == link_page.stream(frame)


def test_numbers_of_the_page() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    rates = fp.garbage_rates(fp.probabilities({}))
    said = {"frames": "deliveries per byte", "passed": "per byte pass version", "accepted": "per byte pass all but the checksum"}
    for name, what in said.items():
        assert f"{rates[name]:.1e}".replace("e-0", "e-") + f" {what}" in text
    per_byte = rates["accepted"] * 2**-32
    assert f"{per_byte:.1e} frames per byte" in text
    assert f"one in {1 / (per_byte * 300_000 * 31557600):.0e} years".replace("e+", "e") in text
    assert f"at most {6 * 2**-32:.1e} per damaged frame".replace("e-0", "e-") in text
    for name in ("FSW_FRAME_MAX", "FSW_FRAME_STREAM_MAX", "FSW_FRAME_PAYLOAD_MAX"):
        assert f" {getattr(lib, name)} " in text


# ---- synchronisation -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(frames, min_size=2, max_size=5), st.data())
def test_damage_costs_the_frames_it_touches_and_no_other(sent: list[tuple[dict[str, int], bytes]], data: st.DataObject) -> None:
    """Bytes from one place to another replaced by any others: each frame outside arrives, in order, and nothing false."""
    lines, bare = [encode(*f, stream=True) for f in sent], [encode(*f) for f in sent]
    whole = b"".join(lines)
    edges = [0, *np.cumsum([len(line) for line in lines]).tolist()]
    begin = data.draw(st.one_of(st.integers(0, len(whole)), st.sampled_from(edges)), "begin")
    end = data.draw(st.one_of(st.integers(begin, len(whole)), st.integers(begin, min(begin + 3, len(whole)))), "end")
    new = data.draw(st.one_of(st.binary(max_size=900), st.lists(st.sampled_from([0, 1, 2, 255]), max_size=40).map(bytes)), "new")
    got = Receiver().feed(whole[:begin] + new + whole[end:])
    before = [f for f, z in zip(bare, edges[1:], strict=True) if z <= begin]
    behind = [f for f, a in zip(bare, edges[:-1], strict=True) if a >= end]
    between = got[len(before) : len(got) - len(behind)]
    assert got == [*before, *between, *behind] and len(got) >= len(before) + len(behind)
    assert all(frame in bare for frame in between)     # whole after all: a delimiter was hit, or new bytes are the old ones


# ---- at length, sampled ----------------------------------------------------------------------------------------------


def need(*programs: str) -> None:
    """Skip where a program is missing, with the reason; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        text = f"not installed: {', '.join(missing)} (Debian: gcc clang-19 libclang-rt-19-dev llvm-19 valgrind)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("cc")
    return tmp_path_factory.mktemp("frames")


@pytest.fixture(scope="module")
def damager(folder: Path) -> Path:
    return fp.build_damager(folder)


def close(found: int, expected: float) -> bool:
    """Within 5 standard deviations of a count."""
    return abs(found - expected) <= 5 * math.sqrt(expected)


@pytest.mark.parametrize("medium", ["bare", "stream"])
def test_half_a_million_damaged_frames(damager: Path, medium: str) -> None:
    found = fp.run(damager, medium, 7, 500_000)
    assert found["damaged"] == 500_000 and close(found["bursts"], 250_000)
    assert found["accepted"] == found["lost"] == 0
    assert found["only_crc"] > 200_000
    if medium == "bare":
        assert found["uncovered"] == 0
    else:  # the share that the page gives
        text = " ".join(PAGE.read_text("utf-8").split())
        share = re.search(r"only the checksum is left: ([0-9.]+) per damaged frame, which makes ([0-9.e-]+)\.", text)
        assert share and abs(found["uncovered"] / 500_000 - float(share[1])) < 0.005
        assert math.isclose(float(share[1]) * 2**-32, float(share[2]), rel_tol=0.03)


def test_garbage_does_what_arithmetic_says(damager: Path) -> None:
    found = fp.run(damager, "garbage", 3, 100_000_000)
    assert found["good"] == 0
    rates = fp.garbage_rates(fp.probabilities({}))
    for name in ("frames", "short", "version"):
        assert close(found[name], rates[name] * found["bytes"]), name


@pytest.mark.parametrize("bits", [4, 12])
def test_a_shortened_checksum_lets_through_what_arithmetic_says(folder: Path, bits: int) -> None:
    """The same decoder with only some bits of the checksum looked at: so few frames pass 32 that none would be seen."""
    program = fp.build_damager(folder, bits)
    header = fp.run(program, "header", 5, 600_000)
    assert header["only_crc"] == 600_000 and close(header["accepted"], 600_000 * 2.0**-bits)
    stream = fp.run(program, "stream", 5, 300_000)
    assert close(stream["uncovered_accepted"], stream["uncovered"] * 2.0**-bits)
    if bits == 4:  # noise that looks like frames
        rates = fp.garbage_rates(fp.probabilities(fp.FRAME_LIKE))
        noise = fp.run(program, "garbage", 5, 100_000_000, *fp.shape_words(fp.FRAME_LIKE))
        passed = noise["good"] + noise["crc"] + noise["reserved"]
        assert close(passed, rates["passed"] * noise["bytes"])
        assert close(noise["good"], rates["accepted"] * 2.0**-bits * noise["bytes"])


@pytest.mark.parametrize(("pattern", "most"), [("large", 16), ("pairs", 60)])
def test_instructions_per_byte(damager: Path, folder: Path, pattern: str, most: float) -> None:
    """Work is proportional to the bytes: a bound for long frames and for what costs most."""
    need("valgrind")
    assert damaged_frames.instructions_per_byte(damager, pattern, folder) < most


def test_the_command_prints_its_result(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    need("cc")
    monkeypatch.setattr(damaged_frames, "PATTERNS", {})
    assert damaged_frames.main(["--frames", "20000", "--garbage", "1e6", "--jobs", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert re.match(r"bare: 20000 damaged frames .*, 0 wrong ones accepted, 0 intact ones lost", out[0])
    assert out[-1].startswith("result: ok, twice 2e+04 frames")


def test_c_tests_cover_every_line_branch_and_condition(tmp_path: Path) -> None:
    need(*frame_coverage.TOOLS)
    found, text = frame_coverage.measure(tmp_path)
    assert set(found) == set(frame_coverage.SOURCES)
    assert all(covered == count for kinds in found.values() for covered, count in kinds.values()), text
    assert found["frame.c"]["mcdc"][1] >= 8


def test_fuzzing_for_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    need("clang-19")
    assert run_fuzz.main(["--seconds", "2", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.startswith("result: ok, ")
