"""The chest X-ray classifier."""

import numpy
import pytest
from conftest import MODELS

import pleura


@pytest.fixture(scope="module")
def classifier():
    return pleura.XrayClassifier("pneumonia", device="cpu")


def test_the_samples_are_classified(classifier):
    predictions = classifier([sample.data for sample in pleura.samples()])
    right = [p.label == s.label for p, s in zip(predictions, pleura.samples())]
    assert sum(right) >= 14
    for prediction in predictions:
        assert set(prediction.probabilities) == {"normal", "pneumonia"}
        assert abs(sum(prediction.probabilities.values()) - 1) < 1e-6
        assert prediction.ood_score < 1


def test_all_forms_of_an_image_agree(classifier, tmp_path):
    sample = pleura.samples()[15]
    path = tmp_path / "chest.jpeg"
    path.write_bytes(sample.data)
    predictions = [classifier(form) for form in (sample.data, path, str(path))]
    assert predictions[1].name == str(path)
    assert max(abs(p.scores[0] - predictions[0].scores[0]) for p in predictions) < 1e-2
    folder = classifier(tmp_path)
    assert isinstance(folder, list) and len(folder) == 1
    pillow = pytest.importorskip("PIL.Image")
    grey = numpy.asarray(pillow.open(path).convert("L"))
    for array in (grey, grey / 255.0, (grey / 255.0).astype(numpy.float32)):
        assert abs(classifier(array).scores[0] - predictions[0].scores[0]) < 0.05
    assert len(classifier(numpy.stack([grey, grey]))) == 2


@pytest.mark.parametrize(
    "image, words",
    [
        ("/no/such/chest.dcm", "cannot read"),
        (b"", "empty"),
        (b"GIF89a", "GIF"),
        (numpy.zeros((300, 300)), "contrast"),
        (numpy.full((300, 300), numpy.nan), "0 .black."),
        (numpy.arange(90000.0).reshape(300, 300), "0 .black."),
        (numpy.zeros((300, 300), numpy.int32), "int32"),
        (numpy.zeros((300, 300), numpy.uint16), "uint16"),
        (numpy.zeros(300, numpy.uint8), "shape"),
        (numpy.zeros((3, 3), numpy.uint8), "at least"),
        (7, "an image is a int"),
    ],
)
def test_images_that_are_refused(classifier, image, words):
    with pytest.raises(pleura.InputError, match=words):
        classifier(image)


def test_networks_that_are_refused(tmp_path):
    with pytest.raises(pleura.ModelError, match="shipped are"):
        pleura.XrayClassifier("pnuemonia")
    with pytest.raises(pleura.ModelError, match="pixel_scaling="):
        pleura.XrayClassifier(MODELS / "reference" / "mlp.onnx", device="cpu")
    assert len(pleura.XrayClassifier(MODELS / "reference" / "mlp.onnx", "cpu", pixel_scaling="unit").classes) == 10
    with pytest.raises(pleura.InputError, match="scaling"):
        pleura.XrayClassifier("pneumonia", pixel_scaling="unit")
    with pytest.raises(pleura.InputError, match="name of a shipped network"):
        pleura.XrayClassifier(7)


def test_preparation_and_classifier_agree(classifier):
    prepare = pleura.XrayPreparation("pneumonia")
    data = [sample.data for sample in pleura.samples()]
    items = prepare(data)
    assert items.shape == (16, 4, 32, 32)
    plan = pleura.compile(prepare.model, calibration=items)
    client = pleura.Client(plan.client)
    session = pleura.Server(plan.server, device="cpu").open_session(client.evaluation_keys())
    scores = client.decrypt(session.infer(client.encrypt(items[:3])))
    ours = prepare.predictions(scores)
    for p, q in zip(ours, classifier(data[:3])):
        assert p.label == q.label
        assert abs(p.probabilities["pneumonia"] - q.probabilities["pneumonia"]) < 1e-2
    with pytest.raises(pleura.InputError, match="at least one"):
        prepare([])
    for wrong in [scores[0], scores[:, :1], numpy.zeros((2, 3)), numpy.float64(0.5)]:
        with pytest.raises(pleura.InputError, match=r"\(images, 2\)"):
            prepare.predictions(wrong)
