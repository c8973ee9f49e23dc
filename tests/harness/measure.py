"""What a process costs, as the kernel says it."""

import contextlib
import os
import re


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))


def cpu_seconds(pid, with_children=False):
    """Processor time of a process and its threads, user and system; `with_children`:
    and of the children it has waited for."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.read().rsplit(")", 1)[1].split()[11:15]]
    return sum(fields if with_children else fields[:2]) / os.sysconf("SC_CLK_TCK")


def tree_seconds(pid):
    """Of a server that forks, as PostgreSQL: its processes, and those it has waited for."""
    total = cpu_seconds(pid, with_children=True)
    for child in children_of(pid):
        with contextlib.suppress(OSError):
            total += cpu_seconds(child)
    return total
