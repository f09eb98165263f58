"""Client and server apart."""

import pickle

import numpy
import pytest

import pleura


def test_bytes_go_around(client, session, pipeline, items):
    sent = client.encrypt(items[:3])
    assert isinstance(sent, bytes)
    result = client.decrypt(session.infer(sent))
    assert result.shape == (3, 2) and numpy.abs(result - pipeline(items[:3])).max() < 1e-2


def test_ciphertexts_differ_each_time(client, items):
    assert client.encrypt(items[:1]) != client.encrypt(items[:1])


def test_groups_share_ciphertexts(prepare, items):
    alone = pleura.compile(prepare.model, items)
    plan = pleura.compile(prepare.model, items, batch=4)
    client = pleura.Client(plan.client)
    assert client.batch == 4 and client.input_shape == (1, 28, 28)
    session = pleura.Server(plan.server, device="cpu").open_session(client.evaluation_keys())
    sent = client.encrypt(items[:5])
    assert len(sent) < 3 * len(pleura.Client(alone.client).encrypt(items[:1]))
    result = client.decrypt(session.infer(sent))
    assert numpy.abs(result - pleura.Pipeline(alone, device="cpu")(items[:5])).max() < 1e-2


def test_a_secret_comes_back(plan, client, session, items):
    received = session.infer(client.encrypt(items[:1]))
    expected = client.decrypt(received)
    for passphrase in (None, "correct horse", b"battery"):
        again = pleura.Client(plan.client, client.secret(passphrase), passphrase)
        assert again.identity == client.identity
        assert (again.decrypt(received) == expected).all()
    sealed = client.secret("correct horse")
    with pytest.raises(pleura.InputError, match="str or bytes"):
        client.secret(12345)
    for passphrase, words in [("wrong", "passphrase"), (None, "passphrase")]:
        with pytest.raises(pleura.InputError, match=words):
            pleura.Client(plan.client, sealed, passphrase)
    with pytest.raises(pleura.InputError, match="protects nothing"):
        client.secret("")


def test_servers_are_pickled(plan, client, items):
    server = pickle.loads(pickle.dumps(pleura.Server(plan.server, device="cpu", threads=1)))
    session = server.open_session(client.evaluation_keys())
    assert client.decrypt(session.infer(client.encrypt(items[:1]))).shape == (1, 2)
    pickled = pickle.dumps(server)
    version = pleura.__version__.encode()
    with pytest.raises(pleura.VersionError, match="compile the model again"):
        pickle.loads(pickled.replace(version, b"9" + version[1:], 1))


def test_server_bytes_hold_no_secret(plan, client):
    secret = client.secret()
    for public in (plan.server, plan.client, client.evaluation_keys()):
        # Any 16 bytes of the seed at the end, before the digest.
        assert secret[-64:-48] not in public and secret[-48:-32] not in public


def test_bytes_of_others_are_refused(prepare, items, plan, client, session):
    other = pleura.Client(plan.client)
    server = pleura.Server(plan.server, device="cpu")
    sent = client.encrypt(items[:1])
    received = session.infer(sent)
    with pytest.raises(pleura.DataError, match="key"):
        other.decrypt(received)
    with pytest.raises(pleura.DataError, match="key"):
        session.infer(other.encrypt(items[:1]))
    strange = pleura.compile(prepare.model, items, security=192)
    with pytest.raises(pleura.DataError, match="plan|parameters"):
        server.open_session(pleura.Client(strange.client).evaluation_keys())
    for wrong in (b"", sent[:-1], sent[:100], received, b"x" * 1000):
        with pytest.raises(pleura.DataError):
            session.infer(wrong)
    for wrong in (b"", received[:-1], sent, b"x" * 1000):
        with pytest.raises(pleura.DataError):
            client.decrypt(wrong)
    for wrong in (b"", plan.client, plan.server[:-1]):
        with pytest.raises(pleura.DataError):
            pleura.Server(wrong, device="cpu")
    for wrong in (b"", plan.server, plan.client[:-1]):
        with pytest.raises(pleura.DataError):
            pleura.Client(wrong)


def test_what_is_no_bytes(plan, client, session):
    for attempt in (session.infer, client.decrypt, pleura.Client, pleura.Server):
        with pytest.raises(pleura.InputError, match="bytes of"):
            attempt("text")


def test_items_are_checked(client, items):
    with pytest.raises(pleura.InputError, match="NaN"):
        client.encrypt(numpy.full_like(items[:1], numpy.nan))
    with pytest.warns(pleura.RangeWarning, match="calibrated"):
        client.encrypt(100 * items[:1])
