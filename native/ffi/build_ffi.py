"""Generate the cffi module of the C core from its headers.

usage: build_ffi.py NATIVE_DIR OUT.c
cffi reads what stands between `cffi: begin` and `cffi: end` in each header; nothing is declared twice. The generated module also
carries a fingerprint of all native sources, which flightsw compares at import with the sources beside it, if there are any.
"""

import re
import runpy
import sys
from pathlib import Path

from cffi import FFI

# the others depend on these
FIRST = ["messages.h", "task.h", "recorder.h", "node.h", "bench.h", "bundle.h", "frame.h", "sequence.h", "sense.h"]
EXTRA = """
const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);
const fsw_task_desc_t *const *fsw_plugin_open(const char *path, uint32_t *n, char *problem, uint32_t problem_size);
const char *fsw_source_fingerprint(void);
const char *fsw_compiler(void);
extern "Python" int32_t fsw_py_step(fsw_io_t *io);
extern "Python" void fsw_py_board_outputs(void *session, const fsw_bench_t *bench);
extern "Python" void fsw_py_board_safe(void *session);
extern "Python" int32_t fsw_py_remote_begin(void *remote, int64_t tick);
extern "Python" int32_t fsw_py_remote_end(void *remote, int64_t tick, uint32_t node);
"""


def main(native: Path, out: Path) -> None:
    include = native / "include" / "flightsw"
    headers = [include / name for name in FIRST]
    headers += sorted(p for p in include.glob("*.h") if p.name not in FIRST)
    ffi = FFI()
    used = []
    for header in headers:
        text = header.read_text("utf-8")
        for part in re.findall(r"/\* cffi: begin \*/(.*?)/\* cffi: end \*/", text, re.S):
            ffi.cdef(part)
            used.append(header.name)
    ffi.cdef(EXTRA)
    source = "".join(f'#include "flightsw/{name}"\n' for name in dict.fromkeys(used))
    source += re.sub(r'extern "Python".*\n', "", EXTRA)
    # read by path: importing the package would need the extension that is being built
    source_fingerprint = runpy.run_path(str(native.parent / "flightsw" / "_fingerprint.py"))["source_fingerprint"]
    source += f'const char *fsw_source_fingerprint(void) {{ return "{source_fingerprint(native)}"; }}\n'
    source += 'const char *fsw_compiler(void) { return __VERSION__; }\n'
    ffi.set_source("flightsw._core", source)
    ffi.emit_c_code(str(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
