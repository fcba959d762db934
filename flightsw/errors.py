"""What can go wrong, in one sentence each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file: where it is, and what would be right."""

    file: str
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.text}" if self.key else f"{self.file}: {self.text}"


class FlightswError(Exception):
    """Base of all errors that are not programming errors; `str()` is a sentence for the user."""

    exit_code = 3


class ConfigError(FlightswError):
    """A file or an option cannot be used. Carries every problem that was found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def one(cls, file: str, key: str, text: str) -> ConfigError:
        return cls([Problem(file, key, text)])


class BenchUnavailable(FlightswError):
    """A board, port or process that the bench needs is not there."""

    exit_code = 4


class LogError(FlightswError):
    """A log cannot be read, or is not the log of this software."""

    exit_code = 2


class StepError(FlightswError):
    """A task returned an error; its node does not run on."""
