"""Estimators in the style of scikit-learn."""

import pickle
import warnings

import numpy
import pytest

import pleura
from pleura.linear import EncryptedLinearRegression, EncryptedLogisticRegression

RNG = numpy.random.default_rng(3)
X = RNG.normal(size=(300, 6)) * [1, 2, 5, 0.1, 1, 1] + [0, 1, -3, 0, 0, 2]
CLASSES = numpy.array(["a", "b", "c"])[(X[:, :3] / [1, 2, 5]).argmax(axis=1)]


def test_linear_models_predict_encrypted():
    y = X @ [1.0, -0.5, 0.1, 2.0, 0.0, 0.3] + 1 + 0.01 * RNG.normal(size=len(X))
    model = EncryptedLinearRegression(alpha=0.1, device="cpu").fit(X, y)
    plain = X[:20] @ model.coef_ + model.intercept_
    assert numpy.abs(model.predict(X[:20]) - plain).max() < 0.05
    assert model.score(X[:50], y[:50]) > 0.99 and model.pipeline.fidelity.bits > 8
    many = EncryptedLinearRegression(batch=8, device="cpu").fit(X, numpy.stack([y, -y], axis=1))
    assert many.predict(X[:20]).shape == (20, 2) and many.coef_.shape == (2, 6)


def test_logistic_models_predict_encrypted():
    model = EncryptedLogisticRegression(device="cpu", batch=4).fit(X, CLASSES)
    assert model.score(X[:60], CLASSES[:60]) > 0.93
    probabilities = model.predict_proba(X[:5])
    assert probabilities.shape == (5, 3) and numpy.abs(probabilities.sum(axis=1) - 1).max() < 1e-9


def test_models_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    y = X @ numpy.arange(6.0) + RNG.normal(size=len(X))
    ours = EncryptedLinearRegression(alpha=2.0, device="cpu").fit(X, y)
    theirs = sklearn.Ridge(alpha=2.0).fit(X, y)
    assert numpy.abs(ours.coef_ - theirs.coef_).max() < 1e-6
    theirs = sklearn.LogisticRegression(max_iter=5000, tol=1e-8).fit(X, CLASSES)
    ours = EncryptedLogisticRegression(max_iter=500, device="cpu").fit(X, CLASSES)
    assert (ours.predict(X[:50]) == theirs.predict(X[:50])).mean() > 0.97
    from sklearn.base import clone

    assert clone(ours).get_params() == ours.get_params()


def test_scores_compare_each_prediction_with_its_target():
    y = X @ numpy.arange(6.0)
    model = EncryptedLinearRegression(device="cpu").fit(X, y)
    assert model.score(X[:20], y[:20, None]) == pytest.approx(model.score(X[:20], y[:20]), abs=1e-3)
    # One target is predicted exactly and the other not at all, where the first deviates much more.
    noise = RNG.normal(size=len(X))
    many = EncryptedLinearRegression(device="cpu").fit(X, numpy.stack([y, noise], axis=1))
    found = many.predict(X)
    each = [1 - ((t - p) ** 2).sum() / ((t - t.mean()) ** 2).sum() for t, p in zip((y, noise), found.T)]
    assert many.score(X, numpy.stack([y, noise], axis=1)) == pytest.approx(sum(each) / 2, abs=0.02)
    classes = EncryptedLogisticRegression(device="cpu").fit(X, CLASSES)
    assert classes.score(X[:20], CLASSES[:20, None]) == classes.score(X[:20], CLASSES[:20])
    for model, targets in [(model, y), (classes, CLASSES)]:
        for wrong in (targets[:1], targets[:19], numpy.stack([targets[:20]] * 2, axis=1)):
            with pytest.raises(pleura.InputError, match="y has shape"):
                model.score(X[:20], wrong)


def test_roundings_that_hide_the_targets_are_warned_of():
    y = X @ numpy.arange(6.0)
    with pytest.warns(pleura.RangeWarning, match="rounded to multiples of"):
        EncryptedLinearRegression(device="cpu").fit(X, 1e12 + y / 100)
    # A feature that nearly repeats another one: their weights are large, and cancel.
    repeated = numpy.concatenate([X, X[:, :1] + 1e-9 * RNG.normal(size=(len(X), 1))], axis=1)
    exact = pytest.warns(pleura.RangeWarning, match="exact to -?[0-9.]+ bits")
    with exact, pytest.warns(pleura.RangeWarning, match="rounded to multiples of"):
        lost = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(repeated, y + RNG.normal(size=len(X)))
    # The roundings are as coarse as the errors, which would be noise of the key.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lost.predict(repeated[:40])
    error = numpy.abs(found - repeated[:40] @ lost.coef_ - lost.intercept_).max()
    assert lost.plan.report()["predicted_bits"] < 5 and error < 4 * lost.plan.rounding
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EncryptedLinearRegression(device="cpu").fit(X, y)
        EncryptedLinearRegression(device="cpu").fit(X, 1e6 + y)
        EncryptedLinearRegression(device="cpu").fit(X, numpy.full(len(X), 3.0))


OFFSETS = [
    # Spreads and offsets of features and of the target: a year, seconds since 1970, pressures in Pa, units that differ.
    ([10, 1, 1], [2000, 0, 0], 1, 0),
    ([1e4, 1, 5], [1.7e9, 0, 2e4], 1, 0),
    ([2e3, 1, 1e-6], [1.6e4, -3e3, 1e-5], 5, 1e6),
    ([1e-6, 1e6, 1], [0, 0, 0], 1e-4, 3e2),
]


@pytest.mark.parametrize("spreads, offsets, size, offset", OFFSETS)
@pytest.mark.parametrize("batch", [1, 4])
def test_offsets_and_units_cost_no_precision(spreads, offsets, size, offset, batch):
    z = numpy.random.default_rng(1).normal(size=(200, 3))
    x = z * spreads + offsets
    y = size * (z @ [1.0, -0.5, 0.7]) + offset
    model = EncryptedLinearRegression(alpha=0.0, batch=batch, device="cpu").fit(x, y)
    assert numpy.abs(x @ model.coef_ + model.intercept_ - y).max() < 1e-3 * size
    assert model.plan.roundings[0] <= 0.03 * y.std()
    assert numpy.abs(model.predict(x[:40]) - y[:40]).max() < 1.1 * model.plan.roundings[0] + 1e-3 * size
    exact = model.pipeline(x[:40], insecure_exact_results=True)[:, 0]
    assert numpy.abs(exact - y[:40]).max() < 1e-3 * size
    # The client has the offsets, and the server none of them.
    client = pleura.Client(model.plan.client)
    session = pleura.Server(model.plan.server, device="cpu").open_session(client.evaluation_keys())
    apart = client.decrypt(session.infer(client.encrypt(x[:8])))
    assert numpy.abs(apart[:, 0] - model.predict(x[:8])).max() <= 1.1 * model.plan.roundings[0]
    classes = EncryptedLogisticRegression(C=1e9, max_iter=1000, batch=batch, device="cpu").fit(x, y + size * z[:, 0] ** 2 > offset)
    logits = x @ classes.coef_.T + classes.intercept_
    p = 1 / (1 + numpy.exp(logits[:, 0] - logits[:, 1]))
    assert numpy.abs(classes.predict_proba(x[:40])[:, 1] - p[:40]).max() <= classes.plan.rounding


def test_targets_have_units_of_their_own():
    x = RNG.normal(size=(200, 4))
    y = numpy.stack([1e6 * x[:, 0], 1e-6 * x[:, 1], 5 + x[:, 2], numpy.full(200, 7.0)], axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(x, y)
    error = numpy.abs(model.predict(x[:40]) - y[:40]).max(axis=0)
    assert (error <= 1.1 * model.plan.roundings).all() and model.plan.rounding == model.plan.roundings.max()
    assert (error[:3] < 0.02 * y.std(axis=0)[:3]).all() and error[3] < 0.01


def test_values_far_from_an_offset_are_warned_of():
    x = RNG.normal(size=(100, 2)) + [2000, 0]
    model = EncryptedLinearRegression(device="cpu").fit(x, 1e6 + x.sum(axis=1))
    client = pleura.Client(model.plan.client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(x)
        client.encrypt(x)
    with pytest.warns(pleura.RangeWarning, match="x is .* away from"):
        model.predict(x + [100, 0])
    with pytest.warns(pleura.RangeWarning, match=r"reaches 2\.[01]\d+e3, but inputs were calibrated from 1\.\d+e3 to 2\.\d+e3"):
        client.encrypt(x + [100, 0])


def test_constant_and_repeated_features():
    x = numpy.stack([RNG.normal(size=100), numpy.full(100, 0.1), numpy.full(100, 2024.0), numpy.zeros(100)], axis=1)
    x = numpy.concatenate([x, 1e-7 * x[:, :1], 1e-15 * RNG.normal(size=(100, 1))], axis=1)
    y = 3 * x[:, 0] - 2
    for alpha in (0.0, 1.0):
        model = EncryptedLinearRegression(alpha=alpha, device="cpu").fit(x, y)
        assert numpy.abs(model.coef_[1:4]).max() < 1e-12
        # The gradient of half of the loss vanishes.
        residual = x @ model.coef_ + model.intercept_ - y
        gradient = residual @ (x - x.mean(axis=0)) + alpha * model.coef_
        assert (numpy.abs(gradient) < 1e-9 * len(x) * numpy.maximum(1e-3, x.std(axis=0))).all()
        later = x[:8] + [0, 0.1, 1, 1, 0, 0]
        plain = later @ model.coef_ + model.intercept_
        assert numpy.abs(plain - y[:8]).max() < 0.1
        assert numpy.abs(model.predict(later) - plain).max() <= 1.1 * model.plan.rounding


def test_models_in_pipelines_of_scikit_learn():
    pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = X * [1e-6, 1e6, 1, 1, 1, 1]
    y = X @ numpy.arange(6.0)
    assert make_pipeline(StandardScaler(), EncryptedLinearRegression(device="cpu")).fit(x, y).score(x[:50], y[:50]) > 0.99
    search = GridSearchCV(EncryptedLogisticRegression(device="cpu"), {"C": [0.1, 1.0]}, cv=2).fit(X, CLASSES)
    assert search.best_score_ > 0.8
    assert len(cross_val_score(EncryptedLogisticRegression(device="cpu"), X, CLASSES, cv=2)) == 2


def test_ill_conditioned_features_reach_the_optimum():
    """The gradient of the loss, by its formula, vanishes at the weights of features whose penalties differ by many orders of magnitude."""
    x = X * [1e-5, 1e5, 1, 1e-2, 30, 1] + [0, 1e7, 0, 0, 0, 0]
    model = EncryptedLogisticRegression(C=1.0, max_iter=300, device="cpu").fit(x, CLASSES)
    logits = x @ model.coef_.T + model.intercept_
    p = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    residual = p / p.sum(axis=1, keepdims=True) - (CLASSES[:, None] == model.classes_)
    gradient = residual.T @ (x - x.mean(axis=0)) + model.coef_
    assert (numpy.abs(gradient) < 1e-3 * numpy.sqrt(len(x)) * numpy.maximum(1, x.std(axis=0))).all()
    with pytest.warns(RuntimeWarning, match="did not settle in 2 steps"):
        assert EncryptedLogisticRegression(max_iter=2, device="cpu").fit(X, CLASSES).n_iter_ == 2


@pytest.mark.parametrize("features", [4, 40])
def test_plans_are_calibrated_with_extreme_items(monkeypatch, features):
    """Only 40 of 300 items are taken: those that reach furthest are among them."""
    monkeypatch.setattr("pleura.linear.CALIBRATION", 40 * features)
    x = numpy.random.default_rng(2).normal(size=(300, features))
    x[200, 1], x[201, 2], x[202, 0] = 3e3, -4e4, -500.0
    y = x @ numpy.linspace(1, 2, features)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(x, y)
        found = model.predict(x[190:210])
    assert numpy.abs(found - y[190:210]).max() <= 1.1 * model.plan.rounding


class Frame:
    """A table with names of columns, such as a data frame of pandas."""

    def __init__(self, values, columns):
        self.values = values
        self.columns = columns

    def __array__(self, dtype=None, copy=None):
        return numpy.array(self.values, dtype)


def test_arrays_in_all_forms_give_one_model():
    y = X @ numpy.arange(6.0)
    whole = numpy.round(10 * X)
    expected = EncryptedLinearRegression(device="cpu").fit(whole, y).coef_
    for form in (whole.astype(numpy.int16), whole.astype(numpy.float32), numpy.asfortranarray(whole), whole.tolist(), Frame(whole, list("abcdef"))):
        model = EncryptedLinearRegression(device="cpu").fit(form, y)
        assert numpy.abs(model.coef_ - expected).max() < 1e-9
        assert numpy.abs(model.predict(form)[:20] - whole[:20] @ expected - model.intercept_).max() <= 1.1 * model.plan.rounding
    with pytest.raises(pleura.InputError, match="b, a, c, d, e, f, and fit had a, b"):
        model.predict(Frame(whole, list("bacdef")))
    one = EncryptedLinearRegression(alpha=0.0, device="cpu").fit(X[:1], y[:1])
    assert abs(one.predict(X[:1])[0] - y[0]) <= 1.1 * one.plan.rounding


@pytest.mark.parametrize("kind", [EncryptedLinearRegression, EncryptedLogisticRegression])
def test_values_that_numpy_would_convert_without_a_word(kind):
    y = numpy.arange(300) % 2
    model = kind(device="cpu").fit(X, y)
    hidden = numpy.ma.masked_array(X, numpy.arange(6) == numpy.arange(6)[:, None].repeat(50, axis=0))
    days = numpy.arange(1800).reshape(300, 6).astype("datetime64[D]")
    for x, words in [
        (hidden, "masked"),
        (X.astype(str), "no numbers"),
        (X.astype(str).astype(object), "text"),
        (X + 1j, "complex"),
        (days, "datetime"),
        (numpy.where(X == X[7, 2], numpy.inf, X), r"x\[7, 2\] is inf"),
        ([[1.0, 2.0], [3.0]], "no array"),
        ([[10**400] * 6], "no number"),
    ]:
        for attempt in (lambda: kind(device="cpu").fit(x, y), lambda: model.predict(x)):
            with pytest.raises(pleura.InputError, match=words):
                attempt()
    missing = y.astype(float)
    missing[3] = numpy.nan
    for wrong in (missing, numpy.ma.masked_array(y, y == 1), numpy.where(y == 1, None, y)):
        for attempt in (lambda: model.fit(X, wrong), lambda: model.score(X, wrong)):
            with pytest.raises(pleura.InputError, match="missing|masked|NaN|nan|no number"):
                attempt()


def test_classes_of_other_kinds_are_refused():
    model = EncryptedLogisticRegression(device="cpu").fit(X, CLASSES)
    with pytest.raises(pleura.InputError, match="no class that fit had"):
        model.score(X, numpy.arange(300) % 3)
    with pytest.raises(pleura.InputError, match="several types"):
        model.fit(X, numpy.array(["a", 1] * 150, object))
    for parameters, words in [({"C": "1"}, "C must be"), ({"C": None}, "C must be"), ({"max_iter": 0}, "max_iter"), ({"max_iter": 1.5}, "max_iter")]:
        with pytest.raises(pleura.InputError, match=words):
            EncryptedLogisticRegression(**parameters, device="cpu").fit(X, CLASSES)
    with pytest.raises(pleura.InputError, match="alpha must be"):
        EncryptedLinearRegression(alpha="1").fit(X, X[:, 0])


def test_apart_it_needs_bytes_only():
    model = EncryptedLogisticRegression(device="cpu").fit(X, CLASSES)
    client = pleura.Client(model.plan.client)
    session = pleura.Server(model.plan.server, device="cpu").open_session(client.evaluation_keys())
    found = client.decrypt(session.infer(client.encrypt(X[:10]))).argmax(axis=1)
    assert (model.classes_[found] == model.predict(X[:10])).all()


@pytest.mark.parametrize("kind", [EncryptedLinearRegression, EncryptedLogisticRegression])
def test_what_is_refused(kind):
    model = kind(device="cpu")
    with pytest.raises(pleura.InputError, match="not fitted"):
        model.predict(X)
    with pytest.raises(pleura.InputError, match="no parameter"):
        model.set_params(gamma=1)
    for x, y, words in [
        (X[0], CLASSES[:1], "items, features"),
        (X[:0], CLASSES[:0], "at least one"),
        (numpy.full_like(X, numpy.nan), numpy.arange(len(X)), "NaN"),
        (X, numpy.arange(3), "shape"),
        ([["a"]], [1], "no number"),
    ]:
        with pytest.raises(pleura.InputError, match=words):
            model.fit(x, y)
    model.fit(X, numpy.arange(len(X)) % 2)
    with pytest.raises(pleura.InputError, match="the network takes"):
        model.predict(X[:, :4])
    with pytest.raises(pleura.SecretError):
        pickle.dumps(model)
    with pytest.raises(pleura.InputError, match="one class"):
        EncryptedLogisticRegression().fit(X, numpy.zeros(len(X)))
    for alpha in (-1, numpy.inf, numpy.nan):
        with pytest.raises(pleura.InputError, match="negative"):
            EncryptedLinearRegression(alpha=alpha).fit(X, X[:, 0])
    with pytest.raises(pleura.InputError, match="no number"):
        EncryptedLinearRegression().fit(X, CLASSES)
