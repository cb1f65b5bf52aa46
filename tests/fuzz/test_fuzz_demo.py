"""The demo's routes on paths, tabs and host names from anywhere; its servers do not run. No answer is a 500."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from workshop.demo.app import TABS, make_app
from workshop.stack.private import private_settings

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The application in this process; what a route does not catch is raised here."""
    app = make_app(private_settings(tmp_path_factory.mktemp("none")), hosts=("127.0.0.1",))
    with TestClient(app, base_url="http://127.0.0.1") as demo:
        yield demo


@settings(max_examples=60, deadline=20_000, suppress_health_check=list(HealthCheck))
@given(METHODS, UNICODE, UNICODE)
@example("GET", "_nicegui/../../../etc/passwd", "")
@example("GET", "_nicegui/auto/static/../../../../etc/passwd", "")
@example("POST", "health", "x")
def test_any_path(demo, method, path, query):
    answer = demo.request(method, f"/{quote(path)}", params={"q": query})
    assert answer.status_code < 500, (path, answer.text[:300])
    assert "root:" not in answer.text


@settings(max_examples=25, deadline=20_000, suppress_health_check=list(HealthCheck))
@given(UNICODE | st.sampled_from([tab.name for tab in TABS]))
@example('"><script>alert(1)</script>')
def test_any_tab(demo, tab):
    answer = demo.get("/", params={"tab": tab})
    assert answer.status_code == 200
    assert "<script>alert(1)" not in answer.text


@settings(max_examples=25, deadline=20_000, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30))
def test_a_foreign_host_is_refused(demo, host):
    answer = demo.get("/health", headers={"host": host})
    assert answer.status_code == (200 if host.partition(":")[0] == "127.0.0.1" else 400)
