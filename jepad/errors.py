"""Every error a user can meet, with its name on the bus and its exit code.

Owns: the hierarchy. Raise anywhere; doors turn them into replies in one place.
"""

from __future__ import annotations


class JepadError(Exception):
    """What failed, why, and the next thing to do: the message is shown to the user as it is."""

    bus_name = "org.jepad1.Error.Failed"
    exit_code = 1


class SettingError(JepadError):
    """A setting, flag or argument that can't be used."""

    bus_name = "org.jepad1.Error.InvalidArgument"
    exit_code = 2


class NotFound(JepadError):
    """A stream, series, domain or model that does not exist here."""

    bus_name = "org.jepad1.Error.NotFound"


class NotReady(JepadError):
    """Nothing to answer from yet: no sample, no forecast."""

    bus_name = "org.jepad1.Error.NotReady"


class RateLimited(JepadError):
    """The caller spent its budget; the message says when to try again."""

    bus_name = "org.jepad1.Error.RateLimited"


class EngineError(JepadError):
    """The engine is away, late or refused."""

    bus_name = "org.jepad1.Error.Engine"


class Late(EngineError):
    """No answer by the deadline: what comes after it would be of the past."""

    bus_name = "org.jepad1.Error.Late"


class DeviceLost(EngineError):
    """The accelerator went away in mid-work."""

    bus_name = "org.jepad1.Error.DeviceLost"


class TooLarge(JepadError):
    """More memory than there is, or than was granted; the message says both."""

    bus_name = "org.jepad1.Error.TooLarge"
    exit_code = 5


class ModelError(JepadError):
    """A model file that is missing, damaged or not the one named."""

    bus_name = "org.jepad1.Error.Model"
    exit_code = 4


class RingError(JepadError):
    """A stream that can't be created, opened or trusted."""

    bus_name = "org.jepad1.Error.Ring"


class Lapped(RingError):
    """The writer overtook the reader: the record was discarded, not torn."""


class SourceError(JepadError):
    """A source could not read its file this tick."""


class BusError(JepadError):
    """The bus is away, or our name on it belongs to somebody else."""

    exit_code = 3


def named(bus_name: str) -> type[JepadError]:
    """The error of this name on the bus; EngineError for one that has none here."""
    kinds = (SettingError, NotFound, NotReady, ModelError, Late, DeviceLost, TooLarge, RingError)
    return {kind.bus_name: kind for kind in kinds}.get(bus_name, EngineError)
