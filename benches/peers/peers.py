#!/usr/bin/env python3
"""Time Pleura beside other CKKS libraries: one thread each, same ring, same total modulus."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from workers import WORKERS

ROOT = Path(__file__).resolve().parents[2]
PLEURA_BUILD = ["cargo", "build", "--release", "--quiet", "-p", "benches", "--bin", "peer"]
PLEURA_RUN = ["cargo", "run", "--release", "--quiet", "-p", "benches", "--bin", "peer", "--"]

FIELDS = {"library", "version", "levels", "ms", "bytes"}
OPS = ["hmult", "hrot", "encode", "encrypt", "decrypt", "linear_transform_64"]
SIZES = ["ciphertext", "galois_key", "relin_key"]
MISSING = 3  # exit status of a worker whose library cannot be imported

# Largest log2(QP) for 128-bit security with a ternary secret (eprint 2024/463).
BUDGET = {13: 214, 14: 430, 15: 868}

NAMES = ["pleura", *WORKERS]
INSTALL = {"lattigo": "pip install pyhelayers==1.5.5.4"}


def run_worker(name, log_n, seconds):
    """The worker's report, or a (kind, message) pair saying why there is none."""
    if name == "pleura":
        command = PLEURA_RUN + ["--log-n", str(log_n), "--seconds", str(seconds)]
    else:
        command = [sys.executable, __file__, "--worker", name, "--case", str(log_n),
                   "--seconds", str(seconds)]
    env = dict(os.environ, OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1", GOMAXPROCS="1",
               OPENBLAS_NUM_THREADS="1")
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode == 0:
            out = json.loads(done.stdout.strip().splitlines()[-1])
            lacking = sorted(FIELDS - out.keys())
            return ("failed", f"its report lacks {lacking}") if lacking else out
    except (OSError, ValueError, IndexError) as error:
        return "failed", str(error)
    reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return "missing" if done.returncode == MISSING else "failed", reason


def run_case(log_n, names, rounds, seconds):
    """Reports per round, as a list of {name: report}, and {name: kind} of those left out."""
    names, results, lost = list(names), [], {}
    for number in range(rounds):
        results.append({})
        # Rotated, so that no library always runs right after the same neighbour.
        start = number % max(1, len(names))
        for name in names[start:] + names[:start]:
            note(f"2^{log_n} round {number + 1}/{rounds}: {name}")
            outcome = run_worker(name, log_n, seconds)
            if isinstance(outcome, dict):
                results[-1][name] = outcome
                continue
            lost[name], reason = outcome
            note(f"{name} left out: {reason}")
            names.remove(name)
    # A library that dropped out midway has no full set of rounds to compare.
    return [{n: r for n, r in one.items() if n in names} for one in results], lost


def summarize(results):
    """Medians over the rounds, and medians of each round's ratio to Pleura."""
    def median_of(pick):
        values = [v for v in map(pick, results) if v is not None]
        return statistics.median(values) if values else None

    summary = {}
    for name in sorted(results[0], key=NAMES.index):
        entry = {k: v for k, v in results[0][name].items() if k != "ms"}
        entry["ms"] = {op: median_of(lambda r: r[name]["ms"].get(op)) for op in OPS}
        if "pleura" in results[0] and name != "pleura":
            def ratio(kind, key):
                def of(r):
                    ours, theirs = r["pleura"][kind].get(key), r[name][kind].get(key)
                    return theirs / ours if ours and theirs else None
                return median_of(of)
            entry["ratio"] = {op: ratio("ms", op) for op in OPS}
            entry["bytes_ratio"] = {size: ratio("bytes", size) for size in SIZES}
        summary[name] = entry
    return summary


def show(log_n, rounds, summary):
    ops = [op for op in OPS if any(e["ms"][op] for e in summary.values())]

    def cell(value, form):
        return "-" if value is None else format(value, form)

    rows = [["", "log2 QP", "log2 Q", "levels", *ops]]
    sizes = [["", *(size + " KiB" for size in SIZES)]]
    for e in summary.values():
        rows.append([f"{e['library']} {e['version']}", cell(e.get("log2_qp"), ".1f"),
                     cell(e.get("log2_q"), ".1f"), str(e["levels"]),
                     *(cell(e["ms"][op], ".2f") for op in ops)])
        kib = {size: n / 1024 for size, n in e["bytes"].items()}
        sizes.append([e["library"], *(cell(kib.get(size), ".0f") for size in SIZES)])
        if "ratio" in e:
            rows.append(["  / Pleura", "", "", "", *(cell(e["ratio"][op], ".2f") for op in ops)])
            sizes.append(["  / Pleura", *(cell(e["bytes_ratio"][s], ".2f") for s in SIZES)])
    print(f"\nN = 2^{log_n}, log2 QP at most {BUDGET[log_n]}, one thread, "
          f"median ms of {rounds} round(s)")
    for table in (rows, sizes):
        widths = [max(map(len, column)) for column in zip(*table)]
        for row in table:
            print("  ".join(c.ljust(w) if i == 0 else c.rjust(w)
                            for i, (c, w) in enumerate(zip(row, widths))))
        print()


def note(message):
    print(message, file=sys.stderr, flush=True)


def names_list(text):
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
               "  peers.py                               all cases, all installed libraries\n"
               "  peers.py --case 14 --rounds 5 --json out.json\n"
               "  peers.py --case 13 --only pleura,openfhe\n"
               "  peers.py --without pleura --seconds 0.1 --rounds 1    a quick look\n"
               "libraries: " + ", ".join(NAMES))
    parser.add_argument("--case", type=int, action="append", choices=list(BUDGET),
                        help="log2 of the ring dimension, repeatable (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.5,
                        help="least time per operation and round (default: %(default)s)")
    parser.add_argument("--only", type=names_list, default=NAMES, help="comma-separated libraries")
    parser.add_argument("--without", type=names_list, default=[], help="libraries to leave out")
    parser.add_argument("--core", type=int, help="core to run on (default: the last allowed one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    cases = args.case or list(BUDGET)
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")

    if args.worker:
        try:
            print(json.dumps(WORKERS[args.worker](cases[0], args.seconds)))
        except ImportError as error:
            hint = INSTALL.get(args.worker, "pip install -r benches/peers/requirements.txt")
            note(f"not installed ({error}): {hint}")
            sys.exit(MISSING)
        return

    names = [n for n in NAMES if n in args.only and n not in args.without]
    if not names:
        parser.error("no library left to run")
    if "pleura" in names:
        if not shutil.which("cargo") or subprocess.run(PLEURA_BUILD, cwd=ROOT).returncode != 0:
            sys.exit("cannot build Pleura; --without pleura runs the peers alone")
    if hasattr(os, "sched_setaffinity"):  # inherited by the workers; the build above is free of it
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed) if args.core is None else args.core})

    output, any_failed = {"budget_log2_qp": BUDGET, "seconds": args.seconds, "cases": {}}, False
    for log_n in cases:
        results, lost = run_case(log_n, names, args.rounds, args.seconds)
        any_failed |= "failed" in lost.values()
        names = [n for n in names if lost.get(n) != "missing"]
        summary = summarize(results)
        if summary:
            show(log_n, args.rounds, summary)
        output["cases"][log_n] = {"summary": summary, "rounds": results}
    if args.json:
        args.json.write_text(json.dumps(output, indent=1) + "\n")
    sys.exit(1 if any_failed else 0)


if __name__ == "__main__":
    main()
