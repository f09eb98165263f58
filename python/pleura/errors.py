"""Exceptions and warnings of the package. Each exception's text is a sentence that says what to do next.

>>> import numpy, pleura
>>> try:
...     pleura.compile(b"not a model")
... except pleura.ModelError as error:
...     print(isinstance(error, pleura.PleuraError), "ONNX" in str(error))
True True
"""

__all__ = [
    "CalibrationWarning",
    "DataError",
    "DeviceError",
    "DeviceWarning",
    "InputError",
    "InternalError",
    "ModelError",
    "PleuraError",
    "RangeWarning",
    "SecretError",
    "VersionError",
]


class PleuraError(Exception):
    """Base class of all exceptions of the package."""


class ModelError(PleuraError, ValueError):
    """A model that cannot be read, or that cannot be computed on encrypted data."""


class InputError(PleuraError, ValueError):
    """An argument or an input that cannot be used: a wrong shape, dtype or value."""


class DeviceError(PleuraError, RuntimeError):
    """A device that is missing, cannot be started, or failed."""


class DataError(PleuraError, ValueError):
    """Bytes that are damaged, of another kind, or made with another plan or key."""


class SecretError(PleuraError, TypeError):
    """An attempt to pickle or copy an object that holds a secret key."""


class VersionError(PleuraError, ValueError):
    """A pickled object of another release."""


class InternalError(PleuraError, RuntimeError):
    """A bug of the engine, a caught panic included."""


class RangeWarning(UserWarning):
    """Values beyond the range that a plan was calibrated for, or a range too wide for what results are used for: results may be wrong."""


class CalibrationWarning(UserWarning):
    """A plan whose ranges of values come from normal noise, since no inputs were given to calibrate with."""


class DeviceWarning(UserWarning):
    """A GPU that was skipped because it cannot be used."""
