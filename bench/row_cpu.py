"""Row d: CPU time of the listener while others work outside, after the first second."""

import threading
import time

from bench.listeners import Running
from bench.report import Table, Target
from bench.run import Run
from bench.stats import Spread

#: condition → seconds measured, after the first
_SECONDS = {"fanfp": 5.0, "fanfp-all": 5.0, "plain fanotify-all": 1.5, "fsnotifywait -S": 1.5, "fatrace": 1.5}
_LIMIT = 0.01


def cpu(run: Run) -> list[Table]:
    """Measure each condition under the reading workload of row a."""
    run.place.workload("tree", run.place.outside)
    shares: dict[str, list[float]] = {}
    for _, condition in run.interleaved(list(_SECONDS)):
        with condition.start(run.place, run.place.inside, "discard") as running:
            assert running is not None
            shares.setdefault(condition.name, []).append(_share(run, running, _SECONDS[condition.name]))
    table = Table(
        "d. CPU time of the listener, workload outside (read), after the first second: share of one core",
        ["", "median", "lowest", "highest", "measured"],
    )
    for name in run.present(list(_SECONDS)):
        found = Spread.of(shares[name])
        cells = [f"{value:.2%}" for value in (found.median, found.low, found.high)]
        table.lines.append([name, *cells, f"{found.n} x {_SECONDS[name]:g} s"])
        if name.startswith("fanfp"):
            table.targets.append(
                Target(f"{name}: under {_LIMIT:.0%} of a core", f"{found.median:.2%}", found.median < _LIMIT)
            )
    table.notes = ["from /proc/<tgid>/stat; its unit is 10 ms"]
    table.figures = {"share_of_a_core": shares}
    return [table]


def _share(run: Run, running: Running, seconds: float) -> float:
    work = threading.Thread(
        target=run.place.workload, args=("read-for", run.place.outside, int((seconds + 1.2) * 1000))
    )
    work.start()
    time.sleep(1.0)
    before_s, start = running.cpu_s(), time.monotonic()
    time.sleep(seconds)
    share = (running.cpu_s() - before_s) / (time.monotonic() - start)
    work.join()
    return share
