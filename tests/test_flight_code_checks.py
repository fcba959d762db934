"""What flight code may not use is refused when it is loaded, each with a sentence, and what it may use is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flightsw import (
    ConfigError,
    Graph,
    NodeSpec,
    TaskIO,
    TaskSpec,
    compile_node,
    load_messages,
    load_plugin,
    python_task,
)
from flightsw._native import include_dir
from flightsw.cli import run_cli
from flightsw.flight_code import doubts, problems_of
from flightsw.flight_code.library import NOT_ELF, check_library
from flightsw.log import Log
from hil import Bench
from hil.load import python_tasks

ROOT = Path(__file__).resolve().parents[1]
TEETH = Path(__file__).parent / "teeth"
DROP = Path(__file__).parent / "drop"
RULE = "not allowed in flight code, which must depend on nothing but its inputs"
MESSAGES = load_messages([])

# ---- C libraries --------------------------------------------------------------------------------------------------------


def library(folder: Path, step: str, outside: str = "", flags: tuple[str, ...] = (), name: str = "libown.so") -> Path:
    """A user's library whose step has this body; `out` is a barometer message, `x` the range."""
    source = folder / "own.c"
    source.write_text(f'#define _GNU_SOURCE\n#include <stdlib.h>\n#include <string.h>\n#include <math.h>\n#include <time.h>\n'
                      f'#include "flightsw/math.h"\n#include "flightsw/random.h"\n#include "teeth.h"\n{outside}\n'
                      "static int32_t step(fsw_io_t *io) {\n  fsw_baro_t *out = io->out[0];\n"
                      f"  double x = ((const fsw_radalt_t *)io->in[0])->range_m;\n  {step}\n"
                      "  (void)x; (void)out;\n  return 0;\n}\n"
                      'TEETH_TASK("own.task", step)\n', "utf-8")
    subprocess.run(["cc", "-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", *flags, f"-I{include_dir()}", f"-I{TEETH}",
                    "-o", str(folder / name), str(source)], check=True)
    return folder / name


def said(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as info:
        load_plugin(path, [])
    return [str(p) for p in info.value.problems]


@pytest.mark.parametrize(("step", "name", "hint"), [
    ("struct timespec t; clock_gettime(CLOCK_REALTIME, &t); out->p_pa = t.tv_nsec;", "clock_gettime", "; use io->t_ns"),
    ("out->p_pa = (double)time(NULL);", "time", "; use io->t_ns"),
    ("out->p_pa = rand();", "rand", "; use fsw_rng_* of flightsw/random.h"),
    ("out->p_pa = sin(x);", "sin", "; use fsw_sin, fsw_exp, ... of flightsw/math.h"),
    ("out->p_pa = pow(x, 1.5);", "pow", "; use fsw_sin, fsw_exp, ... of flightsw/math.h"),
    ("out->p_pa = (double)expf((float)x);", "expf", "; use fsw_sin, fsw_exp, ... of flightsw/math.h"),
    ("char *volatile p = malloc(9); out->p_pa = *p; ", "malloc", "; use fixed sizes and the state struct"),
    ("out->p_pa = getenv(\"HOME\") != NULL;", "getenv", ""),
    ("if (x > 1) abort();", "abort", ""),
    ("extern int fsw_blob_check(void *, long); out->p_pa = fsw_blob_check(NULL, 0);", "fsw_blob_check", ""),
    ("extern double own_helper(double); out->p_pa = own_helper(x);", "own_helper", "")])
def test_a_call_is_refused(tmp_path: Path, step: str, name: str, hint: str) -> None:
    path = library(tmp_path, step)
    found = said(path)
    assert len(found) == 1 and found[0].startswith(f"{path}: calls {name}: {RULE}{hint}")


def test_every_call_is_named(tmp_path: Path) -> None:
    found = said(library(tmp_path, "out->p_pa = rand() + sin(x) + (double)time(NULL);"))
    assert [f.split(": ")[1] for f in found] == ["calls rand", "calls sin", "calls time"]


@pytest.mark.parametrize("flags", [("-O0",), ("-O2", "-fno-builtin"), ("-O3", "-fstack-protector-all", "-D_FORTIFY_SOURCE=2"),
                                   ("-O2", "-Wl,-z,now", "-s")], ids=" ".join)
def test_what_flight_code_may_call(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """The core's mathematics and random numbers, memory functions, functions of libm that are exact; constant tables."""
    path = library(tmp_path, """
      double draws[4], table[64], copy[64];
      fsw_rng_t rng = {.seed = io->seed, .stream = io->stream};
      fsw_rng_gauss4(&rng, io->tick, 3, draws);
      memset(table, 0, sizeof table);
      for (int k = 0; k < 64; k++) table[k] = knots[k % 4] * x;
      memmove(copy, table, sizeof copy);
      memcpy(table, copy, (size_t)(io->tick % 8) * 8);
      out->p_pa = fsw_sin(x) + fsw_sqrt(x) + floor(x) + draws[1] + table[5] + (memcmp(table, copy, 64) == 0) + *names[1];
    """, 'static const double knots[] = {1, 2, 3, 4};\nstatic const char *const names[] = {"a", "b"};', flags)
    task = load_plugin(path, [])["own.task"]
    assert task.exact and doubts(task) == ()
    spec = NodeSpec("n", [TaskSpec("t", "own.task", 1)], 1_000_000, frozenset({"radalt"}))
    node = compile_node(spec, {task.name: task}, MESSAGES, {})
    graph = Graph([node], [], MESSAGES, 5)
    radalt = np.zeros((), MESSAGES["fsw_radalt_t"].dtype)
    radalt["range_m"] = 2.5
    graph.nodes["n"].input("radalt", radalt)
    graph.run(1)
    assert graph.nodes["n"].topic("tooth")["p_pa"] != 0.0


def test_variables_are_refused(tmp_path: Path) -> None:
    path = library(tmp_path, "static int n; static double last = 3; out->p_pa = ++n + last; last = x;")
    found = said(path)
    assert [f.split(": ")[1].split(".")[0] for f in found] == ["keeps the variable last", "keeps the variable n"]
    assert all(f.endswith(f"{RULE}; keep what must last in the state struct") for f in found)
    stripped = library(tmp_path, "static double last[9] = {3}; static double n[5]; last[io->tick % 9] = x; n[io->tick % 5] = x; "
                                 "out->p_pa = last[0] + n[0];", flags=("-s",), name="libstripped.so")
    assert [f.split(": ")[1].split()[-1] for f in said(stripped)] == [".data", ".bss"]
    thread = library(tmp_path, "static _Thread_local int n; out->p_pa = ++n;", name="libthread.so")
    assert any("keeps the variable n" in f for f in said(thread))


def test_a_name_of_the_core_is_refused(tmp_path: Path) -> None:
    found = said(library(tmp_path, "out->p_pa = fsw_sin(x);", "double fsw_cos(double x) { return x; }"))
    assert len(found) == 1 and "defines fsw_cos: a name of the core" in found[0]


def test_a_library_of_another_format_is_not_checked_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "own.dylib"
    other.write_bytes(b"\xcf\xfa\xed\xfe" + bytes(100))
    assert check_library(other) is None
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_plugin(other, [])
    monkeypatch.setattr("flightsw.tasks.check_library", lambda path: None)
    task = load_plugin(library(tmp_path, "out->p_pa = x;"), [])["own.task"]
    assert doubts(task) == (f"libown.so: {NOT_ELF}",)


def test_a_damaged_library_is_refused(tmp_path: Path) -> None:
    whole = library(tmp_path, "out->p_pa = rand();").read_bytes()
    path = tmp_path / "cut.so"
    for size in [4, 5, 16, 20, 52, 63, 64, 65, *range(100, len(whole), 997)]:
        path.write_bytes(whole[:size])
        assert check_library(path), size


def test_exact_false_loads_it_and_says_why(tmp_path: Path) -> None:
    task = load_plugin(library(tmp_path, "out->p_pa = rand();"), [], exact=False)["own.task"]
    assert not task.exact and doubts(task) == ("libown.so calls rand",)
    clean = load_plugin(library(tmp_path, "out->p_pa = x;", name="libclean.so"), [], exact=False)["own.task"]
    assert doubts(clean) == ("libclean.so: it is declared with exact=False",)


# ---- Python tasks -------------------------------------------------------------------------------------------------------

HEAD = """
import datetime, functools, heapq, itertools, math, operator, os, random, secrets, sys, threading, time, uuid
import time as clock
from dataclasses import dataclass
from datetime import datetime as dt
from os import environ, urandom
from time import time as now
import numpy as np
from numpy.random import default_rng
from flightsw import TaskIO, exactmath, python_task

TABLE, ROWS, MAP, ARRAY, WORDS, COUNT = [1.0, 2.0], [[1], [2]], {"a": [1]}, np.ones((3, 3)), frozenset(("a", "b")), 0
RNG, NUMBERS, QUEUE = np.random.default_rng(), itertools.count(), []

@dataclass
class Limits:
    low: float = 0.0

class Filter:
    kept = 0
    def __init__(self):
        self.x = 0.0
    def step(self, u):
        self.x += u
        return self.x

LIMITS, FILTER = Limits(1.0), Filter()

def reads_clock():
    return clock.perf_counter()

def twice_removed():
    return reads_clock() + 1

def appends(target):
    target.append(1)

def remembers(x, seen=[]):
    seen.append(x)
    return len(seen)

@functools.lru_cache
def cached(x):
    return x + random.random()

@python_task("own.law", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"})
def law(io: TaskIO) -> None:
    x = 1.0
"""


def problems(folder: Path, body: str) -> list[str]:
    """What is said about a task whose last lines are these; each as "line K text", K counted from the body's first line."""
    path = folder / "own.py"
    path.write_text(HEAD + "".join(f"    {line}\n" for line in body.split("\n")), "utf-8")
    try:
        tasks = python_tasks(path)
    except ConfigError as exc:
        assert all(p.file == str(path) and p.key.startswith("line ") and RULE in p.text for p in exc.problems)
        return [str(p) for p in exc.problems]
    assert [problems_of(t) for t in tasks] == [[]]
    return []


REFUSED = [
    ("x = now()", "uses now (time.time)"),
    ("x = clock.monotonic()", "uses clock.monotonic (time.monotonic)"),
    ("x = time.time_ns()", "uses time.time_ns"),
    ("f = time.time", "uses time.time"),
    ("t = time", "uses time"),
    ("from time import monotonic\nx = monotonic()", "uses monotonic (time.monotonic)"),
    ("import time as other\nx = other.time()", "uses other.time (time.time)"),
    ("x = datetime.datetime.now()", "uses datetime.datetime.now"),
    ("x = dt.now()", "uses dt.now"),
    ("x = random.random()", "uses random.random"),
    ("x = np.random.rand()", "uses np.random.rand (numpy.random.rand)"),
    ("n = np\nx = n.random.normal()", "uses n.random.normal"),
    ("x = default_rng().normal()", "uses default_rng"),
    ("x = RNG.normal()", "uses RNG.normal"),
    ("x = getattr(np, 'random').rand()", "uses getattr(np, 'random')"),
    ("x = os.urandom(1)", "uses os.urandom"),
    ("x = urandom(1)", "uses urandom"),
    ("x = uuid.uuid4().int", "uses uuid.uuid4"),
    ("x = secrets.randbits(3)", "uses secrets.randbits"),
    ("x = os.environ['A']", "uses os.environ"),
    ("x = environ.get('A')", "uses environ.get"),
    ("x = sys.argv", "uses sys.argv"),
    ("x = os.getpid()", "uses os.getpid"),
    ("x = id(io)", "uses id"),
    ("x = sorted([io], key=id)", "uses id"),
    ("x = hash('a')", "uses hash"),
    ("x = 'a'.__hash__()", "uses .__hash__"),
    ("x = ARRAY.ctypes.data", "uses .ctypes"),
    ("globals()['COUNT'] = 1", "uses globals"),
    ("x = locals()", "uses locals"),
    ("x = vars(io)", "uses vars"),
    ("x = eval('1')", "uses eval"),
    ("x = __import__('time').time()", "uses __import__"),
    ("x = open('f').read()", "uses open"),
    ("x = input()", "uses input"),
    ("x = __file__", "uses __file__"),
    ("t = threading.Thread(target=print)", "uses threading.Thread"),
    ("x = np.empty(3)", "uses np.empty"),
    ("x = np.ndarray(3)", "uses np.ndarray"),
    ("x = np.loadtxt('f')", "uses np.loadtxt"),
    ("f = lambda: now()", "uses now"),
    ("def inner():\n    return now()\nx = inner()", "uses now"),
    ("x = [now() for _ in range(3)]", "uses now"),
    ("x = f'{now()}'", "uses now"),
    ("for w in {'a', 'b'}:\n    x += len(w)", "loops over the set {'a', 'b'}"),
    ("for w in WORDS:\n    x += 1", "loops over the set WORDS"),
    ("s = set(TABLE)\nx = [v for v in s]", "loops over the set s"),
    ("x = list(set(TABLE))", "orders the set set(TABLE)"),
    ("x = sum(set(TABLE) | {3.0})", "orders the set"),
    ("s = set(TABLE)\nx = s.pop()", "takes any element of the set s"),
    ("x = ','.join(WORDS)", "orders the set WORDS"),
    ("a, b = WORDS", "unpacks the set WORDS"),
    ("x = [*WORDS]", "unpacks the set WORDS"),
    ("global COUNT\nCOUNT += 1", "writes the variable COUNT of its module"),
    ("TABLE.append(x)", "changes TABLE, which lasts longer than the step"),
    ("TABLE[0] = x", "changes TABLE[0]"),
    ("del TABLE[0]", "changes TABLE[0]"),
    ("ROWS[0].append(1)", "changes ROWS[0]"),
    ("t = TABLE\nt[0] = x", "changes t[0]"),
    ("t = TABLE\nt += [1]", "changes t,"),
    ("for row in ROWS:\n    row.append(1)", "changes row"),
    ("MAP['b'] = 1", "changes MAP['b']"),
    ("MAP.get('a').append(1)", "changes MAP.get('a')"),
    ("for v in MAP.values():\n    v.append(1)", "changes v"),
    ("ARRAY[0] += 1", "changes ARRAY[0]"),
    ("row = ARRAY[0]\nrow += 1", "changes row"),
    ("np.add(x, x, out=ARRAY)", "changes ARRAY"),
    ("np.copyto(ARRAY, 1)", "changes ARRAY"),
    ("heapq.heappush(QUEUE, x)", "changes QUEUE"),
    ("x = next(NUMBERS)", "changes NUMBERS"),
    ("LIMITS.low = x", "changes LIMITS.low"),
    ("setattr(LIMITS, 'low', x)", "changes LIMITS"),
    ("Filter.kept = 1", "changes Filter.kept"),
    ("law.n = 1", "changes law.n"),
    ("math.last = 1", "changes math.last"),
    ("x, TABLE[0] = 1, 2", "changes TABLE[0]"),
    ("x = reads_clock()", "in reads_clock() uses clock.perf_counter"),
    ("x = twice_removed()", "in reads_clock() uses clock.perf_counter"),
    ("x = list(map(lambda y: reads_clock(), [1]))", "in reads_clock() uses"),
    ("f = functools.partial(reads_clock)", "in reads_clock() uses"),
    ("x = cached(1)", "in cached() uses random.random"),
    ("appends(TABLE)", "in appends() changes target"),
    ("appends(target=TABLE)", "in appends() changes target"),
    ("x = remembers(1)", "in remembers() changes seen"),
    ("x = FILTER.step(x)", "in step() changes self.x"),
]


@pytest.mark.parametrize(("body", "what"), REFUSED)
def test_a_python_task_is_refused(tmp_path: Path, body: str, what: str) -> None:
    found = problems(tmp_path, body)
    assert len(found) == 1 and f'task "own.law" {what}' in found[0], found
    if not what.startswith("in "):
        first = len(HEAD.split("\n"))
        line = int(found[0].split(": line ")[1].split(":")[0])
        assert first <= line < first + len(body.split("\n"))


ACCEPTED = [
    "id, time, hash = 1, io.t_ns, 2\nx = id + time + hash",
    "acc = []\nacc.append(x)\nacc[0] = 2.0",
    "t = list(TABLE)\nt.append(1.0)",
    "for v in TABLE:\n    x += v",
    "y = TABLE[0]\ny += 1.0",
    "a = np.array(TABLE)\na[0] = 1.0\na += ARRAY[0, :2]",
    "a = ARRAY @ ARRAY\na[0] = 0",
    "f = Filter()\nx = f.step(x)",
    "m = Limits(2.0)\nm.low = LIMITS.low",
    "appends([])",
    "x = sorted(WORDS)[0]",
    "x = len({1, 2}) + max({1, 2})",
    "x = 'a' in WORDS",
    "x = sorted(len(w) for w in WORDS)[0]",
    "s = {len(w) for w in WORDS}",
    "x = sys.float_info.max + sys.maxsize",
    "x = datetime.timedelta(seconds=1).total_seconds()",
    "x = math.sin(x) + np.exp(x) + exactmath.sin(x)",
    "x = io.gauss(0)[0] + io.uniform(1)[0]",
    "def inner():\n    nonlocal x\n    x += 1.0\ninner()",
    "x = isinstance(x, np.ndarray)",
    "x: 'os.PathLike' = 1.0",
    "print(x)",
    "io.writes['cmd']['throttle'] = x",
    "state = io.state\nx = state is None",
    "x = functools.reduce(operator.add, TABLE)",
    "x = next(iter(TABLE))",
    "x = [time for time in TABLE]",
    "x = (lambda now: now)(1.0)",
    "ROWS[0][0]",
    "x = MAP.get('a', [0])[0]",
    "match x:\n    case float(now):\n        x = now",
    "with np.errstate(all='ignore'):\n    x = x / 2",
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_a_python_task_is_accepted(tmp_path: Path, body: str) -> None:
    assert problems(tmp_path, body) == []


def test_all_problems_are_told_with_what_to_use(tmp_path: Path) -> None:
    found = problems(tmp_path, "x = now() + random.random()\nTABLE.append(x)\nx = os.getpid()")
    assert [f.rsplit("; ", 1)[1] for f in found] == [
        "use io.t_ns", "use io.gauss or io.uniform", "keep what must last in the state struct",
        "read a topic: what enters over a link is recorded"]


def test_a_function_of_another_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_helper_module.py").write_text("import time\n\n\ndef stamp():\n    return time.time()\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "uses.py"
    path.write_text("import own_helper_module\nfrom flightsw import python_task\n\n\n"
                    "@python_task('own.far', reads={}, writes={'cmd': 'fsw_engine_cmd_t'})\ndef far(io):\n"
                    "    own_helper_module.stamp()\n", "utf-8")
    with pytest.raises(ConfigError, match=r'own_helper_module.py: line 5: task "own.far" in stamp\(\) uses time.time'):
        python_tasks(path)
    sys.modules.pop("own_helper_module", None)


def test_a_graph_refuses_it_as_well() -> None:
    @python_task("own.clock", reads={}, writes={"cmd": "fsw_engine_cmd_t"})
    def bad(io: TaskIO) -> None:
        import time

        io.writes["cmd"]["throttle"] = time.time()

    node = compile_node(NodeSpec("n", [TaskSpec("t", "own.clock", 1)], 1_000_000), {bad.name: bad}, MESSAGES, {})
    with pytest.raises(ConfigError, match=r'test_flight_code_checks.py: line \d+: task "own.clock" uses time.time'):
        Graph([node], [], MESSAGES)


def test_a_closure_is_resolved_too() -> None:
    def make(seen: list[int]) -> object:
        @python_task("own.closure", reads={}, writes={"cmd": "fsw_engine_cmd_t"})
        def bad(io: TaskIO) -> None:
            seen.append(io.tick)

        return bad

    found = problems_of(make([]))  # type: ignore[arg-type]
    assert len(found) == 1 and "changes seen" in found[0].text


def test_a_task_without_source_says_that_it_was_not_checked() -> None:
    scope: dict[str, object] = {"python_task": python_task}
    exec("@python_task('own.typed', reads={}, writes={'cmd': 'fsw_engine_cmd_t'})\ndef typed(io):\n    pass\n", scope)
    assert doubts(scope["typed"]) == ("its source is not at hand and was not checked",)  # type: ignore[arg-type]


# ---- a bench ------------------------------------------------------------------------------------------------------------

PROTOTYPE = """
import time

from flightsw import python_task


@python_task("own.law", reads={"radalt": "fsw_radalt_t"}, writes={"cmd": "fsw_engine_cmd_t"}MORE)
def law(io):
    io.writes["cmd"]["throttle"] = 0.4 + 1e-9 * time.perf_counter()
"""


def drop_with(folder: Path, task: str, plugin: str = "") -> Path:
    (folder / "own.py").write_text(task, "utf-8")
    path = folder / "own.toml"
    path.write_text(f'extends = "{(DROP / "bench.toml").as_posix()}"\n[bench]\nduration_s = 0.2\nexpect = "lost"\n'
                    f'tasks = ["{(DROP / "tasks.py").as_posix()}", "own.py"]\nplugins = [{plugin}]\n'
                    '[[node]]\nname = "fcc"\n[[node.task]]\nname = "law"\ntype = "own.law"\n', "utf-8")
    return path


def test_a_bench_with_them_is_refused_with_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = library(tmp_path, "out->p_pa = rand();")
    bench = drop_with(tmp_path, PROTOTYPE.replace("MORE", ""), f'{{ library = "{path.as_posix()}" }}')
    for command in (["run", str(bench), "--out", str(tmp_path / "runs")], ["schedule", str(bench)]):
        assert run_cli(command) == 2
        err = capsys.readouterr().err
        assert "libown.so: calls rand: not allowed" in err and 'own.py: line 9: task "own.law" uses time.perf_counter' in err
        assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_exact_false_flies_and_the_log_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = drop_with(tmp_path, PROTOTYPE.replace("MORE", ", exact=False"))
    assert run_cli(["run", str(bench), "--out", str(tmp_path / "runs"), "--no-report"]) in (0, 1)
    why = "not exact: own.law: own.py line 9 uses time.perf_counter"
    assert why in capsys.readouterr().err
    assert Log.open(tmp_path / "runs" / "latest").metadata["run"]["exact"] == why
    assert f'"exact": "{why}"' in (tmp_path / "runs" / "latest" / "run.json").read_text("utf-8")


def test_python_and_c_tasks_that_are_exact_say_what_they_said(tmp_path: Path) -> None:
    from hil.metadata import exactness

    assert exactness(Bench.load(DROP / "bench.toml")) == "for this interpreter and these library versions"
    assert exactness(Bench.load(ROOT / "bench_configs" / "hopper.toml")) == "bit for bit"


TASK_FILES = [*sorted((ROOT / "bench_configs").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py")), DROP / "tasks.py"]


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda p: p.name)
def test_tasks_of_the_repository_pass(path: Path) -> None:
    for task in python_tasks(path):
        assert task.exact and doubts(task) == ()


def test_the_example_library_passes(tmp_path: Path) -> None:
    source = ROOT / "examples" / "extension"
    for compiler in ["cc", *(["clang-19"] if shutil.which("clang-19") else [])]:
        path = tmp_path / f"lib{compiler}.so"
        subprocess.run([compiler, "-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", f"-I{include_dir()}", "-o", str(path),
                        str(source / "gauge.c")], check=True)
        assert check_library(path) == []
