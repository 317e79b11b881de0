#!/usr/bin/env python3
"""Runs every query of the Grafana dashboard in a real Prometheus that scrapes a textfile of postretry.

Usage: dashboard_test.py METRICS_FILE [PROMETHEUS]

METRICS_FILE is what textfile.sh writes; PROMETHEUS is the server program. The file is served with counters that rise
from scrape to scrape, as passes would raise them. Every query must give figures, and the labels in its legend must
exist. The dashboard and the alerts must use metrics that exist, the dashboard must show every metric, and Prometheus
must be able to evaluate the alerts.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FOLDER = os.path.dirname(os.path.abspath(__file__))
# What Grafana puts in the place of its variables.
VARIABLES = {"$__range": "1h", "$__rate_interval": "1m", "$instance": ".*"}
SAMPLE = re.compile(r"^(postretry_\w+)(\{.*\})? (\S+)$")
NAME = re.compile(r"\bpostretry_\w+")
SCRAPES = 5


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def risen(text, by):
    """The metrics with every counter raised."""
    counters = set(re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE))

    def line_risen(line):
        sample = SAMPLE.match(line)
        if not sample or sample[1] not in counters:
            return line
        return f"{sample[1]}{sample[2] or ''} {int(sample[3]) + by}"

    return "\n".join(map(line_risen, text.splitlines())) + "\n"


class Metrics(ThreadingHTTPServer):
    """Serves the file, each time with higher counters."""

    def __init__(self, text):
        super().__init__(("127.0.0.1", 0), MetricsHandler)
        self.text = text
        self.scrapes = 0


class MetricsHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.scrapes += 1
        body = risen(self.server.text, self.server.scrapes).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """A server of its own in a folder of its own."""

    def __init__(self, program, folder, target):
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump(  # JSON is YAML.
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [os.path.join(FOLDER, "alerts.yml")],
                    "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [target]}]}],
                },
                file,
            )
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.log = os.path.join(folder, "prometheus.log")
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder}/data",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def get(self, path, **parameters):
        url = f"{self.address}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None

    def wait_for(self, what, is_done):
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                if is_done():
                    return
            except (OSError, KeyError, ValueError):
                pass  # It has not started yet.
            time.sleep(0.2)
        sys.exit(f"Prometheus: timed out waiting for {what}\n{read(self.log)}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run(prometheus, target):
    """The result of a query, as Grafana would ask it."""
    query = target["expr"]
    for name, value in VARIABLES.items():
        query = re.sub(re.escape(name) + r"\b", value, query)
    if "$" in query:
        raise ValueError(f"a variable that this test does not know: {query}")
    if target["instant"]:
        return prometheus.get("/api/v1/query", query=query)["result"]
    now = time.time()
    return prometheus.get("/api/v1/query_range", query=query, start=now - 10, end=now, step=1)["result"]


def problems_of(result, legend):
    """What is wrong with the result of a query."""
    if not result:
        return ["no result"]
    labels = re.findall(r"{{\s*(\w+)\s*}}", legend)
    found = []
    for series in result:
        values = [float(value) for _, value in series.get("values") or [series["value"]]]
        if not any(map(math.isfinite, values)):
            found.append(f"no figure in {series['metric']}: {values}")
        found += [f"no label {label} in {series['metric']}" for label in labels if label not in series["metric"]]
    return found


def check_names(text, dashboard, alerts):
    """Compares the names of metrics in the three files."""
    lines = [SAMPLE.match(line) for line in text.splitlines()]
    samples = [(line[1], line[2]) for line in lines if line]
    exported = {name for name, _ in samples}
    problems = [
        f"two samples of {name}{labels or ''}" for name, labels in set(samples) if samples.count((name, labels)) > 1
    ]
    for file, names in (("grafana-dashboard.json", dashboard), ("alerts.yml", alerts)):
        problems += [f"{file}: no metric {name} in the textfile" for name in sorted(names - exported)]
    return problems + [f"grafana-dashboard.json does not show {name}" for name in sorted(exported - dashboard)]


def check_panels(prometheus, dashboard):
    problems = []
    count = 0
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        problems.append("two panels have the same id")
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            count += 1
            try:
                found = problems_of(run(prometheus, target), target["legendFormat"])
            except ValueError as error:
                found = [str(error)]
            problems += [f'panel "{panel["title"]}": {problem}\n  {target["expr"]}' for problem in found]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            if not prometheus.get(f"/api/v1/label/{label}/values", **{"match[]": metric}):
                problems.append(f"variable {variable['name']}: no values")
    return problems, count


def alert_rules(prometheus):
    """The alerts, once each of them has been evaluated."""

    def rules():
        return [rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]]

    prometheus.wait_for("the alerts", lambda: all(rule["health"] != "unknown" for rule in rules()))
    return rules()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    # A signal ends the program through the `finally` that stops Prometheus.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    text = read(sys.argv[1])
    program = sys.argv[2] if len(sys.argv) == 3 else "prometheus"
    dashboard = json.loads(read(os.path.join(FOLDER, "grafana-dashboard.json")))
    in_dashboard = json.dumps([panel["targets"] for panel in dashboard["panels"]])

    metrics = Metrics(text)
    threading.Thread(target=metrics.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        prometheus = Prometheus(program, folder, f"127.0.0.1:{metrics.server_address[1]}")
        try:
            enough = f"count_over_time(postretry_runs_total[1m]) >= {SCRAPES}"
            prometheus.wait_for("the scrapes", lambda: prometheus.get("/api/v1/query", query=enough)["result"])
            problems, queries = check_panels(prometheus, dashboard)
            alerts = alert_rules(prometheus)
        finally:
            prometheus.stop()
            metrics.shutdown()
    problems += [f"alert {rule['name']}: {rule.get('lastError')}" for rule in alerts if rule["health"] != "ok"]
    in_alerts = " ".join(rule["query"] for rule in alerts)
    problems += check_names(text, set(NAME.findall(in_dashboard)), set(NAME.findall(in_alerts)))
    if problems:
        sys.exit("\n".join(problems))
    print(f"dashboard: {queries} queries give figures, {len(alerts)} alerts can be evaluated")


if __name__ == "__main__":
    main()
