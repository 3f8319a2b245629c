"""The one clock of the program: LSL's. Importing it loads liblsl (0.15 s), so only processes that need it do."""

from pylsl import local_clock as now_s

__all__ = ["now_s"]
