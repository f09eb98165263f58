"""Times encrypted inference on one and more workers of Ray, each pinned to a core: the table of docs/scaling.md.

    python scaling.py --workers 1 2 --rounds 3
"""

import argparse
import os
import statistics
import time

import numpy
import ray

import pleura
import pleura.ray

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers")
parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the median counts")
parser.add_argument("--images", type=int, default=64, help="images for each worker and round")
parser.add_argument("--model", default="pneumonia", help="name of a shipped network")
arguments = parser.parse_args()


class Pinned(pleura.ray.EncryptedInference):
    """A worker on a core of its own; it says how long it computed."""

    def __init__(self, cores, **kwargs):
        place = ray.get_runtime_context().get_actor_id()
        os.sched_setaffinity(0, {cores[ray.get(kwargs.pop("counter").next.remote(place)) % len(cores)]})
        super().__init__(**kwargs)

    def __call__(self, batch):
        # Processor time: other programs on the core do not count.
        clock = time.process_time()
        batch = super().__call__(batch)
        return {**batch, "seconds": numpy.full(len(batch["results"]), time.process_time() - clock)}


@ray.remote(num_cpus=0)
class Counter:
    """Gives each worker a number."""

    def __init__(self):
        self.known = {}

    def next(self, place):
        return self.known.setdefault(place, len(self.known))


cores = sorted(os.sched_getaffinity(0))
prepare = pleura.XrayPreparation(arguments.model)
samples = prepare([sample.data for sample in pleura.samples()])
plan = pleura.compile(prepare.model, calibration=samples)
client = pleura.Client(plan.client)
keys = client.evaluation_keys()
one = client.encrypt(samples[:1])
session = pleura.Server(plan.server, device="cpu", threads=1).open_session(keys)
answer = session.infer(one)
clock = time.process_time()
for _ in range(32):
    client.encrypt(samples[:1])
encrypted = time.process_time()
for _ in range(32):
    client.decrypt(answer)
decrypted = time.process_time()
print(f"{arguments.model}: server plan {len(plan.server)} bytes, keys {len(keys)}, up {len(one)}, down {len(answer)}")
print(f"driver: {1000 * (encrypted - clock) / 32:.2f} ms to encrypt, {1000 * (decrypted - encrypted) / 32:.2f} ms to decrypt")

ray.init(num_cpus=max(arguments.workers), include_dashboard=False, log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
parts = [ray.put(plan.server), ray.put(keys)]
print("| workers | images/s | processor ms of a worker for an image |")
print("|---:|---:|---:|")
for workers in arguments.workers:
    rates, busy = [], []
    items = numpy.resize(samples, (arguments.images * workers, *samples.shape[1:]))
    table = pleura.ray.encrypt(client, items)
    for _ in range(arguments.rounds):
        dataset = pleura.ray.dataset(table, 16).materialize()
        kwargs = {"plan": parts[0], "keys": parts[1], "cores": cores, "counter": Counter.remote()}
        results = dataset.map_batches(
            Pinned,
            fn_constructor_kwargs=kwargs,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        # The start of the workers happens once for a job: the clock begins with the first result.
        times = []
        rows = []
        for row in results.iter_rows():
            times.append(time.perf_counter())
            rows.append(row)
        rates.append((len(times) - workers) / (times[-1] - times[0]))
        busy += [row["seconds"] for row in rows]
    print(f"| {workers} | {statistics.median(rates):.1f} | {1000 * statistics.median(busy):.1f} |", flush=True)
