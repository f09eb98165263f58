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

import importlib
import inspect
import warnings
from typing import Any, Optional, TypeVar, Union

import numpy
from numpy.typing import ArrayLike, NDArray

from . import _onnx
from ._arguments import number, whole
from ._plan import Plan, compile
from ._sides import Device, Pipeline, _Secret
from .errors import InputError, RangeWarning

__all__ = ["EncryptedLinearRegression", "EncryptedLogisticRegression"]

COARSE = 0.1
"""Roundings that are a larger part of the targets' deviation are warned about."""
CALIBRATION = 1 << 18
"""Most numbers that a plan is calibrated with, and the least items."""
LEAST_ITEMS = 32
TOLERANCE = 2e-5
"""Largest gradient, for each root of the number of items, at which logistic regression ends."""

Self = TypeVar("Self", bound="_Estimator")


class _Estimator(_Secret):
    """What both estimators share: parameters, checks, and the pipeline that `predict` makes at its first call."""

    _pipeline: Optional[Pipeline] = None
    _estimator_type: str

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

    def __sklearn_tags__(self) -> Any:
        """Tags by which scikit-learn's pipelines and searches know the kind of an estimator."""
        utils = importlib.import_module("sklearn.utils")
        kind = self._estimator_type
        return utils.Tags(
            estimator_type=kind,
            target_tags=utils.TargetTags(required=True, multi_output=kind == "regressor", single_output=True),
            classifier_tags=utils.ClassifierTags() if kind == "classifier" else None,
            regressor_tags=utils.RegressorTags() if kind == "regressor" else None,
            input_tags=utils.InputTags(),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "plan_")

    def _compiled(self, weights: NDArray[Any], bias: NDArray[Any], x: NDArray[Any], end: str = "") -> None:
        model = _onnx.dense(weights, bias, end, type(self).__name__)
        batch = self.batch  # type: ignore[attr-defined]
        device = self.device  # type: ignore[attr-defined]
        most = max(LEAST_ITEMS, CALIBRATION // (x.shape[1] * (whole("batch", batch) or 1)))
        items = _extreme_items(x, x @ weights.T + bias, most)
        self.plan_ = compile(model, calibration=items, batch=batch, device=device)
        self._pipeline = None

    def _remember(self, x: ArrayLike, values: NDArray[Any]) -> None:
        self.n_features_in_ = values.shape[1]
        names = _names(x)
        if names is not None:
            self.feature_names_in_ = numpy.array(names, object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _scores(self, x: ArrayLike) -> NDArray[Any]:
        # An estimator that is not fitted says so before it looks at its input.
        pipeline = self.pipeline
        names = _names(x)
        fitted = getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and names != list(fitted):
            raise InputError(f"x has the columns {', '.join(names)}, and fit had {', '.join(fitted)}; give these, in this order")
        return pipeline(_features(x))


class EncryptedLinearRegression(_Estimator):
    """Ridge regression: least squares with a penalty of `alpha` times the squared weights, not the intercept.

    `batch` items share ciphertexts; `device` and `threads` are as for `pleura.Pipeline`. After `fit`, `coef_` and
    `intercept_` are those of scikit-learn's `Ridge`. Features and targets may have any offset and unit: the client brings
    them to those that ciphertexts hold best.

    >>> import numpy
    >>> from pleura.linear import EncryptedLinearRegression
    >>> x = numpy.random.default_rng(0).normal(size=(100, 3))
    >>> model = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(x, x @ [1.0, -2.0, 0.5] + 3)
    >>> bool(numpy.abs(model.predict(x[:5]) - (x[:5] @ [1.0, -2.0, 0.5] + 3)).max() < 0.05)
    True
    """

    _estimator_type = "regressor"

    def __init__(
        self, alpha: float = 1.0, batch: int = 1, device: Device = "auto", threads: Optional[int] = None
    ) -> None:
        self.alpha = alpha
        self.batch = batch
        self.device = device
        self.threads = threads

    def fit(self, x: ArrayLike, y: ArrayLike) -> EncryptedLinearRegression:
        """Learns from `x`, `[items, features]`, and `y`, `[items]` or `[items, targets]`, in plaintext."""
        values = _features(x)
        y = _targets(y)
        if y.ndim not in (1, 2) or len(y) != len(values) or not y.size:
            raise InputError(f"y has shape {y.shape}; give one target, or a row of them, for each of {len(values)} items")
        if not 0 <= _number("alpha", self.alpha) < numpy.inf:
            raise InputError(f"alpha must be finite and not negative, and is {self.alpha}")
        targets = y.reshape(len(y), -1)
        weights, bias = _ridge_regression(values, targets, float(self.alpha))
        self.coef_ = weights if y.ndim == 2 else weights[0]
        self.intercept_ = bias if y.ndim == 2 else bias[0]
        self._remember(x, values)
        self._compiled(weights, bias, values)
        self._warn_of_rounding(targets)
        return self

    def _warn_of_rounding(self, targets: NDArray[Any]) -> None:
        deviation = targets.std(axis=0)
        varied = deviation > 8 * numpy.finfo(float).eps * numpy.abs(targets).max(axis=0)
        rounding = self.plan.roundings
        coarse = numpy.flatnonzero(varied & (rounding > COARSE * deviation))
        if coarse.size:
            worst = coarse[(rounding[coarse] / deviation[coarse]).argmax()]
            warnings.warn(
                f"predictions are rounded to multiples of {rounding[worst]:g}, and targets deviate by {deviation[worst]:.3g} "
                "from their mean: predictions say little about them; subtract the mean from y and scale targets alike, or "
                "leave out features that nearly repeat others",
                RangeWarning,
                stacklevel=3,
            )

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Targets of `x`, `[items, features]`, computed on ciphertexts."""
        scores = self._scores(x)
        return scores if self.coef_.ndim == 2 else scores[:, 0]

    def score(self, x: ArrayLike, y: ArrayLike) -> float:
        """Coefficient of determination of the encrypted predictions, the mean of those of all targets."""
        y = _targets(y)
        found = self.predict(x)
        if y.size != found.size or len(y) != len(found):
            raise InputError(f"y has shape {y.shape}, and predictions have {found.shape}; give a target for each of them")
        y, found = y.reshape(len(found), -1), found.reshape(len(found), -1)
        residual = ((y - found) ** 2).sum(axis=0)
        total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
        if (total <= len(y) * (8 * numpy.finfo(float).eps * numpy.abs(y).max(axis=0)) ** 2).any():
            raise InputError("a target is the same for all items; a coefficient of determination needs targets that differ")
        return float((1 - residual / total).mean())


class EncryptedLogisticRegression(_Estimator):
    """Multinomial logistic regression with a penalty of `1 / (2 C)` times the squared weights, not the intercepts.

    It has a score for each class, and the client takes their softmax. `batch` items share ciphertexts; `device` and
    `threads` are as for `pleura.Pipeline`. Features may have any offset and unit.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        C: float = 1.0,
        max_iter: int = 1000,
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
        values = _features(x)
        labels = _labels(y)
        if labels.ndim != 1 or len(labels) != len(values):
            raise InputError(f"y has shape {labels.shape}; give a class for each of {len(values)} items")
        try:
            classes, index = numpy.unique(labels, return_inverse=True)
        except TypeError as error:
            raise InputError("y mixes classes of several types; give all of them as text, or all as numbers") from error
        if len(classes) < 2:
            raise InputError("y has one class; give items of at least two")
        if not _number("C", self.C) > 0:
            raise InputError(f"C must be positive, and is {self.C}")
        if not whole("max_iter", self.max_iter):
            raise InputError(f"max_iter must be at least 1, and is {self.max_iter}")
        one_hot = numpy.eye(len(classes))[index]
        weights, bias, steps = _softmax_regression(values, one_hot, float(self.C), int(self.max_iter))
        self.n_iter_ = min(steps, int(self.max_iter))
        if steps > self.max_iter:
            warnings.warn(
                f"the weights did not settle in {self.max_iter} steps; raise max_iter, or lower C for classes that features "
                "separate",
                RuntimeWarning,
                stacklevel=2,
            )
        self.classes_ = classes
        self.coef_ = weights
        self.intercept_ = bias
        self._remember(x, values)
        self._compiled(weights, bias, values, "Softmax")
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
        labels = _labels(y)
        found = self.predict(x)
        if labels.size != found.size or len(labels) != len(found):
            raise InputError(f"y has shape {labels.shape}; give a class for each of {len(found)} items")
        if not numpy.isin(labels, self.classes_).any():
            raise InputError(f"y has no class that fit had, which are {', '.join(map(str, self.classes_))}")
        return float((found == labels.reshape(-1)).mean())


def _features(x: ArrayLike) -> NDArray[numpy.float64]:
    values = _floats("x", x)
    if values.ndim != 2 or not values.size:
        raise InputError(f"x has shape {values.shape}; give (items, features), with at least one item")
    return values


def _targets(y: ArrayLike) -> NDArray[numpy.float64]:
    return _floats("y", y)


def _floats(name: str, values: ArrayLike) -> NDArray[numpy.float64]:
    """Finite numbers; what is text, complex or a time, and missing values, is refused."""
    array = _array(name, values)
    if array.dtype.kind not in "biufO":
        raise InputError(f"{name} holds no numbers but {array.dtype}; give float64, as x.astype(float) makes it")
    if array.dtype.kind == "O" and any(isinstance(value, (str, bytes)) for value in array.flat):
        raise InputError(f"{name} holds no numbers but text; encode categories as numbers first")
    try:
        numbers = numpy.asarray(array, numpy.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} holds what is no number: {error}") from error
    if not numpy.isfinite(numbers).all():
        place = tuple(int(i) for i in numpy.argwhere(~numpy.isfinite(numbers))[0])
        raise InputError(f"{name}{list(place)} is {numbers[place]}; leave out or fill in what is NaN or infinite")
    return numbers


def _labels(y: ArrayLike) -> NDArray[Any]:
    """Classes, of which none is missing."""
    labels = _array("y", y)
    if any(_is_missing(label) for label in labels.flat):
        raise InputError("y has a class that is missing (NaN or None); leave such items out")
    return labels


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:
        # `pandas.NA` is neither equal to itself nor not.
        return True


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    if numpy.ma.is_masked(values):
        raise InputError(f"{name} has values that are masked; leave out or fill in such items")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    if hasattr(values, "toarray"):
        raise InputError(f"{name} is sparse; give {name}.toarray()")
    try:
        return numpy.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is no array: {error}") from error


def _names(x: Any) -> Optional[list[str]]:
    """Names of the columns of a data frame, if all are text."""
    names = list(getattr(x, "columns", []))
    return names if names and all(isinstance(name, str) for name in names) else None


def _number(name: str, value: Any) -> Union[int, float]:
    found = number(name, value)
    if found is None:
        raise InputError(f"{name} must be a number, not None")
    return found


def _extreme_items(x: NDArray[Any], scores: NDArray[Any], most: int) -> NDArray[Any]:
    """At most so many items of `x`: those with the least and the greatest scores and features, and the first ones."""
    if len(x) <= most:
        # Offsets are taken from no fewer items.
        return numpy.resize(x, (max(len(x), LEAST_ITEMS), x.shape[1]))
    if 2 * (x.shape[1] + scores.shape[1]) <= most // 2:
        rows = [f(values, axis=0) for values in (scores, x) for f in (numpy.argmin, numpy.argmax)]
    else:
        rows = [numpy.argsort(-numpy.abs(_moments(values)[2]).max(axis=1))[: most // 4] for values in (scores, x)]
    extreme = numpy.unique(numpy.concatenate(rows))
    items: NDArray[Any] = x[numpy.union1d(extreme, numpy.arange(most - len(extreme)))]
    return items


def _moments(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Means and deviations of columns, and the columns standardized: zeros and deviation 1 where only roundings differ."""
    # Around an item, since sums of large offsets are rounded.
    mean = x[0] + (x - x[0]).mean(axis=0)
    centred = x - mean
    deviation = numpy.sqrt((centred**2).mean(axis=0))
    constant = numpy.ptp(x, axis=0) <= 8 * numpy.finfo(float).eps * numpy.abs(x).max(axis=0)
    deviation = numpy.where(constant, 1.0, deviation)
    return mean, deviation, numpy.where(constant, 0.0, centred / deviation)


def _ridge_regression(x: NDArray[Any], y: NDArray[Any], alpha: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights `[targets, features]` and intercepts, by least squares on columns of length one, those of the penalty included."""
    mean, deviation, z = _moments(x)
    target, spread, standard = _moments(y)
    # The penalty is that of the weights of x itself.
    penalty = numpy.sqrt(alpha) / deviation
    size = numpy.hypot(numpy.linalg.norm(z, axis=0), penalty)
    size[size == 0] = 1.0
    left = numpy.concatenate([z / size, numpy.diag(penalty / size)])
    right = numpy.concatenate([standard, numpy.zeros((x.shape[1], y.shape[1]))])
    weights = numpy.linalg.lstsq(left, right, rcond=None)[0].T * spread[:, None] / (size * deviation)
    return weights, target - weights @ mean


def _softmax_regression(
    x: NDArray[Any], y: NDArray[Any], c: float, steps: int
) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Weights `[classes, features]`, intercepts and the number of steps, by L-BFGS (Nocedal 1980) on standardized x.

    More steps than were allowed say that the gradient did not vanish.
    """
    mean, deviation, standard = _moments(x)
    z = numpy.concatenate([standard, numpy.ones((len(x), 1))], axis=1)
    # The penalty is that of the weights of x itself.
    penalty = numpy.append(1 / (c * deviation**2), 0.0)
    # Weights times these have curvatures of about one: penalties may differ by many orders of magnitude.
    size = numpy.sqrt(len(x) / 4 + penalty)

    def value(scaled: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        theta = scaled / size
        logits = z @ theta.T
        logits = logits - logits.max(axis=1, keepdims=True)
        p = numpy.exp(logits)
        total = p.sum(axis=1, keepdims=True)
        loss = (numpy.log(total[:, 0]) - (logits * y).sum(axis=1)).sum() + 0.5 * (penalty * theta**2).sum()
        return float(loss), ((p / total - y).T @ z + penalty * theta) / size

    theta = numpy.zeros((y.shape[1], z.shape[1]))
    loss, gradient = value(theta)
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = []
    step = 0
    while numpy.abs(gradient).max() >= TOLERANCE * numpy.sqrt(len(x)):
        step += 1
        if step > steps:
            break
        direction = -_two_loops(gradient, pairs)
        rate, slope = 1.0, float((direction * gradient).sum())
        while True:
            after, gradient_after = value(theta + rate * direction)
            if after <= loss + 1e-4 * rate * slope or rate < 1e-10:
                break
            rate /= 2
        moved, turned = rate * direction, gradient_after - gradient
        if (moved * turned).sum() > 1e-12 * (moved**2).sum():
            pairs = [*pairs[-9:], (moved, turned)]
        theta, loss, gradient = theta + moved, after, gradient_after
    theta = theta / size
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
