"""Encrypted inference on many machines, by Ray Data (`pip install 'pleura[ray]'`).

The driver is the client: it encrypts, and decrypts. Workers get a server plan, evaluation keys and ciphertexts, from
which nobody learns an input or a result. A worker that is lost is started again by Ray, and its rows are computed again;
`decrypt` refuses a result in which a row is missing or there twice.

    ray.init()
    table = pleura.ray.encrypt(client, items, names)
    results = pleura.ray.dataset(table).map_batches(
        pleura.ray.EncryptedInference,
        fn_constructor_kwargs={"plan": ray.put(plan.server), "keys": ray.put(client.evaluation_keys())},
        batch_size=1, compute=ray.data.ActorPoolStrategy(size=8), num_cpus=1,
    )
    scores = pleura.ray.decrypt(client, results)

`run` is all of this in one call. Encrypted tables are Arrow tables, so `ray.data.read_parquet` and `write_parquet` keep
them on disk between the steps.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Iterator, Optional, Sequence

import numpy
from numpy.typing import NDArray

from . import _sides
from ._plan import Plan
from ._sides import Client, Device, Server
from .errors import DataError, InputError

__all__ = ["EncryptedInference", "dataset", "decrypt", "encrypt", "read_parquet", "run"]


class EncryptedInference:
    """Actor of Ray Data's `map_batches`: computes the column `ciphertexts` of each row into the column `results`.

    `plan` is `Plan.server` and `keys` is `Client.evaluation_keys()`, as bytes or as references of `ray.put`, which each
    worker fetches once. `threads` limits the processor; give it `num_cpus` of the actor.
    """

    def __init__(self, plan: Any, keys: Any, device: Device = "cpu", threads: Optional[int] = 1) -> None:
        server = Server(_fetched(plan), device, threads)
        self._session = server.open_session(_fetched(keys))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of rows with their results in place of their ciphertexts."""
        rows = batch.pop("ciphertexts")
        results = numpy.empty(len(rows), object)
        for number, row in enumerate(rows):
            results[number] = self._session.infer(bytes(row))
        return {**batch, "results": results}


def encrypt(client: Client, items: Iterable[NDArray[Any]], names: Optional[Sequence[str]] = None) -> Any:
    """An Arrow table with a row for each group of `client.batch` items: `first`, `count`, `names` and `ciphertexts`.

    `items` is an array `[items, ...]`, or gives items one after the other. Names are not encrypted: leave them out if
    they tell something.
    """
    import pyarrow

    rows: dict[str, list[Any]] = {"first": [], "count": [], "names": [], "ciphertexts": []}
    first = 0
    for group in _groups(items, client.batch):
        rows["first"].append(first)
        rows["count"].append(len(group))
        group_names = [] if names is None else [str(name) for name in names[first : first + len(group)]]
        rows["names"].append(json.dumps(group_names))
        rows["ciphertexts"].append(client.encrypt(numpy.stack(group)))
        first += len(group)
    if not first:
        raise InputError("there is no item; give at least one")
    if names is not None and len(names) != first:
        raise InputError(f"there are {len(names)} names for {first} items; give one for each")
    total = numpy.full(len(rows["first"]), first, numpy.int64)
    return pyarrow.table(
        {
            "first": pyarrow.array(rows["first"], pyarrow.int64()),
            "count": pyarrow.array(rows["count"], pyarrow.int64()),
            "total": pyarrow.array(total),
            "names": pyarrow.array(rows["names"], pyarrow.string()),
            "ciphertexts": pyarrow.array(rows["ciphertexts"], pyarrow.large_binary()),
        }
    )


def dataset(table: Any, rows: int = 1) -> Any:
    """A dataset of Ray with `rows` rows of an encrypted table in each block, which is what a worker takes at a time."""
    import ray.data

    return ray.data.from_arrow([table.slice(at, rows) for at in range(0, len(table), rows)])


def decrypt(client: Client, results: Any) -> tuple[NDArray[Any], list[str]]:
    """Scores `[items, ...]` in the order of the items, and the names, of a dataset or table of results.

    Raises `DataError` if a row is missing, is there twice, or is of another key.
    """
    found: dict[int, tuple[NDArray[Any], list[str]]] = {}
    total: Optional[int] = None
    for row in _rows(results):
        first, count = int(row["first"]), int(row["count"])
        if first in found:
            raise DataError(f"the results of item {first} are there twice; compute them again")
        if total is not None and total != int(row["total"]):
            raise DataError("the results are of several tables; decrypt each by itself")
        total = int(row["total"])
        scores = client.decrypt(bytes(row["results"]))
        if len(scores) != count:
            raise DataError(f"the results of item {first} are of {len(scores)} items and not of {count}")
        found[first] = scores, [str(name) for name in json.loads(row["names"])]
    expected = 0
    for first in sorted(found):
        if first != expected:
            raise DataError(f"the results of item {expected} are missing; compute them again")
        expected += len(found[first][0])
    if total is None or expected != total:
        raise DataError(f"there are results of {expected} items and not of {total or 'any'}; compute them again")
    ordered = [found[first] for first in sorted(found)]
    return numpy.concatenate([scores for scores, _ in ordered]), [name for _, names in ordered for name in names]


def run(
    plan: Plan,
    client: Client,
    items: Iterable[NDArray[Any]],
    names: Optional[Sequence[str]] = None,
    *,
    concurrency: int = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    device: Optional[Device] = None,
    output: Optional[str] = None,
) -> NDArray[Any]:
    """Scores `[items, ...]` of `items`, computed by `concurrency` workers of `num_cpus` processors and `num_gpus` GPUs.

    With `output`, a folder, names and scores are also written there as Parquet.
    """
    import ray
    import ray.data

    if client.spec != plan.client:
        raise InputError("the client is of another plan; make it with pleura.Client(plan.client)")
    table = encrypt(client, items, names)
    kwargs: dict[str, Any] = {
        "plan": ray.put(plan.server),
        "keys": ray.put(client.evaluation_keys()),
        "device": device if device is not None else ("gpu" if num_gpus else "cpu"),
        "threads": max(1, int(num_cpus)),
    }
    # Longer blocks cost Ray less, and shorter ones share out better at the end.
    rows = max(1, min(16, len(table) // (4 * concurrency)))
    results = dataset(table, rows).map_batches(
        EncryptedInference,
        fn_constructor_kwargs=kwargs,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=concurrency),
        num_cpus=num_cpus if not num_gpus else None,
        num_gpus=num_gpus or None,
    )
    scores, found = decrypt(client, results)
    if output is not None:
        import pyarrow

        columns: dict[str, Any] = {"name": found or [str(number) for number in range(len(scores))]}
        flat = scores.reshape(len(scores), -1)
        columns.update({f"score{k}": flat[:, k] for k in range(flat.shape[1])})
        ray.data.from_arrow(pyarrow.table(columns)).write_parquet(output)
    return scores


def read_parquet(path: str, column: str, shape: Sequence[int]) -> Iterator[NDArray[numpy.float64]]:
    """Items of a column of lists of numbers, in a Parquet file or a folder of them, each of `shape`."""
    import pyarrow.dataset

    for batch in pyarrow.dataset.dataset(path, format="parquet").to_batches(columns=[column]):
        for number, values in enumerate(batch.column(column)):
            item = numpy.asarray(values.as_py(), numpy.float64)
            if item.size != int(numpy.prod(shape)):
                raise InputError(f"row {number} of {column} has {item.size} numbers; an item has shape {tuple(shape)}")
            yield item.reshape(tuple(shape))


def _groups(items: Iterable[NDArray[Any]], size: int) -> Iterator[list[NDArray[Any]]]:
    group: list[NDArray[Any]] = []
    for item in items:
        group.append(numpy.asarray(item))
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _rows(results: Any) -> Iterator[dict[str, Any]]:
    """Rows of a dataset of Ray, or of an Arrow table."""
    if hasattr(results, "iter_rows"):
        yield from results.iter_rows()
    else:
        yield from results.to_pylist()


def _fetched(value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    import ray

    return _sides._bytes(ray.get(value), "the object", "Plan.server or Client.evaluation_keys()")
