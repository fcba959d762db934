"""What flight code may not use, and what it uses instead: the tables of both checks."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RULE = "not allowed in flight code, which must depend on nothing but its inputs"

STATE = "keep what must last in the state struct"

# ---- C ------------------------------------------------------------------------------------------------------------------

# Functions that a compiler calls by itself, and what links and unloads a library.
RUNTIME = frozenset({
    "memcpy", "memmove", "memset", "memcmp", "__memcpy_chk", "__memmove_chk", "__memset_chk",
    "__cxa_finalize", "__gmon_start__", "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "_Jv_RegisterClasses",
    "__stack_chk_fail", "__stack_chk_guard", "__aeabi_unwind_cpp_pr0", "__aeabi_unwind_cpp_pr1",
})
# Of libm: those whose result the standard defines to the last bit. Compilers call sqrt behind fsw_sqrt to set errno.
EXACT_LIBM = frozenset(name + suffix for suffix in ("", "f") for name in
                       ("sqrt", "fabs", "floor", "ceil", "trunc", "round", "copysign", "fmod", "ldexp", "scalbn", "frexp", "modf"))
# Headers of the core whose functions a task may call; the others run nodes, write logs or know the clock.
TASK_HEADERS = ("math.h", "random.h", "vec.h", "exact.h", "digest.h", "checksum.h", "frame.h", "events.h", "nav.h", "nav_lanes.h", "guidance.h",
                "control.h", "sequencer.h", "world.h", "boards.h")

_LIBM = _words("""sin cos tan asin acos atan atan2 sincos sinh cosh tanh asinh acosh atanh exp exp2 exp10 expm1 log log2 log10 log1p
    pow cbrt hypot erf erfc tgamma lgamma gamma remainder remquo fma fmax fmin fdim rint nearbyint lrint llrint lround llround logb
    ilogb nextafter j0 j1 jn y0 y1 yn drem significand""")
_MATH_HINT = "use fsw_sin, fsw_exp, ... of flightsw/math.h, which have the same bits everywhere"
_C_HINTS = {
    "use io->t_ns": """clock clock_gettime clock_getres gettimeofday time times timespec_get ftime localtime localtime_r gmtime
        mktime nanosleep clock_nanosleep usleep sleep""",
    "use fsw_rng_* of flightsw/random.h": """rand srand rand_r random srandom random_r drand48 erand48 lrand48 nrand48 mrand48
        jrand48 srand48 getrandom getentropy arc4random arc4random_uniform arc4random_buf""",
    "use fixed sizes and the state struct": """malloc calloc realloc free aligned_alloc posix_memalign memalign valloc alloca mmap
        munmap sbrk brk strdup reallocarray""",
    STATE: "__tls_get_addr pthread_getspecific pthread_setspecific",
}
C_HINTS = {name: hint for hint, names in _C_HINTS.items() for name in names.split()} | {
    name + suffix: _MATH_HINT for name in _LIBM for suffix in ("", "f", "l")}

# ---- Python -------------------------------------------------------------------------------------------------------------

_CLOCK, _RANDOM = "use io.t_ns", "use io.gauss or io.uniform"
_OUTSIDE = "read a topic: what enters over a link is recorded"
_ALONE = "a step runs alone and returns: split the work into tasks"
_DIRECT = "name what is meant directly"
_ADDRESS = "it differs from process to process: compare values, or use an index"

_MODULES = {
    _CLOCK: "time datetime sched timeit calendar zoneinfo",
    _RANDOM: "random _random secrets uuid numpy.random",
    _OUTSIDE: "os posix nt sys io _io pathlib shutil tempfile glob socket _socket ssl select selectors http urllib ftplib smtplib "
              "requests httpx aiohttp zmq serial sqlite3 dbm mmap fcntl termios pty tty pwd grp resource platform locale getpass "
              "fileinput argparse subprocess _posixsubprocess psutil",
    _ALONE: "threading _thread multiprocessing concurrent asyncio queue _queue signal contextvars",
    _DIRECT: "gc weakref _weakref ctypes _ctypes cffi _cffi_backend inspect importlib builtins tracemalloc traceback faulthandler "
             "pickle marshal runpy code",
}
MODULES = {name: hint for hint, names in _MODULES.items() for name in names.split()}
ALLOWED = ("sys.float_info", "sys.maxsize", "sys.byteorder", "datetime.timedelta", "datetime.timezone")

BUILTINS = {"id": _ADDRESS, "hash": _ADDRESS, "open": _OUTSIDE, "input": _OUTSIDE} | dict.fromkeys(
    ("globals", "locals", "vars", "eval", "exec", "compile", "__import__", "breakpoint"), _DIRECT)
NUMPY = dict.fromkeys(("empty", "empty_like"), "use numpy.zeros: the memory holds what was there before") | dict.fromkeys(
    ("load", "loadtxt", "genfromtxt", "fromfile", "memmap", "save", "savez", "savetxt"), _OUTSIDE)
URANDOM = {"os.urandom": _RANDOM, "os.getrandom": _RANDOM, "os.times": _CLOCK}
NAMES = {"__file__": _OUTSIDE, "__name__": _OUTSIDE, "__spec__": _DIRECT, "__loader__": _DIRECT, "__builtins__": _DIRECT}
ATTRIBUTES = dict.fromkeys(("ctypes", "__array_interface__", "__hash__", "_io"), _ADDRESS) | dict.fromkeys(
    ("__dict__", "__globals__", "__builtins__", "__code__", "__closure__", "__subclasses__", "__import__", "__loader__", "__spec__",
     "__getattribute__", "f_globals", "f_locals", "f_back", "gi_frame"), _DIRECT)

SORTED = "its order differs from process to process: use a tuple, or sorted(...)"
MUTATORS = _words("""append extend insert pop remove clear update setdefault add discard sort reverse popitem appendleft popleft
    extendleft rotate fill put resize itemset setflags partition byteswap difference_update intersection_update
    symmetric_difference_update send throw close write __setitem__ __delitem__ __next__ __iadd__""")
FIRST_ARGUMENT = frozenset({  # functions that change what they are given first
    "builtins.next", "builtins.setattr", "builtins.delattr", "operator.setitem", "operator.delitem", "operator.iadd",
    "heapq.heappush", "heapq.heappop", "heapq.heapify", "heapq.heapreplace", "heapq.heappushpop",
    "bisect.insort", "bisect.insort_left", "bisect.insort_right", "numpy.copyto", "numpy.put", "numpy.place",
    "numpy.putmask", "numpy.fill_diagonal"})
PARTS = _words("get values items setdefault view reshape ravel __getitem__")  # methods that hand out a part
IN_ORDER = _words("list tuple enumerate iter map filter zip sum reversed next")
ORDER_FREE = _words("sorted len min max any all set frozenset")
SET_METHODS = _words("union intersection difference symmetric_difference copy")
