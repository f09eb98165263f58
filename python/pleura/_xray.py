"""Chest X-rays: the classifier, its preparation of images, and the shipped samples. Not a medical device."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy
from numpy.typing import NDArray

from . import _pleura
from ._arguments import whole
from ._sides import Device, _Secret, _warn_of_device
from .errors import InputError, ModelError

__all__ = ["Prediction", "Sample", "XrayClassifier", "XrayPreparation", "samples", "shipped_models"]

Image = Union[str, "os.PathLike[str]", bytes, NDArray[Any]]


class Sample(NamedTuple):
    """A shipped X-ray (Kermany, Zhang, Goldbaum; CC BY 4.0)."""

    name: str
    """Name of the file."""
    label: str
    """Class that the doctors assigned."""
    data: bytes
    """The JPEG file."""


@dataclass(frozen=True)
class Prediction:
    """Result of one X-ray, computed on ciphertexts. Not a diagnosis."""

    name: str
    """Name of the file, empty for arrays and bytes."""
    label: str
    """Class with the largest score."""
    probabilities: dict[str, float]
    """Probability of each class."""
    scores: list[float]
    """Scores of the network as they may be shown to others."""
    ood_score: Optional[float] = None
    """Distance from the X-rays that the codec was trained on; above 1, scores mean little."""
    notes: list[str] = field(default_factory=list)
    """Remarks on how the image was read."""


def samples() -> list[Sample]:
    """The sixteen shipped X-rays: eight normal ones and eight with pneumonia.

    >>> import pleura
    >>> [sample.label for sample in pleura.samples()].count("pneumonia")
    8
    """
    return [Sample(*sample) for sample in _pleura.samples()]


def shipped_models() -> dict[str, str]:
    """Names of the shipped networks, with a summary of each.

    >>> import pleura
    >>> "pneumonia" in pleura.shipped_models()
    True
    """
    return {name: about for name, about, _ in _pleura.models()}


class XrayClassifier(_Secret):
    """A classifier of chest X-rays whose network runs on ciphertexts, client and server in one process.

    `model` is the name of a shipped network (`shipped_models()`), or an ONNX file, whose metadata names classes and codec
    (docs/xrays.md). `pixel_scaling` is for networks of pixels that do not say it: `unit`, `signed`, `xrv` or
    `MEAN,DEVIATION`. `device` and `threads` are as for `Pipeline`.

    >>> import pleura
    >>> classifier = pleura.XrayClassifier("pneumonia", device="cpu")
    >>> prediction = classifier(pleura.samples()[15].data)
    >>> prediction.label, prediction.probabilities["pneumonia"] > 0.5
    ('pneumonia', True)
    """

    def __init__(
        self,
        model: Union[str, "os.PathLike[str]"] = "pneumonia",
        device: Device = "auto",
        threads: Optional[int] = None,
        *,
        pixel_scaling: Optional[str] = None,
    ) -> None:
        name, content = _named(model)
        self._native = _pleura.XrayClassifier(name, content, pixel_scaling, str(device), whole("threads", threads))
        _warn_of_device(self._native)
        self.classes = self._native.classes()

    def __call__(self, images: Union[Image, list[Image], tuple[Image, ...]]) -> Any:
        """The `Prediction` of an image, or a list of them for a list, a folder, a file of latents or an array of images.

        An image is the path of a file (PNG, JPEG, TIFF, BMP, WebP or DICOM), its bytes, or an array `[height, width]` of
        uint8 (0 to 255) or floats (0, black, to 1, white); `[images, height, width]` are several.
        """
        if isinstance(images, (list, tuple)):
            return [prediction for image in images for prediction in self._classify(image)]
        found = self._classify(images)
        many = (
            isinstance(images, numpy.ndarray)
            and images.ndim == 3
            or isinstance(images, (str, os.PathLike))
            and (os.path.isdir(images) or len(found) > 1)
        )
        return found if many else found[0]

    def _classify(self, images: Image) -> list[Prediction]:
        found = []
        for image in _parts(images):
            for result in json.loads(self._native.classify(image)):
                result["probabilities"] = dict(zip(self.classes, result["probabilities"]))
                found.append(Prediction(**result))
        return found

    @property
    def device(self) -> str:
        """The device that computes, in a few words."""
        return self._native.device()

    def __repr__(self) -> str:
        return f"<pleura.XrayClassifier of {', '.join(self.classes)} on {self.device}>"


class XrayPreparation:
    """Prepares X-rays for a network, without keys: for `Client.encrypt`, where client and server are apart.

    >>> import pleura
    >>> prepare = pleura.XrayPreparation("pneumoniamnist")
    >>> items = prepare([sample.data for sample in pleura.samples()])
    >>> items.shape
    (16, 1, 28, 28)
    >>> plan = pleura.compile(prepare.model, calibration=items)
    """

    def __init__(
        self, model: Union[str, "os.PathLike[str]"] = "pneumonia", *, pixel_scaling: Optional[str] = None
    ) -> None:
        name, content = _named(model)
        self._native = _pleura.XrayPreparation(name, content, pixel_scaling)
        shipped = {known: onnx for known, _, onnx in _pleura.models()}
        self.model: bytes = shipped[name] if content is None else content
        """The network as an ONNX file."""
        self.classes = self._native.classes()
        """Names of the classes, in the order of the scores."""

    def __call__(self, images: Union[Image, list[Image], tuple[Image, ...]]) -> NDArray[numpy.float64]:
        """Inputs of the network, `[images, ...]`, made of images as `XrayClassifier` takes them."""
        images = images if isinstance(images, (list, tuple)) else [images]
        parts = [self._native.prepare(part)[0] for image in images for part in _parts(image)]
        if not parts:
            raise InputError("there is no image; give at least one")
        return numpy.concatenate(parts)

    def predictions(self, scores: NDArray[Any]) -> list[Prediction]:
        """Labels and probabilities of decrypted scores, `[images, classes]`."""
        scores = numpy.asarray(scores, numpy.float64)
        rows = json.loads(self._native.predictions(scores))
        return [
            Prediction("", row["label"], dict(zip(self.classes, row["probabilities"])), list(map(float, item.ravel())))
            for row, item in zip(rows, scores)
        ]


def _named(model: Union[str, "os.PathLike[str]"]) -> tuple[str, Optional[bytes]]:
    """Name of a shipped network, or name and content of an ONNX file."""
    if not isinstance(model, (str, os.PathLike)):
        raise InputError(f"the model is a {type(model).__name__}; it is the name of a shipped network or an ONNX file")
    if isinstance(model, str) and model in shipped_models():
        return model, None
    path = Path(model)
    if not path.exists():
        raise ModelError(
            f"there is no network or file {os.fspath(model)!r}; shipped are {', '.join(shipped_models())}"
        )
    try:
        return path.stem, path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error


def _parts(image: Any) -> list[Any]:
    """What the native module takes: a path, bytes, or float32 rows from 0 to 1."""
    if isinstance(image, (str, os.PathLike)):
        return [Path(image)]
    if isinstance(image, (bytes, bytearray, memoryview)):
        return [bytes(image)]
    if not isinstance(image, numpy.ndarray):
        raise InputError(f"an image is a {type(image).__name__}; give a path, the bytes of a file, or a NumPy array")
    if image.ndim not in (2, 3):
        raise InputError(f"an image has shape {image.shape}; give (height, width), or (images, height, width)")
    if image.dtype == numpy.uint8:
        image = image / numpy.float32(255)
    elif image.dtype not in (numpy.float32, numpy.float64):
        raise InputError(f"an image is of {image.dtype}; give uint8 (0 to 255) or floats (0, black, to 1, white)")
    if image.size and not (numpy.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise InputError("an image has values that are not 0 (black) to 1 (white); divide by the largest value")
    image = numpy.ascontiguousarray(image, numpy.float32)
    return list(image) if image.ndim == 3 else [image]
