"""Errors that a user can fix, each with the exit code that a script sees.

A message says what is wrong, where, and the command that fixes it. The command line prints it in one place.
"""

from collections.abc import Sequence


class BoneexpError(Exception):
    """An error that the user can fix; printed as one message, without a traceback."""

    exit_code = 1


class GridInvalid(BoneexpError):
    """The grid file or an override is invalid."""


class DataInvalid(BoneexpError):
    """The dataset cannot be used; lists every problem found."""

    def __init__(self, message: str, places: Sequence[str] = ()) -> None:
        """Store the message and all `places` with a problem, one line each."""
        super().__init__(message)
        self.places = tuple(places)


class LedgerUnusable(BoneexpError):
    """The ledger is missing, has another schema, is no ledger, or cannot be written."""


class RunNotFound(BoneexpError):
    """No run or experiment of that name is in the ledger."""


class RunNotFinished(BoneexpError):
    """The run exists, but its state does not allow the request."""


class MetricUnknown(BoneexpError):
    """There is no metric of that name, or it is not available here."""


class WeightsUnavailable(BoneexpError):
    """Pretrained weights or a checkpoint are not available or do not fit the model."""


class NoHeatMaps(BoneexpError):
    """The network has no feature map before its pooling that Grad-CAM could use."""


class TooLittleMemory(BoneexpError):
    """A training step with the smallest possible batch does not fit into memory."""


class DeviceUnavailable(BoneexpError):
    """This machine does not have the requested device."""


class NothingToDo(BoneexpError):
    """There is nothing to do: the queue is empty, or everything is done."""

    exit_code = 4


class Busy(BoneexpError):
    """Another process holds the run, lock or file."""

    exit_code = 5


class PromotionRefused(BoneexpError):
    """A condition for promotion is not met."""

    exit_code = 6


class Damaged(BoneexpError):
    """A file or row differs from what the ledger recorded."""

    exit_code = 7


class DiskTooSmall(BoneexpError):
    """The disk does not have enough free space."""
