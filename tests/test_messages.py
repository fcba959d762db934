"""Messages: one C definition, seen alike by C, numpy and ROS 2 readers; rules refused with the reason."""

import numpy as np
import pytest

import flightsw
from flightsw.messages import MAX_MESSAGE, builtin, fingerprint, messages_of


def test_every_builtin_message_follows_the_rules():
    for name, message in builtin().items():
        assert message.dtype.itemsize <= MAX_MESSAGE, name
        end = 0
        for field in message.dtype.names:
            sub, offset = message.dtype.fields[field][:2]
            assert offset == end, f"{name}.{field}: implicit padding"
            scalar = sub.base if sub.subdtype else sub
            assert offset % scalar.itemsize == 0, f"{name}.{field}: not naturally aligned"
            end = offset + sub.itemsize
        assert end == message.dtype.itemsize, f"{name}: implicit padding at the end"


def test_layout_is_the_compilers():
    from flightsw._native import ffi

    for name, message in builtin().items():
        assert message.size == ffi.sizeof(name)
        for field in message.dtype.names:
            assert message.dtype.fields[field][1] == ffi.offsetof(name, field)


def test_schema_names_every_field_in_order():
    imu = builtin()["fsw_imu_t"]
    assert imu.schema_name == "flightsw/msg/Imu"
    assert imu.schema.splitlines()[:3] == ["int64 t_valid_ns", "float64[3] dtheta_b", "float64[3] dv_b"]
    assert [line.split()[1] for line in imu.schema.splitlines()] == list(imu.dtype.names)


@pytest.mark.parametrize(("text", "what"), [
    ("typedef struct { uint8_t a; double b; } t_t;", "implicit padding before"),
    ("typedef struct { double b; uint8_t a; } t_t;", "implicit padding at its end"),
    ("typedef struct { double Big; } t_t;", "lower case"),
    ("typedef struct { double a[2][2]; } t_t;", "one dimension"),
    ("typedef struct { double a[80]; } t_t;", "at most 608"),
    ("typedef struct { long a; } t_t;", "long a: this type is not allowed"),
    ("typedef struct { double *a; } t_t;", "not allowed"),
    ("typedef struct { char a[8]; } t_t;", "this type is not allowed"),
    ("typedef struct { double a; }; t_t", "cannot be read as C"),
])
def test_messages_that_break_a_rule_are_refused(text, what):
    with pytest.raises(flightsw.ConfigError, match=what):
        messages_of("/* cffi: begin */" + text + "/* cffi: end */", "mine.h")


def test_all_problems_of_a_header_are_reported_together():
    with pytest.raises(flightsw.ConfigError) as info:
        messages_of("typedef struct { uint8_t a; double B; } t_t;", "mine.h")
    assert len(info.value.problems) == 2


def test_user_message_joins_the_builtin_ones(tmp_path):
    header = tmp_path / "mine.h"
    header.write_text("/* cffi: begin */\n"
                      "typedef struct { double level_m; uint32_t n; uint8_t pad0[4]; } tank_t;\n"
                      "/* cffi: end */\n")
    every = flightsw.load_messages([header])
    assert every["tank_t"].dtype == np.dtype([("level_m", "f8"), ("n", "u4"), ("pad0", "u1", (4,))])
    header.write_text("/* cffi: begin */\ntypedef struct { double x; } fsw_imu_t;\n/* cffi: end */\n")
    with pytest.raises(flightsw.ConfigError, match="already defined"):
        flightsw.load_messages([header])


def test_fingerprint_changes_with_a_field_name():
    a = messages_of("typedef struct { double a; } t_t;", "x")
    b = messages_of("typedef struct { double b; } t_t;", "x")
    assert fingerprint(a.values()) != fingerprint(b.values())
    assert fingerprint(a.values()) == fingerprint(messages_of("typedef struct { double a; } t_t;", "x").values())
