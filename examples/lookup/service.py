# SPDX-License-Identifier: MIT
"""Starts the lookup service and talks to it, for the checks in Python."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.request


class Service:
    """A server that runs; its exit status is what stop returns."""

    def __init__(self, folder, *flags, port=0, env=None):
        self.work = tempfile.TemporaryDirectory()
        port_file = os.path.join(self.work.name, "port")
        self.program = os.path.join(folder, "lookup-server")
        self.process = subprocess.Popen(
            [self.program, f"--port={port}", "--port-file=" + port_file,
             *flags], stdout=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        while not os.path.exists(port_file):
            if self.process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        with open(port_file, encoding="utf-8") as f:
            self.port = int(f.read())

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path):
        """Status, headers and body."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=60) as reply:
                return reply.status, reply.headers, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def connect(self, buffer=None):
        s = socket.socket()
        if buffer is not None:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        s.settimeout(60)
        s.connect(("127.0.0.1", self.port))
        return s

    def metrics(self):
        """The Prometheus text's lines without labels: name, value."""
        lines = self.get("/metrics")[2].decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if line[0] != "#" and "{" not in line)}

    def stop(self):
        self.process.terminate()
        status = self.process.wait()
        self.work.cleanup()
        return status


class Tap:
    """Prints checks as TAP."""

    def __init__(self):
        self.n, self.failed = 0, 0

    def check(self, name, ok, *what):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}", flush=True)
        for line in [] if ok else what:
            print(f"# {line}", flush=True)

    def end(self):
        print(f"1..{self.n}", flush=True)
        return 1 if self.failed else 0
