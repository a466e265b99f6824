"""The probe as a step: what it finds, what it fails for, and what it never shows."""

from __future__ import annotations

import http.server
import json
import threading

import pytest


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401 if "v1" in self.path else 200)
        self.end_headers()

    def log_message(self, *_):
        """Nothing on the terminal."""


@pytest.fixture
def host():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def look(component):
    """Run the probe; its result and its findings by name."""

    def run(environment=None, **inputs):
        settings = {"addresses": "http://127.0.0.1:1/", "timeout": 5, **inputs}
        result = component("probe").run(settings, env={"NO_PROXY": "127.0.0.1", **(environment or {})})
        report = result.outputs["report"]
        found = {entry["name"]: entry for entry in json.loads(report.read_text())} if report.exists() else {}
        return result, found

    return run


def test_it_says_what_it_reaches(look, host):
    result, found = look(teacher_endpoint=f"{host}/v1", addresses=f"{host}/ http://127.0.0.1:1/")
    assert result.returncode == 0, result.stderr
    assert found["teacher"]["level"] == "ok"
    assert "401 without a key" in found["teacher"]["said"]
    assert (found["storage"]["level"], found["machine"]["level"]) == ("ok", "ok")
    assert "warn  network    127.0.0.1:1 is not reached" in result.stderr
    assert "add a rule for the host" in result.stderr


def test_it_fails_where_the_teacher_is_not_reached(look):
    result, found = look(teacher_endpoint="http://127.0.0.1:1/v1")
    assert (result.returncode, found["teacher"]["level"]) == (69, "fail")
    assert "error[unavailable]: teacher" in result.stderr


def test_it_resolves_the_key_and_does_not_show_it(look):
    result, found = look({"CANARY": "canary-value-1234"}, teacher_key="env:CANARY")
    assert (result.returncode, found["key"]["level"]) == (0, "ok")
    assert "env:CANARY resolves (17 characters)" in result.stderr
    assert "canary-value" not in result.stderr + json.dumps(found)


def test_a_key_that_does_not_resolve_fails_it(look):
    result, found = look(teacher_key="connection:teacher")
    assert (result.returncode, found["key"]["level"]) == (1, "fail")
    assert "Data Scientist" in found["key"]["todo"]


def test_it_leaves_no_trial_behind(look):
    result, _ = look()
    assert [path.name for path in result.outputs["report"].parent.iterdir()] == [result.outputs["report"].name]
