"""The start of a program."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from results import Line, at_most
from systems import Failure

from rows.bench import Bench, row

APPLICATION = """
import time
import underway_pg as underway

app = underway.App()

@app.job(queue="bench")
def tell() -> None:
    print("started", time.time(), flush=True)
"""
IMPORT = "import time; begun = time.perf_counter(); import underway_pg; print(time.perf_counter() - begun)"


@row("start")
def start_of_a_worker(bench: Bench) -> Iterator[Line]:
    ours = bench.ours().start()

    def until_first_claim(directory: str) -> float:
        with ours.connect() as connection:
            connection.execute("select underway.enqueue('bench', '{}', 'tell')")
        environment = {**os.environ, "DATABASE_URL": ours.server.uri(ours.database), "PYTHONPATH": directory}
        command = [str(Path(sys.executable).with_name("underway")), "worker", "application:app"]
        begun = time.time()
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("started "):
                break
        watchdog.cancel()
        process.terminate()
        process.communicate(timeout=30)
        if "started " not in said:
            raise Failure(f"the worker did not start the task: {said.strip()[-200:]}")
        return float(said.split()[-1]) - begun

    def importing() -> float:
        ran = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        return 1000 * float(ran.stdout)

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "application.py").write_text(APPLICATION)
        runs = {"worker": lambda: until_first_claim(directory), "import": importing}
        for run in runs.values():
            run()  # the first reads the files from the disk
        figures = bench.in_turns(runs, bench.scale.short_rounds)
    yield Line(
        row="start",
        workload="start of `underway worker` until its first task starts",
        unit="s",
        ours=figures["worker"],
        goal=at_most(0.5),
    )
    yield Line(row="start", workload="import of underway_pg", unit="ms", ours=figures["import"], goal=at_most(100))
