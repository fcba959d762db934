"""The user's side of an engine sequence: a TOML file, its compilation to parameters, its picture, its exhaustive check.

`load_sequence` reads and compiles a file; `Sequence.constants` are the parameters seq_* of the task gnc.sequencer; `diagram` draws it;
`hil.sequence.proof` explores it with the C that flies. The format is described in docs/engine-sequencing.md.
"""

from hil.sequence.diagram import diagram
from hil.sequence.load import Sequence, load_sequence

__all__ = ["Sequence", "diagram", "load_sequence"]
