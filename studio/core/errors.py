"""Every error that a person may see: a sentence with the rule, the value and the remedy."""

from __future__ import annotations


class StudioError(Exception):
    """Something that the studio can explain."""


class RequestError(StudioError):
    """The request breaks a rule; nothing was started."""


class PresetError(StudioError):
    """A preset file is not usable."""


class MediaError(StudioError):
    """A picture, sound or clip cannot be read or written."""


class WeightsError(StudioError):
    """Weights are missing, half there, or belong to something else."""


class MemoryBudgetError(StudioError):
    """The bytes that are needed are not there."""


class StorageError(StudioError):
    """The data directory is full or cannot be written."""


class JobError(StudioError):
    """A job does not exist or cannot do what was asked of it now."""


class BackendError(StudioError):
    """A prompt back end or another service did not answer usefully."""


class NumericError(StudioError):
    """What was computed is not a picture: NaN, flat or frozen."""


class EstimateError(NumericError):
    """The same, seen while sampling, where attention computed plainly may help."""


class Cancelled(StudioError):  # noqa: N818  # what the user asked for is no error
    """The user asked for the job to end; finished windows are kept."""
