"""What a user can cause, each with the exit code that tells a script which it was.

A message says what is wrong, where, and the command that mends it. The command line prints it in one place.
"""

from collections.abc import Sequence


class BoneexpError(Exception):
    """Something the user can mend; printed as one message, without a traceback."""

    exit_code = 1


class GridInvalid(BoneexpError):
    """The grid file, or an override of it, cannot be used."""


class DataInvalid(BoneexpError):
    """The dataset cannot be used; carries every place that is wrong."""

    def __init__(self, message: str, places: Sequence[str] = ()) -> None:
        """Keep `message` as the text and `places` (one line each) for whoever wants them all."""
        super().__init__(message)
        self.places = tuple(places)


class LedgerUnusable(BoneexpError):
    """The ledger is missing, of another schema, not a ledger, or cannot be written."""


class RunNotFound(BoneexpError):
    """No run or experiment of that name is in the ledger."""


class RunNotFinished(BoneexpError):
    """The run exists, but its state does not allow what was asked."""


class FigureUnknown(BoneexpError):
    """No figure of that name is kept, or not one that can be asked for here."""


class WeightsUnavailable(BoneexpError):
    """Pretrained weights or a checkpoint cannot be had or do not fit the model."""


class NoHeatMaps(BoneexpError):
    """The network has no map before its pooling that Grad-CAM could show."""


class TooLittleMemory(BoneexpError):
    """A training step of the smallest batch that the network takes does not fit into memory."""


class DeviceUnavailable(BoneexpError):
    """The device that was asked for is not on this machine."""


class NothingToDo(BoneexpError):
    """No run waits: the queue is empty or everything is settled."""

    exit_code = 4


class Busy(BoneexpError):
    """Somebody else holds what was asked for."""

    exit_code = 5


class PromotionRefused(BoneexpError):
    """A condition of promotion is not met."""

    exit_code = 6


class Damaged(BoneexpError):
    """A file or a row is not what the ledger recorded."""

    exit_code = 7


class DiskTooSmall(BoneexpError):
    """What is about to be done would not fit on the disk."""
