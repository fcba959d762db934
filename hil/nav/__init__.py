"""The navigation filter alone on recorded sensor data: mapping file, run, scores against a truth, report."""

from hil.nav.load import Job, load_job
from hil.nav.run import NavResult, run_job

__all__ = ["Job", "NavResult", "load_job", "run_job"]
