"""The log: MCAP files, written from the core's recorder, read as numpy arrays."""

from flightsw.log.reader import Log
from flightsw.log.repair import repair
from flightsw.log.writer import ChannelDef, LogWriter

__all__ = ["ChannelDef", "Log", "LogWriter", "repair"]
