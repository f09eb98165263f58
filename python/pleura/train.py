"""Networks that can be encrypted, made of networks that cannot (`pip install 'pleura[torch]'`).

Ciphertexts compute sums, products and polynomials. `fit` copies a trained classifier, puts a quadratic for each channel in
place of each activation and average pools in place of max pools, blends them in while the copy learns to agree with the
original (distillation: Hinton, Vinyals, Dean 2015), and fines values far from where they were, since a quadratic grows
where an activation does not.

    trained = pleura.train.fit(network, (x, y), validation=(x_val, y_val))
    print(trained.card(x_val, y_val))
    pipeline = pleura.Pipeline(trained.plan())
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional

import numpy
from numpy.typing import NDArray

from . import _pleura
from ._plan import Plan, Source, compile, export_torch
from ._sides import Device, Pipeline
from .errors import InputError

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as error:
    raise ImportError("pleura.train needs torch; pip install 'pleura[torch]'") from error

__all__ = ["Quadratic", "Trained", "fit", "polynomial", "ranges"]

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Hardtanh, nn.Sigmoid, nn.Hardsigmoid, nn.Tanh, nn.Softplus, nn.Softsign,
)  # fmt: skip
"""Activations that `polynomial` replaces."""

FAR = 3.0
"""Deviations from the mean of a channel beyond which its values are fined."""
FINE = 0.05
"""Weight of the fine beside the loss."""
TEMPERATURE = 2.0
"""Temperature at which scores are compared with those of the original."""
KEPT = 64
"""Items that calibrate plans."""
SEEN = 1024
"""Items from which ranges are taken."""


class Quadratic(nn.Module):
    """From an activation (`blend` 0) to `a x^2 + b x + c` with coefficients for each channel, axis 1 (`blend` 1).

    It begins as the least-squares fit of the activation on normal values with the mean and deviation of each channel.
    """

    def __init__(self, activation: nn.Module, mean: Any, deviation: Any) -> None:
        super().__init__()
        self.activation = activation
        self.blend = 0.0
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        z = torch.linspace(-3, 3, 121, dtype=torch.float64)
        weight = (-(z**2) / 2).exp().sqrt()[:, None]
        x = mean.double()[:, None] + deviation.double()[:, None] * z
        with torch.no_grad():
            target = activation(x.T.to(mean.dtype)).double()
        # In units of a channel's deviation, where the three powers are of one size.
        powers = torch.stack([z**2, z, torch.ones_like(z)], dim=1)
        fitted = torch.linalg.lstsq(powers * weight, target * weight).solution
        self.coefficients = nn.Parameter(fitted.to(mean.dtype))
        self.far: Any = None

    def forward(self, x: Any) -> Any:
        shape = (-1, *[1] * (x.dim() - 2))
        a, b, c = (k.view(shape) for k in self.coefficients)
        mean, deviation = self.mean.view(shape), self.deviation.view(shape)
        if not self.training:
            a, b, c = a / deviation**2, b / deviation, c
            quadratic = (a * x + (b - 2 * a * mean)) * x + (c - b * mean + a * mean**2)
            return quadratic if self.blend == 1 else torch.lerp(self.activation(x), quadratic, self.blend)
        z = (x - mean) / deviation
        self.far = (z.abs() - FAR).relu().square().mean()
        quadratic = (a * z + b) * z + c
        return quadratic if self.blend == 1 else torch.lerp(self.activation(x), quadratic, self.blend)


@dataclass
class Trained:
    """A network that can be encrypted, and where it came from."""

    original: nn.Module
    """The network that was given."""
    module: nn.Module
    """The network with quadratics."""
    ranges: dict[str, float]
    """Largest magnitude at each node of the ONNX file's network, on items of the training set; `compile` reads it from the file."""
    calibration: NDArray[Any]
    """Items of the training set that calibrate plans."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Entries of the ONNX file's metadata, such as `pleura.classes`."""

    def onnx(self) -> bytes:
        """The network as an ONNX file; its metadata have the ranges as JSON in `pleura.ranges`."""
        import onnx

        model = onnx.load_from_string(export_torch(self.module, self.calibration))
        entries = {**self.metadata, "pleura.ranges": json.dumps(self.ranges)}
        onnx.helper.set_model_props(model, entries)
        return bytes(model.SerializeToString())

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Writes the ONNX file, under a temporary name first."""
        part = f"{os.fspath(path)}.part"
        with open(part, "wb") as file:
            file.write(self.onnx())
        os.replace(part, path)

    def plan(self, security: int = 128, batch: int = 1) -> Plan:
        """The network's plan, calibrated on items of the training set."""
        return compile(self.onnx(), calibration=self.calibration, security=security, batch=batch)

    def card(self, x: Any, y: Any, *, encrypted: int = 100, device: Device = "auto") -> str:
        """Accuracy of the original, the polynomial and the encrypted network as a table in Markdown.

        The first two are measured on all of `x`, `[items, ...]`, and classes `y`; the encrypted network on the first
        `encrypted` items, as is its agreement with the polynomial.
        """
        x, y = _tensor(x), torch.as_tensor(numpy.asarray(y)).reshape(-1).long()
        some = min(encrypted, len(x))
        original = _scores(self.original, x).argmax(1)
        plain = _scores(self.module, x).argmax(1)
        pipeline = Pipeline(self.plan(), device)
        found = torch.from_numpy(pipeline(x[:some].double().numpy())).argmax(1)
        rows = [
            ("original", len(x), (original == y).double().mean(), ""),
            ("polynomial", len(x), (plain == y).double().mean(), f"{(plain == original).double().mean():.1%} of original"),
            ("encrypted", some, (found == y[:some]).double().mean(), f"{(found == plain[:some]).double().mean():.1%} of polynomial"),
        ]
        lines = ["| network | items | accuracy | same label |", "|---|---:|---:|---|"]
        lines += [f"| {name} | {items} | {float(accuracy):.4f} | {same} |" for name, items, accuracy, same in rows]
        p = pipeline.plan.report()["parameters"]
        lines += ["", f"{p['security']}-bit security, n = 2^{p['log_n']}, {pipeline.fidelity.bits:.1f} bits of the scores."]
        return "\n".join(lines)


def polynomial(module: nn.Module, x: Any) -> nn.Module:
    """A copy of `module` with quadratics for activations and average pools for max pools, neither trained nor blended in.

    `x` are inputs `[items, ...]`, on which the values that enter each activation are measured.
    """
    copied = copy.deepcopy(module).eval()
    for name, child in list(copied.named_modules()):
        if isinstance(child, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
            kind = {nn.MaxPool1d: nn.AvgPool1d, nn.MaxPool2d: nn.AvgPool2d, nn.MaxPool3d: nn.AvgPool3d}[type(child)]
            if child.dilation not in (1, (1, 1), (1, 1, 1)):
                raise InputError(f"{name} is a max pool with dilation, which no average pool replaces; leave it out")
            _replace(copied, name, kind(child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode))
    found = {name: child for name, child in copied.named_modules() if isinstance(child, ACTIVATIONS)}
    entered: dict[str, list[Any]] = {name: [] for name in found}
    hooks = [
        child.register_forward_pre_hook(lambda _, given, name=name: entered[name].append(given[0].detach()))
        for name, child in found.items()
    ]
    try:
        _scores(copied, _tensor(x)[:512])
    finally:
        for hook in hooks:
            hook.remove()
    for name, child in found.items():
        if not entered[name]:
            raise InputError(f"{name} is not used when the network is called; remove it")
        values = torch.cat([part.transpose(0, 1).flatten(1) for part in entered[name]], dim=1)
        mean, deviation = values.mean(1), values.std(1).clamp(min=1e-3 * values.std().item() + 1e-6)
        _replace(copied, name, Quadratic(child, mean, deviation))
    return copied


def fit(
    module: nn.Module,
    train: tuple[Any, Any],
    *,
    validation: Optional[tuple[Any, Any]] = None,
    steps: int = 600,
    batch_size: int = 128,
    rate: float = 1e-3,
    seed: int = 0,
    metadata: Optional[Mapping[str, str]] = None,
    progress: bool = True,
) -> Trained:
    """Trains a copy of the classifier `module` that can be encrypted.

    `train` and `validation` are inputs `[items, ...]` and classes `[items]`; the copy of the step that does best on
    `validation` is kept (without it, that of the last one). Raises `InputError` if there is nothing to learn from.
    """
    x, y = _tensor(train[0]), torch.as_tensor(numpy.asarray(train[1])).reshape(-1).long()
    if len(x) != len(y) or not len(x):
        raise InputError(f"there are {len(x)} inputs and {len(y)} classes; give as many, and at least one")
    if not torch.isfinite(x).all():
        raise InputError("the inputs have a value that is NaN or infinite; torch.isfinite finds it")
    if steps < 10:
        raise InputError(f"steps must be at least 10, and are {steps}")
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    original = copy.deepcopy(module).cpu().float().eval()
    student = polynomial(original, x)
    told = F.log_softmax(_scores(original, x) / TEMPERATURE, 1)
    if told.dim() != 2:
        raise InputError(f"the network gives scores of shape {tuple(told.shape[1:])}; a classifier gives one for each class")
    adam = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, rate, steps, pct_start=0.2)
    best: tuple[float, Any] = (-1.0, None)
    for step in range(steps):
        student.train()
        _blend(student, min(1.0, step / (0.3 * steps)))
        if step > 0.5 * steps:
            # The last statistics are those that the exported network has.
            for child in student.modules():
                if isinstance(child, nn.modules.batchnorm._BatchNorm):
                    child.eval()
        pick = torch.randint(len(x), (min(batch_size, len(x)),), generator=generator)
        scores = student(x[pick])
        agreement = F.kl_div(
            F.log_softmax(scores / TEMPERATURE, 1), told[pick], reduction="batchmean", log_target=True
        )
        far = sum(child.far for child in student.modules() if isinstance(child, Quadratic))
        loss = 0.4 * F.cross_entropy(scores, y[pick]) + 0.6 * TEMPERATURE**2 * agreement + FINE * far
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        adam.step()
        schedule.step()
        due = step == steps - 1 or step % max(1, steps // 10) == 0
        if due and validation is not None and step >= 0.6 * steps:
            right = _accuracy(student, *validation)
            if right >= best[0]:
                best = right, copy.deepcopy(student.state_dict())
        if due and progress:
            print(f"step {step}: loss {loss.item():.4f}, far {float(far):.4f}")
    if best[1] is not None:
        student.load_state_dict(best[1])
    _blend(student, 1.0)
    student.eval()
    chosen = x[torch.randperm(len(x), generator=generator)[:SEEN]]
    kept, seen = chosen[:KEPT].double().numpy(), chosen.double().numpy()
    return Trained(original, student, ranges(student, seen), kept, dict(metadata or {}))


def ranges(module: nn.Module, items: NDArray[Any]) -> dict[str, float]:
    """Largest magnitude at each node of the module's ONNX file over `items`, `[items, ...]`: `Trained.ranges`."""
    return _pleura.ranges(Source(export_torch(module, items)), items)


def _tensor(x: Any) -> Any:
    return (x if isinstance(x, torch.Tensor) else torch.as_tensor(numpy.asarray(x))).detach().cpu().float()


def _replace(module: nn.Module, name: str, child: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, child)


def _blend(module: nn.Module, blend: float) -> None:
    for child in module.modules():
        if isinstance(child, Quadratic):
            child.blend = blend


@torch.no_grad()
def _scores(module: nn.Module, x: Any) -> Any:
    module.eval()
    return torch.cat([module(part) for part in x.split(256)])


def _accuracy(module: nn.Module, x: Any, y: Any) -> float:
    y = torch.as_tensor(numpy.asarray(y)).reshape(-1).long()
    return float((_scores(module, _tensor(x)).argmax(1) == y).double().mean())
