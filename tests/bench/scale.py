"""Alternating runs of the same load on differently configured servers.

Two cores cannot show that more machines do more, so what is compared is processor time
a request, of the worker and of each server behind it. The variants of a half are all up
at the same time and loaded in turns, so that whatever else the machine does meets all
of them; a figure is the median of its runs, with the quartiles as its spread.

A half is a module with

    TITLE            a line for people
    running(folder)  starts everything; a context manager that gives a list of Variant
    limits(results)  after the runs: (what, measured percentage, most) rows
"""

import argparse
import importlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests/harness"), HERE]
os.environ.setdefault("FORKMARK_BIN", os.path.join(ROOT, "build/forkmark"))

# name -> module
HALVES = {
    "replicas": "scale_replicas",
    "cluster": "scale_cluster",
}


class Variant:
    """`url` is loaded by the wrk script `script`; `costs` says what each part has used so
    far: name -> a function that gives its seconds of processor time."""

    def __init__(self, name, url, script, costs, connections=32):
        self.name, self.url, self.script, self.costs = name, url, script, costs
        self.connections = connections
        self.runs = {}  # what -> one figure a run

    def run(self, seconds):
        before = {what: read() for what, read in self.costs.items()}
        out = subprocess.run(["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "--latency", "-s",
                              self.script, self.url], capture_output=True, text=True, check=True).stdout
        requests = int(re.search(r"(\d+) requests in", out).group(1))
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        broken = re.search(r"Socket errors: (.*)", out)
        if bad or broken:
            print(f"ERROR {self.name}: {bad and bad.group(0)} {broken and broken.group(0)}")
        for what, read in self.costs.items():
            self.runs.setdefault(what, []).append((read() - before[what]) * 1e6 / requests)
        self.runs.setdefault("requests/s", []).append(requests / seconds)
        return not bad and not broken


def median(variant, what):
    return statistics.median(variant.runs[what])


def more_than(base, other, what):
    """By how many per cent: the median of the differences within each pair of runs."""
    return statistics.median(100 * (b / a - 1) for a, b in zip(base.runs[what], other.runs[what]))


def show(variants):
    whats = list(dict.fromkeys(what for variant in variants for what in variant.runs))
    print(f"{'':26}" + "".join(f"{variant.name:>30}" for variant in variants))
    for what in whats:
        unit = "" if what == "requests/s" else "us/request "
        row = f"{unit + what:26}"
        for variant in variants:
            runs = variant.runs.get(what)
            if not runs:
                row += f"{'':>30}"
                continue
            low, _, high = statistics.quantiles(runs, n=4)
            row += f"{statistics.median(runs):14.1f} ({low:.1f} to {high:.1f})".rjust(30)
        print(row)


def measure(name, options, folder):
    half = importlib.import_module(HALVES[name])
    os.chmod(folder, 0o755)
    good = True
    with half.running(folder) as variants:
        for variant in variants:  # caches, statements, connections
            variant.run(2)
            variant.runs = {}
        for number in range(options.runs):
            # Each goes first as often as the others.
            turn = number % len(variants)
            for variant in variants[turn:] + variants[:turn]:
                good &= variant.run(options.seconds)
    print(f"\n{half.TITLE}\n(medians of {options.runs} runs in turns, with their quartiles)\n")
    show(variants)
    rows = half.limits({variant.name: variant for variant in variants})
    print()
    for what, percent, most in rows:
        verdict = "" if most is None else f" (at most {most} %): {'kept' if percent <= most else 'EXCEEDED'}"
        print(f"{what}: {percent:+.1f} %{verdict}")
        good &= most is None or percent <= most
    return good, {"runs": {variant.name: variant.runs for variant in variants},
                  "limits": [{"what": what, "percent": percent, "most": most} for what, percent, most in rows]}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("halves", nargs="*", metavar="HALF", help=", ".join(HALVES))
    options.add_argument("--runs", type=int, default=10)
    options.add_argument("--seconds", type=int, default=4)
    options.add_argument("--json")
    options = options.parse_args()
    results, good = {}, True
    for name in options.halves or HALVES:
        with tempfile.TemporaryDirectory(prefix="fm-scale-", ignore_cleanup_errors=True) as folder:
            fine, results[name] = measure(name, options, folder)
        good &= fine
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file)
    return 0 if good else 1


if __name__ == "__main__":
    # The halves import this module by its name: one and the same for them and for us.
    sys.modules["scale"] = sys.modules["__main__"]
    sys.exit(main())
