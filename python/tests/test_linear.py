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
    with pytest.warns(pleura.RangeWarning, match="rounded to multiples of 256"):
        EncryptedLinearRegression(device="cpu").fit(X, 1e6 + y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EncryptedLinearRegression(device="cpu").fit(X, y)
        EncryptedLinearRegression(device="cpu").fit(X, numpy.full(len(X), 3.0))


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
