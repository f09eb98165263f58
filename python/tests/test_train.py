"""Training of networks that can be encrypted."""

import json

import numpy
import pytest

import pleura

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.filterwarnings("ignore:.*legacy TorchScript.*:DeprecationWarning")

from pleura.train import Quadratic, fit, polynomial  # noqa: E402


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(36, 8),
        torch.nn.GELU(),
        torch.nn.Linear(8, 2),
    )


@pytest.fixture(scope="module")
def examples():
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(600, 1, 14, 14)).astype(numpy.float32)
    y = rng.integers(2, size=600)
    x[y == 1, :, 4:10, 4:10] += 0.8
    return x, y


@pytest.fixture(scope="module")
def trained(examples):
    x, y = examples
    module = network()
    adam = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(60):
        adam.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.from_numpy(x[:500])), torch.from_numpy(y[:500])).backward()
        adam.step()
    return fit(module, (x[:500], y[:500]), validation=(x[500:], y[500:]), steps=120, progress=False)


def test_quadratics_begin_as_the_activation(examples):
    module = network().eval()
    x = torch.from_numpy(examples[0])
    student = polynomial(module, x)
    quadratics = [child for child in student.modules() if isinstance(child, Quadratic)]
    assert len(quadratics) == 2 and quadratics[0].coefficients.shape == (3, 4)
    values = torch.linspace(-1, 1, 50)[:, None] * quadratics[1].deviation + quadratics[1].mean
    quadratics[1].eval().blend = 1.0
    error = (quadratics[1](values) - torch.nn.functional.gelu(values)).abs().max()
    assert error < 0.2 * values.abs().max()
    assert any(isinstance(child, torch.nn.AvgPool2d) for child in student.modules())
    # Both forms of the polynomial agree.
    inside = quadratics[1].train()(values)
    assert (inside - quadratics[1].eval()(values)).abs().max() < 1e-5


def test_the_network_agrees_encrypted(trained, examples):
    x, y = examples
    pipeline = pleura.Pipeline(trained.plan(), device="cpu")
    with torch.no_grad():
        expected = trained.module(torch.from_numpy(x[500:510])).numpy()
    assert numpy.abs(pipeline(x[500:510]) - expected).max() < 0.05
    card = trained.card(x[500:], y[500:], encrypted=20, device="cpu")
    assert [line.split("|")[1].strip() for line in card.splitlines()[2:5]] == ["original", "polynomial", "encrypted"]
    accuracies = [float(line.split("|")[3]) for line in card.splitlines()[2:5]]
    assert accuracies[0] > 0.8 and accuracies[1] > accuracies[0] - 0.1


def test_ranges_are_in_the_file(trained, tmp_path):
    trained.save(tmp_path / "network.onnx")
    model = onnx.load(tmp_path / "network.onnx")
    ranges = json.loads({entry.key: entry.value for entry in model.metadata_props}["pleura.ranges"])
    assert ranges == trained.ranges and len(ranges) > 4 and all(value > 0 for value in ranges.values())
    assert list(tmp_path.iterdir()) == [tmp_path / "network.onnx"]


def test_what_is_refused(examples):
    x, y = examples
    for arguments, words in [
        ((x, y[:-1]), "as many"),
        ((x[:0], y[:0]), "at least one"),
        ((numpy.full_like(x, numpy.nan), y), "NaN"),
    ]:
        with pytest.raises(pleura.InputError, match=words):
            fit(network(), arguments, progress=False)
    with pytest.raises(pleura.InputError, match="at least 10"):
        fit(network(), (x, y), steps=5)
