"""Compilation of models to plans."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence, Union

import numpy
from numpy.typing import ArrayLike, NDArray

from . import _pleura, _report
from ._arguments import number, whole
from .errors import CalibrationWarning, InputError, ModelError, RangeWarning, VersionError

__all__ = ["Plan", "compile"]

FEWEST_BITS = 5
"""Results that are predicted to have fewer exact bits are warned about."""


@dataclass
class Source:
    """A model file and the choices that it leaves open, for the native module."""

    model: bytes
    name: str = ""
    folder: Optional[str] = None
    input_shape: Optional[tuple[int, ...]] = None
    output: Optional[str] = None
    fit: Optional[int] = None
    batch: int = 1
    security: int = 128
    precision: Optional[float] = None


class Plan:
    """A compiled network: steps and encoded weights for a server, and what a client needs. It holds no secret.

    Made by `pleura.compile`. A plan can be pickled, and read by the same release only.

    >>> import pleura
    >>> prepare = pleura.XrayPreparation("pneumoniamnist")
    >>> items = prepare([sample.data for sample in pleura.samples()])
    >>> plan = pleura.compile(prepare.model, calibration=items)
    >>> plan.input_shape, plan.output_shape
    ((1, 28, 28), (2,))
    >>> sorted(plan.report()["parameters"])[:3]
    ['levels', 'log2_q', 'log2_qp']
    """

    def __init__(self, native: _pleura.Plan) -> None:
        self._native = native

    @property
    def name(self) -> str:
        """Name of the network."""
        return str(self.report()["network"])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of an item, without the batch axis."""
        return tuple(self._native.input_shape())

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the scores of an item, without the batch axis."""
        return tuple(self._native.output_shape())

    @property
    def batch(self) -> int:
        """Number of items that share ciphertexts."""
        return self._native.batch()

    @property
    def rounding(self) -> float:
        """Results that may be shown to others are multiples of it: twelve bits of the range of all results, or fewer.

        Results whose units differ much have roundings of their own, of which this is the largest: see `roundings`.
        """
        return self._native.rounding()

    @property
    def roundings(self) -> NDArray[Any]:
        """Rounding of each score of an item, flat."""
        return numpy.array(self._native.roundings())

    @property
    def notes(self) -> list[str]:
        """Choices of the importer, of fits and of the compiler, in sentences."""
        return self._native.notes()

    def report(self) -> dict[str, Any]:
        """Parameters, layers, sizes in bytes and predicted seconds."""
        report: dict[str, Any] = json.loads(self._native.report())
        return report

    @property
    def server(self) -> bytes:
        """The server's half, for `pleura.Server`: steps and weights. It is the file `server.plan` of `pleura export`."""
        return self._native.server_plan()

    @property
    def client(self) -> bytes:
        """The client's half, for `pleura.Client`: no weights. It is the file `client.spec` of `pleura export`."""
        return self._native.bundle()

    def __repr__(self) -> str:
        report = self.report()
        p = report["parameters"]
        return (
            f"<pleura.Plan of {report['network']}: n = 2^{p['log_n']}, {p['levels']} levels, {p['security']} bits of "
            f"security, {report['predicted_seconds']:.3g} s predicted on a {report['planned_for'].upper()}>"
        )

    def _repr_html_(self) -> str:
        return _report.to_html(self.report())

    def __reduce__(self) -> tuple[Any, ...]:
        model, name, input_shape, output, fit, batch, security, precision = self._native.source()
        notes = self._native.notes()
        state = {
            "plan": self._native.to_bytes(),
            "bundle": self._native.bundle(),
            "source": (model, name, None, input_shape, output, fit, batch, security, precision),
            # The compiler's notes are part of the plan.
            "notes": notes[: len(notes) - len(self.report()["notes"])],
        }
        return _restore, (_pleura.VERSION, state)


def _restore(version: str, state: dict[str, Any]) -> Plan:
    """The plan of a pickle."""
    if version != _pleura.VERSION:
        raise VersionError(
            f"the plan was pickled by pleura {version}, and this is {_pleura.VERSION}; compile the model again"
        )
    return Plan(_pleura.restore(state["plan"], state["bundle"], Source(*state["source"]), state["notes"]))


def compile(
    model: Any,
    calibration: Optional[ArrayLike] = None,
    security: int = 128,
    batch: int = 1,
    *,
    example: Any = None,
    fit: Optional[int] = None,
    precision: Optional[float] = None,
    input_shape: Optional[Sequence[int]] = None,
    output: Optional[str] = None,
    device: Union[str, int] = "auto",
) -> Plan:
    """Compiles a model to a plan for encrypted data.

    `model` is the path of an ONNX file, its bytes, an `onnx.ModelProto`, or a `torch.nn.Module`, which is exported
    with `example`, a batch of inputs (by default the calibration). `calibration`, `[items, ...]` of float32 or
    float64, are typical inputs, from which the ranges of all values are taken. Without them normal noise is drawn; a
    `CalibrationWarning` says so, unless the model file has ranges (`pleura.train` writes them). `security` is 128, 192
    or 256 bits. `batch` items share ciphertexts, which costs less for each where an item leaves slots unused.

    Ciphertexts compute sums, products and polynomials. `fit` is the degree (1 to 64) of the polynomials that replace
    other activations on the calibrated ranges. `precision` is the least number of bits that results are predicted to be
    exact to (`Plan.report()["predicted_bits"]`), 1 to 40; more of them cost time. `input_shape` is the shape of an item and `output` the name of an output,
    where the model leaves them open. `device` is the one that the plan will run on, as `pleura.Pipeline` names it; it
    runs on others, too, with the same results.

    Raises `ModelError` for a model that cannot be encrypted, and `InputError` for arguments.

    >>> import pleura
    >>> prepare = pleura.XrayPreparation("pneumoniamnist")
    >>> items = prepare([sample.data for sample in pleura.samples()])
    >>> plan = pleura.compile(prepare.model, calibration=items)
    >>> pipeline = pleura.Pipeline(plan, device="cpu")
    >>> scores = pipeline(items[:1])
    >>> scores.shape, pipeline.fidelity.bits > 10
    ((1, 2), True)
    """
    items = _items(calibration)
    source = _source(model, items if example is None else example)
    if input_shape is not None:
        source.input_shape = tuple(whole("an extent of input_shape", n) or 0 for n in input_shape)
    source.output = output
    source.fit = whole("fit", fit)
    source.batch = whole("batch", batch) or 0
    source.security = whole("security", security) or 0
    source.precision = number("precision", precision)
    native = _pleura.compile(source, items, str(device))
    if not native.is_calibrated():
        warnings.warn(
            "the ranges of values come from normal noise, and larger values may overflow; give typical inputs with "
            "calibration=",
            CalibrationWarning,
            stacklevel=2,
        )
    plan = Plan(native)
    bits = plan.report()["predicted_bits"]
    if bits is not None and bits < FEWEST_BITS:
        warnings.warn(
            f"results are predicted to be exact to {bits:.1f} bits of their range: large values that cancel within the network "
            "leave little; standardize inputs, leave out features that nearly repeat others, or ask for more with precision=",
            RangeWarning,
            stacklevel=2,
        )
    return plan


def _items(calibration: Optional[ArrayLike]) -> Optional[NDArray[Any]]:
    if calibration is None:
        return None
    if hasattr(calibration, "detach"):
        try:
            calibration = calibration.detach().cpu().numpy()
        except TypeError as error:
            raise InputError(f"the calibration is no array for NumPy: {error}; give float32 or float64") from error
    if numpy.ma.is_masked(calibration):
        raise InputError("the calibration has values that are masked; leave out or fill in such items")
    return numpy.asarray(calibration)


def _source(model: Any, example: Any) -> Source:
    if isinstance(model, (bytes, bytearray, memoryview)):
        return Source(bytes(model))
    if isinstance(model, (str, os.PathLike)):
        path = Path(model)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from error
        return Source(content, name=path.stem, folder=str(path.parent))
    if hasattr(model, "SerializeToString"):
        return Source(model.SerializeToString())
    if any(base.__module__.startswith("torch.") and base.__name__ == "Module" for base in type(model).__mro__):
        return Source(export_torch(model, example), name=type(model).__name__)
    raise InputError(
        f"the model is a {type(model).__name__}; give the path or bytes of an ONNX file, an onnx.ModelProto or a "
        "torch.nn.Module"
    )


def export_torch(module: Any, example: Any) -> bytes:
    """A `torch.nn.Module` as the bytes of an ONNX file, in evaluation mode and with an open batch axis."""
    import torch

    if example is None:
        raise InputError("a torch.nn.Module is exported with an input; give example=, a batch of inputs")
    if not isinstance(example, torch.Tensor):
        example = torch.as_tensor(numpy.asarray(example))
    parameter = next(module.parameters(), None)
    if parameter is not None:
        example = example.to(device=parameter.device, dtype=parameter.dtype)
    training = module.training
    module.eval()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "model.onnx")
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module,
                    (example[:1],),
                    file,
                    opset_version=17,
                    input_names=["input"],
                    output_names=["output"],
                    dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
                    dynamo=False,
                )
        except Exception as error:
            raise ModelError(f"torch cannot export the module: {error}; export it to ONNX yourself") from error
        finally:
            module.train(training)
        return Path(file).read_bytes()
