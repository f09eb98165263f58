"""Linear and logistic models in the style of scikit-learn, which learn on plaintext and predict on ciphertexts.

>>> import numpy
>>> from pleura.linear import EncryptedLogisticRegression
>>> rng = numpy.random.default_rng(0)
>>> x = rng.normal(size=(200, 5))
>>> y = numpy.where(x[:, 0] + x[:, 1] > 0, "yes", "no")
>>> model = EncryptedLogisticRegression(device="cpu").fit(x, y)
>>> str(model.predict(numpy.array([[2.0, 2.0, 0.0, 0.0, 0.0]]))[0])
'yes'
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Optional, TypeVar

import numpy
from numpy.typing import ArrayLike, NDArray

from . import _onnx
from ._plan import Plan, compile
from ._sides import Device, Pipeline, _Secret
from .errors import InputError, RangeWarning

__all__ = ["EncryptedLinearRegression", "EncryptedLogisticRegression"]

COARSE = 0.1
"""Roundings that are a larger part of the targets' deviation are warned about."""

Self = TypeVar("Self", bound="_Estimator")


class _Estimator(_Secret):
    """What both estimators share: parameters, checks, and the pipeline that `predict` makes at its first call."""

    _pipeline: Optional[Pipeline] = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the constructor, as scikit-learn asks for them."""
        return {name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"}

    def set_params(self: Self, **params: Any) -> Self:
        """Changes parameters of the constructor."""
        for name, value in params.items():
            if name not in self.get_params():
                raise InputError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(self.get_params())}")
            setattr(self, name, value)
        return self

    @property
    def pipeline(self) -> Pipeline:
        """Client and server of the fitted model; it has the fidelity of the last prediction."""
        if self._pipeline is None:
            self._pipeline = Pipeline(self.plan, self.device, self.threads)  # type: ignore[attr-defined]
        return self._pipeline

    @property
    def plan(self) -> Plan:
        """Plan of the fitted model, for `pleura.Client` and `pleura.Server`."""
        if not hasattr(self, "plan_"):
            raise InputError(f"this {type(self).__name__} is not fitted; call fit(x, y) first")
        plan: Plan = self.plan_
        return plan

    def _compiled(self, weights: NDArray[Any], bias: NDArray[Any], x: NDArray[Any], end: str = "") -> None:
        model = _onnx.dense(weights, bias, end, type(self).__name__)
        # The items that reach furthest, and some more.
        order = numpy.argsort(-numpy.abs(x @ weights.T + bias).max(axis=1))[:16]
        batch = self.batch  # type: ignore[attr-defined]
        device = self.device  # type: ignore[attr-defined]
        items = numpy.concatenate([x[order], x[:16]])
        self.plan_ = compile(model, calibration=items, batch=batch, device=device)
        self._pipeline = None

    def _scores(self, x: ArrayLike) -> NDArray[Any]:
        # An estimator that is not fitted says so before it looks at its input.
        pipeline = self.pipeline
        return pipeline(_features(x))


class EncryptedLinearRegression(_Estimator):
    """Ridge regression: least squares with a penalty of `alpha` times the squared weights, not the intercept.

    `batch` items share ciphertexts; `device` and `threads` are as for `pleura.Pipeline`. After `fit`, `coef_` and
    `intercept_` are those of scikit-learn's `Ridge`.

    >>> import numpy
    >>> from pleura.linear import EncryptedLinearRegression
    >>> x = numpy.random.default_rng(0).normal(size=(100, 3))
    >>> model = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(x, x @ [1.0, -2.0, 0.5] + 3)
    >>> bool(numpy.abs(model.predict(x[:5]) - (x[:5] @ [1.0, -2.0, 0.5] + 3)).max() < 0.05)
    True
    """

    def __init__(
        self, alpha: float = 1.0, batch: int = 1, device: Device = "auto", threads: Optional[int] = None
    ) -> None:
        self.alpha = alpha
        self.batch = batch
        self.device = device
        self.threads = threads

    def fit(self, x: ArrayLike, y: ArrayLike) -> EncryptedLinearRegression:
        """Learns from `x`, `[items, features]`, and `y`, `[items]` or `[items, targets]`, in plaintext."""
        x = _features(x)
        y = _targets(y)
        if y.ndim not in (1, 2) or len(y) != len(x) or not numpy.isfinite(y).all():
            raise InputError(f"y has shape {y.shape}; give one finite target, or a row of them, for each of {len(x)} items")
        if not 0 <= self.alpha < numpy.inf:
            raise InputError(f"alpha must be finite and not negative, and is {self.alpha}")
        targets = y.reshape(len(y), -1)
        means = x.mean(axis=0), targets.mean(axis=0)
        centred = x - means[0]
        penalty = numpy.sqrt(self.alpha) * numpy.eye(x.shape[1])
        left = numpy.concatenate([centred, penalty])
        right = numpy.concatenate([targets - means[1], numpy.zeros((x.shape[1], targets.shape[1]))])
        weights = numpy.linalg.lstsq(left, right, rcond=None)[0].T
        bias = means[1] - weights @ means[0]
        self.coef_ = weights if y.ndim == 2 else weights[0]
        self.intercept_ = bias if y.ndim == 2 else bias[0]
        self.n_features_in_ = x.shape[1]
        self._compiled(weights, bias, x)
        deviation = targets.std(axis=0)
        if deviation.any() and self.plan.rounding > COARSE * deviation[deviation > 0].min():
            warnings.warn(
                f"predictions are rounded to multiples of {self.plan.rounding:g}, and targets deviate by "
                f"{deviation[deviation > 0].min():.3g} from their mean; subtract the mean from y, and scale targets alike",
                RangeWarning,
                stacklevel=2,
            )
        return self

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Targets of `x`, `[items, features]`, computed on ciphertexts."""
        scores = self._scores(x)
        return scores if self.coef_.ndim == 2 else scores[:, 0]

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Coefficient of determination of the encrypted predictions, the mean of those of all targets."""
        found = self.predict(x)
        y = _targets(y)
        if y.size != found.size or len(y) != len(found):
            raise InputError(f"y has shape {y.shape}, and predictions have {found.shape}; give a target for each of them")
        y, found = y.reshape(len(found), -1), found.reshape(len(found), -1)
        residual = ((y - found) ** 2).sum(axis=0)
        total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        if not total.all():
            raise InputError("a target is the same for all items; a coefficient of determination needs targets that differ")
        return float((1 - residual / total).mean())


class EncryptedLogisticRegression(_Estimator):
    """Multinomial logistic regression with a penalty of `1 / (2 C)` times the squared weights, not the intercepts.

    It has a score for each class, and the client takes their softmax. `batch` items share ciphertexts; `device` and
    `threads` are as for `pleura.Pipeline`.
    """

    def __init__(
        self,
        C: float = 1.0,
        max_iter: int = 100,
        batch: int = 1,
        device: Device = "auto",
        threads: Optional[int] = None,
    ) -> None:
        self.C = C
        self.max_iter = max_iter
        self.batch = batch
        self.device = device
        self.threads = threads

    def fit(self, x: ArrayLike, y: ArrayLike) -> EncryptedLogisticRegression:
        """Learns from `x`, `[items, features]`, and class labels `y`, `[items]`, in plaintext, by L-BFGS."""
        x = _features(x)
        labels = numpy.asarray(y)
        if labels.ndim != 1 or len(labels) != len(x):
            raise InputError(f"y has shape {labels.shape}; give a class for each of {len(x)} items")
        self.classes_, index = numpy.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("y has one class; give items of at least two")
        if not self.C > 0:
            raise InputError(f"C must be positive, and is {self.C}")
        weights, bias, self.n_iter_ = _softmax_regression(x, numpy.eye(len(self.classes_))[index], self.C, self.max_iter)
        self.coef_ = weights
        self.intercept_ = bias
        self.n_features_in_ = x.shape[1]
        self._compiled(weights, bias, x, "Softmax")
        return self

    def predict_proba(self, x: ArrayLike) -> NDArray[Any]:
        """Probability of each class, `[items, classes]`, of scores computed on ciphertexts."""
        return self._scores(x)

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Class of each item of `x`, `[items, features]`, by scores computed on ciphertexts."""
        probabilities = self.predict_proba(x)
        classes: NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return classes

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Accuracy of the encrypted predictions."""
        found = self.predict(x)
        labels = numpy.asarray(y)
        if labels.size != found.size or len(labels) != len(found):
            raise InputError(f"y has shape {labels.shape}; give a class for each of {len(found)} items")
        return float((found == labels.reshape(-1)).mean())


def _features(x: ArrayLike) -> NDArray[numpy.float64]:
    try:
        values = numpy.asarray(x, numpy.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"x holds what is no number: {error}") from error
    if values.ndim != 2 or not values.size:
        raise InputError(f"x has shape {values.shape}; give (items, features), with at least one item")
    if not numpy.isfinite(values).all():
        raise InputError("x has a value that is NaN or infinite; numpy.isfinite finds it")
    return values


def _targets(y: ArrayLike) -> NDArray[numpy.float64]:
    try:
        return numpy.asarray(y, numpy.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"y holds what is no number: {error}") from error


def _softmax_regression(
    x: NDArray[Any], y: NDArray[Any], c: float, steps: int
) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Weights `[classes, features]`, intercepts and the number of steps, by L-BFGS (Nocedal 1980) on standardized x."""
    mean = x.mean(axis=0)
    deviation = x.std(axis=0)
    deviation[deviation == 0] = 1.0
    z = numpy.concatenate([(x - mean) / deviation, numpy.ones((len(x), 1))], axis=1)
    # The penalty is that of the weights of x itself.
    penalty = numpy.append(1 / (c * deviation**2), 0.0)

    def value(theta: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        logits = z @ theta.T
        logits = logits - logits.max(axis=1, keepdims=True)
        p = numpy.exp(logits)
        total = p.sum(axis=1, keepdims=True)
        loss = (numpy.log(total[:, 0]) - (logits * y).sum(axis=1)).sum() + 0.5 * (penalty * theta**2).sum()
        return float(loss), (p / total - y).T @ z + penalty * theta

    theta = numpy.zeros((y.shape[1], z.shape[1]))
    loss, gradient = value(theta)
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    step = 0
    for step in range(1, steps + 1):
        direction = -_two_loops(gradient, pairs)
        rate, slope = 1.0, float((direction * gradient).sum())
        while True:
            after, gradient_after = value(theta + rate * direction)
            if after <= loss + 1e-4 * rate * slope or rate < 1e-10:
                break
            rate /= 2
        moved, turned = rate * direction, gradient_after - gradient
        if (moved * turned).sum() > 1e-12:
            pairs = [*pairs[-9:], (moved, turned)]
        theta, loss, gradient = theta + moved, after, gradient_after
        if numpy.abs(gradient).max() < 1e-5 * len(x):
            break
    weights = theta[:, :-1] / deviation
    return weights, theta[:, -1] - weights @ mean, step


def _two_loops(gradient: NDArray[Any], pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> NDArray[Any]:
    q = gradient.copy()
    factors = []
    for moved, turned in reversed(pairs):
        factor = (moved * q).sum() / (moved * turned).sum()
        q -= factor * turned
        factors.append(factor)
    if pairs:
        moved, turned = pairs[-1]
        q *= (moved * turned).sum() / (turned * turned).sum()
    for (moved, turned), factor in zip(pairs, reversed(factors)):
        q += moved * (factor - (turned * q).sum() / (moved * turned).sum())
    return q
