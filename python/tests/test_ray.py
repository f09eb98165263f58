"""Many machines: workers of Ray Data on this one."""

import os
import pickle

import numpy
import pytest

import pleura

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
pytestmark = pytest.mark.filterwarnings("ignore")

from pleura.ray import EncryptedInference, dataset, decrypt, encrypt, read_parquet, run  # noqa: E402


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def dying():
    """A class of workers of which one is killed at its third row; a local class is shipped as a whole."""

    class Dying(EncryptedInference):
        def __init__(self, marker, **kwargs):
            super().__init__(**kwargs)
            self._marker = marker
            self._seen = 0

        def __call__(self, batch):
            self._seen += 1
            if self._seen == 3 and not os.path.exists(self._marker):
                open(self._marker, "w").close()
                os._exit(1)
            return super().__call__(batch)

    return Dying


def test_workers_compute_what_the_pipeline_computes(cluster, plan, client, pipeline, items, tmp_path):
    names = [sample.name for sample in pleura.samples()]
    scores = run(plan, client, items, names, concurrency=2, output=str(tmp_path / "out"))
    assert numpy.abs(scores - pipeline(items)).max() < 1e-2
    written = ray.data.read_parquet(str(tmp_path / "out")).to_pandas()
    assert sorted(written["name"]) == sorted(names)


def test_no_row_is_lost_or_doubled_when_a_worker_dies(cluster, plan, client, pipeline, items, tmp_path):
    marker = tmp_path / "killed"
    table = encrypt(client, items)
    kwargs = {"plan": ray.put(plan.server), "keys": ray.put(client.evaluation_keys()), "marker": str(marker)}
    pool = ray.data.ActorPoolStrategy(size=2)
    results = dataset(table).map_batches(dying(), fn_constructor_kwargs=kwargs, batch_size=1, compute=pool)
    scores, _ = decrypt(client, results)
    assert marker.exists()
    assert numpy.abs(scores - pipeline(items)).max() < 1e-2


def test_workers_get_no_secret(plan, client, items):
    from ray import cloudpickle

    secret = client.secret()
    keys = client.evaluation_keys()
    table = encrypt(client, items[:3])
    shipped = [
        cloudpickle.dumps((EncryptedInference, {"plan": plan.server, "keys": keys})),
        pickle.dumps(table),
        *table.column("ciphertexts").to_pylist(),
    ]
    # The secret key is the 32 bytes of a seed, before the digest at the end of its file.
    seed = secret[-64:-32]
    assert len(set(seed)) > 8
    for part in shipped:
        assert all(seed[at : at + 8] not in part for at in range(0, 32, 8))
        assert items[0].astype(numpy.float64).tobytes()[1600:1640] not in part
    with pytest.raises(pleura.SecretError):
        cloudpickle.dumps((EncryptedInference, {"plan": plan.server, "client": client}))


def test_missing_and_doubled_rows_are_refused(client, session, items):
    import pyarrow

    table = encrypt(client, items[:3], ["a", "b", "c"])
    rows = table.to_pylist()
    for row in rows:
        row["results"] = session.infer(row.pop("ciphertexts"))
    scores, names = decrypt(client, pyarrow.Table.from_pylist(rows[::-1]))
    assert names == ["a", "b", "c"] and scores.shape == (3, 2)
    for wrong, words in [
        (rows[:2], "2 items and not of 3"),
        (rows[1:], "item 0 are missing"),
        ([rows[0], rows[2]], "item 1 are missing"),
        ([*rows, rows[1]], "twice"),
    ]:
        with pytest.raises(pleura.DataError, match=words):
            decrypt(client, pyarrow.Table.from_pylist(wrong))
    with pytest.raises(pleura.DataError):
        decrypt(pleura.Client(client.spec), pyarrow.Table.from_pylist(rows))


def test_tables_are_checked(client, items):
    with pytest.raises(pleura.InputError, match="names"):
        encrypt(client, items[:3], ["a"])
    with pytest.raises(pleura.InputError, match="at least one"):
        encrypt(client, items[:0])


def test_items_come_from_parquet(items, tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "items.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"x": [item.ravel().tolist() for item in items[:4]]}), path)
    assert (numpy.stack(list(read_parquet(str(path), "x", (1, 28, 28)))) == items[:4]).all()
    with pytest.raises(pleura.InputError, match="numbers"):
        list(read_parquet(str(path), "x", (1, 28, 27)))
