"""Neural networks on encrypted data.

>>> import pleura
>>> classifier = pleura.XrayClassifier("pneumonia", device="cpu")
>>> classifier(pleura.samples()[15].data).label
'pneumonia'

`compile` makes a `Plan` of an ONNX or torch model; `Pipeline` runs it, client and server in one process; `Client` and
`Server` exchange bytes. `pleura.train` fits networks to encryption, `pleura.linear` has estimators in the style of
scikit-learn, and `pleura.ray` computes on many machines.
"""

from ._devices import DeviceInfo, devices
from ._pleura import VERSION as __version__
from ._plan import Plan, compile
from ._sides import Client, Fidelity, Pipeline, Seconds, Server, Session
from ._xray import Prediction, Sample, XrayClassifier, XrayPreparation, samples, shipped_models
from .errors import (
    CalibrationWarning,
    DataError,
    DeviceError,
    DeviceWarning,
    InputError,
    InternalError,
    ModelError,
    PleuraError,
    RangeWarning,
    SecretError,
    VersionError,
)

__all__ = [
    "CalibrationWarning",
    "Client",
    "DataError",
    "DeviceError",
    "DeviceInfo",
    "DeviceWarning",
    "Fidelity",
    "InputError",
    "InternalError",
    "ModelError",
    "Pipeline",
    "Plan",
    "PleuraError",
    "Prediction",
    "RangeWarning",
    "Sample",
    "Seconds",
    "SecretError",
    "Server",
    "Session",
    "VersionError",
    "XrayClassifier",
    "XrayPreparation",
    "__version__",
    "compile",
    "devices",
    "samples",
    "shipped_models",
]
