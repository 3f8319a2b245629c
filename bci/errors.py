"""Errors that a user reads: one line that says what is wrong, where, and what would work.

::

    RolandicError            exit 1: it could not be done
    ├── ConfigError          exit 2: you asked for something that cannot be (key, value, what is allowed)
    ├── SourceError          the amplifier, LSL or a recording
    ├── ModelError           a model folder, or a model that does not fit its stream
    ├── RecordingError       a file that cannot be written or read
    ├── DeviceError          a device, or the process that holds it
    └── ContractError        a plug-in broke its contract
"""


class RolandicError(Exception):
    """Base of every error whose message is meant for the user."""

    exit_code = 1


def one_line(error: Exception) -> str:
    """What a user reads of any error: ours as it is, another with its type."""
    return str(error) if isinstance(error, RolandicError) else f"{type(error).__name__}: {error}".rstrip(": ")


class ConfigError(RolandicError):
    """The user asked for something that cannot be."""

    exit_code = 2


class SourceError(RolandicError):
    """A stream or a recording cannot be read, or is not what was expected."""


class ModelError(RolandicError):
    """A model folder is damaged, foreign, or does not fit the stream."""


class RecordingError(RolandicError):
    """A recording cannot be written or read."""


class DeviceError(RolandicError):
    """A device or its host process failed."""


class ContractError(RolandicError):
    """A decoder, device or source broke the contract of its extension point."""
