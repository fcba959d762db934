"""Rules of the code that flies, and of the code around it, that no compiler checks."""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "native"
LIBRARIES = ("core", "gnc", "world")
C_FILES = sorted(p for name in LIBRARIES for p in (NATIVE / name).rglob("*.[ch]"))
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h"}
FROM_OUTSIDE = {"memcpy", "memset", "memmove", "memcmp"}  # what a compiler may emit by itself, and firmware has
LINKER = {"_GLOBAL_OFFSET_TABLE_"}
AEABI = {"__aeabi_" + name for name in  # run-time ABI for the Arm architecture, sections 4.1 and 4.2
         ("l2d", "ul2d", "d2lz", "d2ulz", "ldivmod", "uldivmod", "llsl", "llsr", "lasr", "lmul", "lcmp", "ulcmp")}
ELSEWHERE = {"core": {"world.h", "boards.h"}, "gnc": {"world.h", "boards.h", "bench.h", "bundle.h"}}  # what they may not know
BANNED_C = re.compile(r"\b(malloc|calloc|realloc|free|alloca|\w*printf|puts|fopen|abort|exit|clock|clock_gettime|s?rand|time|setjmp"
                      r"|longjmp|volatile|goto)\s*[(;]|\b(goto|setjmp)\b|\blong\s+double\b|\bfloat\b\s+\w")
BANNED_NAMES = {"eval", "exec", "compile"}
BANNED_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
BANNED_ATTRIBUTES = {"recv_pyobj", "send_pyobj"}
BANNED_CALLS = {("os", "system"), ("os", "popen"), ("numpy", "fromregex")}
SOURCE = re.compile(r"ASSUMED|\(.*[A-Za-z]{3}.*\)")  # a source stands in parentheses


def relative(path):
    return path.relative_to(ROOT).as_posix()


def without_comments(text):
    """C text with comments and strings blanked, lines kept."""
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', lambda m: "\n" * m[0].count("\n"), text, flags=re.S)


def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text("utf-8"), re.M)


# ---- C sources -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", C_FILES, ids=relative)
def test_includes(path):
    for bracket, name in includes(path):
        if bracket == "<":
            assert name in FREESTANDING, name
        elif name.startswith("flightsw/"):
            assert (NATIVE / "include" / name).is_file(), name
        else:
            assert "/" not in name and (path.parent / name).is_file(), f"{name} is not beside the file"


def reached(path):
    """Names of all headers that a file includes, directly or not."""
    out, todo = set(), [path]
    while todo:
        for bracket, name in includes(todo.pop()):
            header = NATIVE / "include" / name if name.startswith("flightsw/") else path.parent / name
            if bracket == '"' and header not in out:
                out.add(header)
                todo.append(header)
    return {header.name for header in out}


@pytest.mark.parametrize("path", [p for p in C_FILES if p.parent.name in ELSEWHERE], ids=relative)
def test_flight_code_knows_no_world(path):
    assert not reached(path) & ELSEWHERE[path.parent.name]


def test_public_headers_need_only_freestanding_ones():
    for path in (NATIVE / "include" / "flightsw").glob("*.h"):
        outside = [name for bracket, name in includes(path) if bracket == "<" or not name.startswith("flightsw/")]
        assert set(outside) <= FREESTANDING, relative(path)


@pytest.mark.parametrize("path", C_FILES, ids=relative)
def test_no_banned_call(path):
    found = BANNED_C.search(without_comments(path.read_text("utf-8")))
    assert found is None, found[0]


# ---- C libraries ---------------------------------------------------------------------------------------------------------


def need(*programs):
    """Skip where a tool is missing, with the reason; in CI that is a failure."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        text = f"not installed: {', '.join(missing)} (apt: cmake ninja-build binutils gcc-arm-none-eabi)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)


def output(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    return result.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Paths of the libraries as a release build makes them."""
    need("cmake", "ninja", "nm", "objdump")
    folder = tmp_path_factory.mktemp("build")
    output("cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release")
    output("cmake", "--build", str(folder), "--target", *(f"fsw_{name}" for name in LIBRARIES))
    return {name: str(folder / f"libfsw_{name}.a") for name in LIBRARIES}


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    """The same libraries for the Cortex-M7, and the program made of them."""
    need("cmake", "ninja", "arm-none-eabi-gcc", "arm-none-eabi-nm")
    folder = tmp_path_factory.mktemp("firmware")
    output("cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), f"-DCMAKE_TOOLCHAIN_FILE={ROOT}/cmake/cortex-m7.cmake",
           "-DFSW_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Release")
    output("cmake", "--build", str(folder))
    return {name: str(folder / f"libfsw_{name}.a") for name in LIBRARIES} | {"fly_blob": str(folder / "fly_blob")}


def symbols(archive, nm="nm"):
    """(defined, undefined) names of external linkage, weak ones included."""
    rows = [line.split() for line in output(nm, "-g", archive).splitlines()]
    return {r[2] for r in rows if len(r) == 3}, {r[1] for r in rows if len(r) == 2 and r[0] in "Uwv"}


def from_outside(archives, name, nm="nm"):
    """Names that a library needs and neither it nor one below it defines."""
    allowed = {"core": ("core",), "gnc": ("core", "gnc"), "world": ("core", "world")}[name]
    defined = set().union(*(symbols(archives[other], nm)[0] for other in allowed))
    return symbols(archives[name], nm)[1] - defined - LINKER


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_writable_data(archives, name):
    """State is handed in by the caller: no section that a program could write to holds a byte."""
    sections = re.findall(r"^\s*\d+\s+(\S+)\s+([0-9a-f]{8})", output("objdump", "-h", archives[name]), re.M)
    assert sections
    writable = [s for s, size in sections if int(size, 16) and re.match(r"\.(data|bss|tdata|tbss|common)", s)]
    assert [s for s in writable if not s.startswith(".data.rel.ro")] == []  # that one is constant once it is loaded
    assert " C " not in output("nm", archives[name])


@pytest.mark.parametrize("name", LIBRARIES)
def test_symbols_from_outside(archives, name):
    assert from_outside(archives, name) <= FROM_OUTSIDE


@pytest.mark.parametrize("name", LIBRARIES)
def test_symbols_from_outside_of_firmware(firmware, name):
    """Besides the four, only arithmetic that the processor lacks, from the compiler's own library: on 64-bit integers."""
    more = from_outside(firmware, name, "arm-none-eabi-nm") - FROM_OUTSIDE
    assert more <= AEABI, more - AEABI


def test_the_whole_firmware_needs_nothing(firmware):
    assert symbols(firmware["fly_blob"], "arm-none-eabi-nm")[1] == set()


def test_the_test_of_symbols_finds_a_call(archives, tmp_path):
    """A library with one more file, which reads the clock, strongly or weakly."""
    for k, text in enumerate(("long fsw_bad(void) { return clock(); }", "long fsw_bad(void) { return clock ? clock() : 0; }")):
        source, copy = tmp_path / f"bad{k}.c", Path(shutil.copy(archives["core"], tmp_path / f"core{k}.a"))
        source.write_text(f"extern long clock(void){' __attribute__((weak))' * k};\nlong fsw_bad(void);\n{text}\n", "utf-8")
        output("cc", "-c", str(source), "-o", str(source.with_suffix(".o")))
        output("ar", "r", str(copy), str(source.with_suffix(".o")))
        assert from_outside({**archives, "core": str(copy)}, "core") - FROM_OUTSIDE == {"clock"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_instruction_that_asks_the_processor(archives, name):
    """Time stamps, random numbers, the identity of the processor, system calls: what no symbol shows."""
    text = output("objdump", "-d", "--no-show-raw-insn", archives[name])
    asks = re.compile(r"\t(rdtscp?|rdrand|rdseed|rdpmc|rdpid|cpuid|xgetbv|syscall|sysenter|int|svc|mrs)\b")
    assert len(text) > 10_000 and asks.search(text) is None
    assert asks.search("  10:\trdtsc") and asks.search("  10:\tint    $0x80")


@pytest.mark.parametrize("name", LIBRARIES)
def test_names_of_external_linkage(archives, name):
    assert [s for s in symbols(archives[name])[0] if not s.startswith(("fsw_", "nav_"))] == []


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_fused_multiply_add(archives, name):
    """a * b + c in one rounding gives other bits than in two."""
    text = output("objdump", "-d", "--no-show-raw-insn", archives[name])
    assert len(text) > 10_000
    assert re.findall(r"\t((?:vfn?m(?:add|sub)|fn?m(?:add|sub)\b|fml[as]\b|vfm[as]|vfn?m[as]\b)\w*)", text) == []


# ---- Python --------------------------------------------------------------------------------------------------------------

PYTHON_FILES = sorted([*(ROOT / "flightsw").rglob("*.py"), *(ROOT / "hil").rglob("*.py")])


def imported(tree):
    """Names of imported modules, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def dotted(node):
    """("os", "system") of os.system; () of anything else."""
    return (node.value.id, node.attr) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) else ()


def banned(tree):
    """What a source may not do: code out of data, objects out of bytes, a shell."""
    out = [name for name in imported(tree) if name.partition(".")[0] in BANNED_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in BANNED_ATTRIBUTES:
            out.append(node.attr)
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in BANNED_NAMES:
            out.append(node.func.id)
        if dotted(node.func) in BANNED_CALLS:
            out.append(".".join(dotted(node.func)))
        for key in node.keywords:
            if key.arg in ("shell", "allow_pickle") and not (isinstance(key.value, ast.Constant) and key.value.value is False):
                out.append(key.arg)
    return out


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_no_banned_construct(path):
    assert banned(ast.parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize("path", [p for p in PYTHON_FILES if p.is_relative_to(ROOT / "flightsw")
                                  and not p.is_relative_to(ROOT / "flightsw" / "cli")], ids=relative)
def test_flight_software_knows_no_bench(path):
    assert [m for m in imported(ast.parse(path.read_text("utf-8"))) if m.partition(".")[0] == "hil"] == []


@pytest.mark.parametrize("text", ["import pickle", "from yaml import load", "eval('1')", "socket.recv_pyobj()", "os.system('x')",
                                  "subprocess.run('x', shell=True)", "numpy.load(f, allow_pickle=True)"])
def test_the_search_finds(text):
    assert banned(ast.parse(text))


@pytest.mark.parametrize("text", ["x = malloc(8);", "goto end;", "float y = 1;", "t = time(0);", "printf(1);"])
def test_the_search_finds_in_c(text):
    assert BANNED_C.search(without_comments(text))


# ---- vehicles ------------------------------------------------------------------------------------------------------------


def unsourced(text):
    """Keys without a comment that names a source or ASSUMED, on their line or in the comment lines directly above their block."""
    out, above, inside, table = [], "", False, ""
    for line in text.splitlines():
        value, _, comment = line.partition("#")
        if inside:
            inside = value.strip() != "]"
        elif value.startswith("["):
            above, table = "", value.strip(" []")
        elif not value.strip():
            above = f"{above} {comment}" if comment else ""
        elif table not in ("", "vehicle"):  # names and titles
            if not SOURCE.search(comment or above):
                out.append(value.partition("=")[0].strip())
            above = "" if comment else above  # a comment above holds for the keys without one that follow
            inside = value.rstrip().endswith("[")
    return out


@pytest.mark.parametrize("path", sorted((ROOT / "bench_configs" / "vehicles").glob("*.toml")), ids=relative)
def test_every_value_of_a_vehicle_names_its_source(path):
    assert unsourced(path.read_text("utf-8")) == []


def test_a_value_without_source_is_found():
    text = ('[vehicle]\nname = "x"\n[engine]\na = 1  # ASSUMED\nb = 2\n'
            '# table (NASA TR 1)\nc = [\n 1, 2,\n]\nd = 3  # fits\n\ne = 4\n')
    assert unsourced(text) == ["b", "d", "e"]
