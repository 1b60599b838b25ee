# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Envoy's admin interface says, and that only the right process is believed."""

from __future__ import annotations

import calendar
import http.server
import json
import os
import re
import socketserver
import threading

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._vm import envoy
from tests.unit.vm.hostile import no_waiting

# Fixtures are found by their names.
__all__ = ["no_waiting"]

STATISTICS = """
http.admin.downstream_rq_active: 1
http.kuma_envoy_admin.downstream_rq_active: 1
http.kuma_metrics_prometheus.downstream_rq_active: 1
http.localhost_18080.downstream_rq_active: 3
http.web.downstream_rq_active: 2
http.web.downstream_cx_active: 5
listener.10.0.0.11_8080.downstream_cx_active: 4
listener.10.0.0.11_8080.downstream_pre_cx_active: 2
listener.10.0.0.11_8080.worker_0.downstream_cx_active: 4
listener.10.0.0.11_9901.downstream_cx_active: 1
listener.[fd00__1]_8080.downstream_cx_active: 1
listener./run/kuma-dp/web-1/kuma-mesh-metric-config.sock.downstream_cx_active: 1
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
listener_manager.listener_stopped: 0
"""


def listener(name="inbound:10.0.0.11:8080", address="10.0.0.11", port=8080, **more):
    return {"active_state": {"listener": {"name": name, "address": {"socket_address": {"address": address, "port_value": port}}, **more}}}


def listeners(*items):
    return envoy.listeners({"configs": list(items)})


def test_work_leaves_out_the_listeners_of_the_proxy_itself():
    (own,) = listeners(listener("kuma:envoy:admin", port=9901))
    assert own.own
    found = envoy.work(STATISTICS, own.statistics)
    assert (found.requests, found.connections, found.pending) == (5, 5, 2)
    assert (found.idle, found.cut) == (False, 7)


@pytest.mark.parametrize("line", [line for line in STATISTICS.split("\n") if "web.downstream_rq" in line or "8080.downstream" in line])
def test_trap_54_every_kind_of_work_keeps_a_proxy_from_being_idle(line):
    assert not envoy.work(line, ()).idle


@pytest.mark.parametrize(
    ("said", "expected"), [("", None), ("control_plane.connected_state: 0\n", False), ("control_plane.connected_state: 1\n", True)]
)
def test_envoy_tells_whether_its_stream_is_open(said, expected):
    assert envoy.connected(STATISTICS + said) is expected
    # What is asked for has to have it.
    assert re.search(envoy.WORK_FILTER, said or "control_plane.connected_state: 0")


def test_a_proxy_without_work_is_idle_whatever_its_own_listeners_do():
    own = {"10.0.0.11_9901"}
    lines = "\n".join(
        line if any(word in line for word in ("admin", "metric", "9901")) else line[:-1] + "0" for line in STATISTICS.splitlines()
    )
    assert envoy.work(lines, own) == (0, 0, 0)


@pytest.mark.parametrize(("value", "expected"), [("0", False), ("2", True)])
def test_stopped_listeners_are_told_by_their_counter(value, expected):
    assert envoy.stopped(STATISTICS.replace("listener_stopped: 0", "listener_stopped: " + value)) is expected
    assert not envoy.stopped("")


def test_listeners_are_where_they_are_bound():
    found = listeners(
        listener(additional_addresses=[{"address": {"socket_address": {"address": "::1", "port_value": 8081}}}]),
        listener("outbound:passthrough", "0.0.0.0", 15001, bind_to_port=False),
        {
            "active_state": {
                "listener": {"name": "dns", "address": {"socket_address": {"protocol": "UDP", "address": "::", "port_value": 53}}}
            }
        },
        {"warming_state": {"listener": {"name": "not yet"}}},
    )
    assert [(item.name, item.addresses) for item in found] == [("inbound:10.0.0.11:8080", {("10.0.0.11", 8080), ("::1", 8081)})]
    assert found[0].statistics == {"10.0.0.11_8080", "[__1]_8081"}
    assert listeners() == []


def test_reuse_port_is_what_envoy_does_unless_it_is_told_otherwise():
    assert [item.reuse_port for item in listeners(listener(), listener(enable_reuse_port=True), listener(enable_reuse_port=False))] == [
        True,
        True,
        False,
    ]


def test_endpoints_leave_out_health_and_the_clusters_of_the_proxy_itself():
    def host(address, port, **more):
        return {
            "address": {"socket_address": {"address": address, "port_value": port}},
            "health_status": {"eds_health_status": "HEALTHY"},
            **more,
        }

    clusters = [
        {"name": "web", "host_statuses": [host("10.0.0.12", 8080, priority=1), host("10.0.0.12", 8080), host("::ffff:10.0.0.13", 80)]},
        {"name": "empty"},
        {"name": "external", "host_statuses": [host("192.0.2.7", 443, hostname="example.com")]},
        {"name": "eds", "eds_service_name": "eds", "host_statuses": [host("10.0.0.14", 80, hostname="vm")]},
        {"name": "kuma:readiness", "host_statuses": [{"address": {"pipe": {"path": "/run/x.sock"}}}]},
        {"name": "kuma_control_plane", "host_statuses": [host("10.0.0.1", 5678)]},
    ]
    assert envoy.endpoints({"cluster_statuses": clusters}) == {
        "web": {"10.0.0.12:8080", "10.0.0.13:80"},
        "empty": frozenset(),
        "external": {"example.com:443"},
        "eds": {"10.0.0.14:80"},
    }


def test_certificates_are_told_by_who_they_are_for_and_whether_they_are_over():
    def chain(end, *names):
        return {
            "cert_chain": [{"expiration_time": end, "subject_alt_names": [{"uri": name} for name in names]}],
            "ca_cert": [{"expiration_time": end}],
        }

    certs = {
        "certificates": [chain("2026-11-25T17:00:00Z", "spiffe://default/web"), chain("2027-01-01T00:00:00.5Z", "spiffe://default/web"), {}]
    }
    now = calendar.timegm((2026, 11, 25, 17, 0, 1, 0, 0, 0))
    assert envoy.certificates(certs, now) == ({"spiffe://default/web"}, 1)
    assert envoy.certificates(certs, now - 2).expired == 0
    assert envoy.certificates({}, now) == (frozenset(), 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"node": {}, "admin": {"address": {"pipe": {"path": "/run/a.sock", "mode": 384}}}}', ("/run/a.sock", 0)),
        ('{"admin": {"address": {"pipe": {"mode": 384, "path": "/run/a.sock"}}}}', ("/run/a.sock", 0)),
        ('{"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9905}}}}', ("", 9905)),
        ("admin:\n  address:\n    socketAddress:\n      address: 127.0.0.1\n      portValue: 9905\nnode:\n  id: x\n", ("", 9905)),
        ("admin:\n  address:\n    pipe:\n      mode: 384\n      path: /run/a.sock\n", ("/run/a.sock", 0)),
        ("node:\n  id: default.admin\n", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_the_admin_is_found_in_a_bootstrap_file(text, expected):
    assert envoy.admin_of_bootstrap(text) == expected


@pytest.mark.parametrize(
    "part", ["\n", " ", "\t\n", "{ ", "{\n", '"admin"', '"admin" ', "admin ", "admin:pipe:", '"admin": {"pipe": {"path": ']
)
def test_no_bootstrap_file_is_looked_through_for_ever(part):
    """The user of the proxies can write what it likes there, and root looks for the admin in it."""
    assert envoy.admin_of_bootstrap(part * (50_000 // len(part)))[1] == 0


@pytest.mark.parametrize("number", ["9" * (1 << 22), "-" + "9" * (1 << 22), "NaN", "Infinity"])
def test_numbers_that_no_envoy_has_are_an_error(monkeypatch, number):
    found = envoy.Admin(port=1)
    monkeypatch.setattr(found, "get", lambda _path: '{"configs": %s}' % number)
    with pytest.raises(envoy.AdminError, match="did not answer with JSON"):
        found.get_json("/config_dump")
    found = envoy.Admin(port=1)
    monkeypatch.setattr(found, "get", lambda _path: '{"port_value": 15001, "weight": 0.5}')
    assert found.get_json("/config_dump") == {"port_value": 15001, "weight": 0.5}


def test_counters_that_no_envoy_has_are_not_reckoned_with():
    digits = "9" * (1 << 22)
    text = "\n".join(
        f"{name}: {digits}"
        for name in ("http.a.downstream_rq_active", "listener_manager.listener_stopped", "control_plane.connected_state")
    )
    assert (envoy.work(text, []).idle, envoy.stopped(text), envoy.connected(text)) == (True, True, True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = {"/ready": (200, "LIVE\n"), "/bad": (503, "no"), "/certs": (200, json.dumps({})), "/text": (200, "not JSON")}[
            self.path
        ]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self):
        self.send_response(200 if self.path == "/drain_listeners" else 400)
        self.end_headers()

    def address_string(self):
        return "-"

    def log_message(self, *arguments):
        pass


class UnixServer(socketserver.UnixStreamServer):
    pass


@pytest.fixture(params=["unix", "tcp"])
def admin(request, tmp_path):
    path = str(tmp_path / "admin.sock")
    server = UnixServer(path, Handler) if request.param == "unix" else http.server.HTTPServer(("127.0.0.1", 0), Handler)
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            if request.param == "unix":
                yield envoy.Admin(path=path, pid=os.getpid(), timeout=30)
            else:
                yield envoy.Admin(port=server.server_address[1], timeout=30)
        finally:
            server.shutdown()
            thread.join()


def test_the_admin_answers_on_a_socket_or_a_port(admin):
    assert admin.live()
    assert admin.get_json("/certs") == {}
    admin.post("/drain_listeners")
    with pytest.raises(envoy.AdminError, match="GET /bad answered with 503: no"):
        admin.get("/bad")
    with pytest.raises(envoy.AdminError, match="did not answer with JSON"):
        admin.get_json("/text")
    with pytest.raises(envoy.AdminError, match="POST /other answered with 400"):
        admin.post("/other")


def test_a_socket_of_another_process_is_not_believed(tmp_path):
    with UnixServer(str(tmp_path / "admin.sock"), Handler):
        admin = envoy.Admin(path=str(tmp_path / "admin.sock"), pid=os.getpid() + 1)
        with pytest.raises(envoy.AdminError, match="belongs to process %d, expected %d" % (os.getpid(), os.getpid() + 1)):
            admin.live()


def test_an_admin_that_does_not_answer_is_an_error(tmp_path):
    with pytest.raises(envoy.AdminError):
        envoy.Admin(path=str(tmp_path / "none.sock")).live()
