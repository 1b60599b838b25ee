# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Traps of docs/traps.md that lie in the API: what is read, compared and written."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import capabilities
from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Response
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.times import format_duration, parse_duration
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import fence, resource, schema, status
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import preflight
from tests.unit.api.failures import failure
from tests.unit.dataplane.test_status import overview
from tests.unit.http_server import Answer, answer_json, problem
from tests.unit.join.test_plan import host, plan, problems_of
from tests.unit.join.test_plan import overview as listed
from tests.unit.registration.test_sync import ControlPlane, actions, apply, desired

V212, V214, V3 = (2, 12, 14), (2, 14, 3), (3, 0, 0)
STATES = ["Ready", "NotReady", "Ignored"]


def live(**inbound):
    return {
        "name": "web-1",
        "networking": {"address": "10.0.0.1", "inbound": [{"port": 8080, "tags": {"kuma.io/service": "web"}, **inbound}]},
    }


def inbound_of(dataplane):
    (found,) = dataplane["networking"]["inbound"]
    return found


@pytest.mark.parametrize("state", STATES)
def test_traps_7_11_a_fence_writes_health_and_leaves_the_state_alone(state):
    before = live(state=state)
    for after in (fence.fence(before, None), fence.lift(fence.fence(before, None))):
        assert inbound_of(after).get("state", "Ready") == state
    assert ("health" in inbound_of(fence.fence(before, None))) == (state == "Ready")


def test_trap_8_a_new_dataplane_gets_no_traffic_until_its_proxy_was_seen():
    created = inbound_of(resource.body_for_create(live(), "NotReady"))
    assert (created["state"], created["health"]) == ("NotReady", {"ready": False})
    assert not fence.gets_traffic(created)


def test_trap_9_who_is_away_still_counts_as_an_endpoint():
    away = overview(
        {"port": 8080, "health": {"ready": True}},
        subscriptions=[{"connectTime": "2026-01-01T00:00:00Z", "disconnectTime": "2026-01-02T00:00:00Z"}],
    )
    assert status.status(away) == "Offline"
    assert fence.gets_traffic(inbound_of(status.dataplane(away)))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("health", [{}, {"ready": True}])
def test_trap_10_an_update_carries_state_and_health_over(state, health):
    wanted = live(servicePort=18080)
    written = inbound_of(resource.body_for_update(wanted, live(state=state, health=health), "NotReady"))
    assert (written["state"], written["health"], written["servicePort"]) == (state, health, 18080)


def test_trap_11_an_ignored_inbound_is_never_ready():
    ready, reasons = status.ready(overview({"port": 8080, "state": "Ignored"}))
    assert (ready, reasons) == (False, ["inbound 8080 has state Ignored"])


def test_trap_12_a_fence_that_outlived_a_restart_is_seen_and_lifted():
    restarted = overview({"port": 8080, "health": {}})
    assert status.fenced(restarted)
    assert not status.ready(restarted)[0]
    assert fence.gets_traffic(inbound_of(fence.lift(status.dataplane(restarted))))


def test_trap_13_a_dataplane_that_was_collected_is_registered_again():
    first = plan([host(1)])[0]["web-1"]["proxies"][0]
    known = plan([host(1)], [listed(first["dataplane"])])[0]["web-1"]["proxies"][0]
    assert (known["registered"], known["differs"]) == (True, False)
    collected = plan([host(1)], [])[0]["web-1"]["proxies"][0]
    assert (collected["registered"], collected["differs"]) == (False, True)


def test_traps_14_15_a_second_run_writes_nothing_whatever_the_answer_adds():
    control_plane = ControlPlane()
    items = [desired("web-1"), desired("web-2")]
    assert actions(apply(control_plane, items)) == {"web-1": "created", "web-2": "created"}
    before = len(control_plane.writes())
    assert actions(apply(control_plane, items)) == {"web-1": "unchanged", "web-2": "unchanged"}
    assert len(control_plane.writes()) == before


def test_trap_15_zeros_that_are_left_out_and_durations_in_another_form_are_no_difference():
    wanted = live(state="Ready", serviceProbe={"interval": "5s", "timeout": "1m30s", "tcp": {}})
    held = live(serviceProbe={"interval": "5s", "timeout": "90s", "tcp": {}})
    held.update(creationTime="x", modificationTime="y", kri="kri_dp_default_default__web-1_", labels={"kuma.io/zone": "default"})
    inbound_of(held)["tags"]["kuma.io/zone"] = "default"
    assert resource.difference(wanted, held, V214) == []


def test_trap_16_labels_are_not_sent_where_they_do_not_survive():
    for release, sent in ((V212, False), (V214, True)):
        control_plane = ControlPlane(release)
        apply(control_plane, [desired("web-1", labels={"team": "a"})])
        assert ("team" in (control_plane.held["web-1"].get("labels") or {})) is sent
    assert not capabilities.Capabilities("Kuma", "2.12.14", "2.12.14", V212).labels_survive


@pytest.mark.parametrize(
    "answer", [Answer(200, b""), Answer(201, b"{}", "application/json"), Answer(200, b'{"warnings": ["old"]}', "application/json")]
)
def test_trap_17_an_answer_to_a_write_may_be_empty(serve, connect, answer):
    assert isinstance(connect(serve(answer).url).put("/meshes/default/dataplanes/web-1", {}), Response)


def test_trap_18_what_a_404_and_a_500_to_a_write_mean(serve, connect):
    path = "/meshes/default/dataplanes/web-1"
    assert "The mesh does not exist" in str(failure(connect(serve(problem(404, "Failed to retrieve Mesh")).url).put, path, {}))
    assert "constraints.dataplaneProxy of the Mesh" in str(failure(connect(serve(problem(500, "Error")).url).put, path, {}))
    gone = failure(connect(serve(problem(404, "Could not delete a resource")).url).delete, path)
    assert isinstance(gone, api_client.NotFound)


def test_trap_19_what_would_be_dropped_is_an_error_before_and_found_after_the_write():
    assert [found["field"] for found in schema.dropped_fields(live(servicPort=1), V214)] == ["networking.inbound[0].servicPort"]
    control_plane = ControlPlane()
    control_plane.drop = "inbound"
    (change,) = apply(control_plane, [desired("web-1")])
    assert change.action == "failed"


def test_trap_20_a_fence_that_comes_between_the_listing_and_the_write_stays():
    control_plane = ControlPlane()
    apply(control_plane, [desired("web-1")])
    real, fenced = control_plane.get, {"port": 8080, "health": {}}

    def read(path):
        control_plane.held["web-1"]["networking"]["inbound"][0].update({"state": "Ready", **fenced})
        return real(path)

    control_plane.get = read
    assert actions(apply(control_plane, [desired("web-1", labels={"team": "b"})])) == {"web-1": "updated"}
    assert control_plane.held["web-1"]["networking"]["inbound"][0]["health"] == {}


def test_trap_21_pages_are_asked_for_by_number_and_not_by_the_address_in_next(serve, connect):
    def page(request):
        start = int(
            request.query.get("offset", ["0"])[0] if isinstance(request.query.get("offset"), list) else request.query.get("offset", 0)
        )
        items = [{"type": "Dataplane", "mesh": "default", "name": f"web-{number}"} for number in range(start, min(start + 1000, 1500))]
        following = "http://elsewhere.invalid/meshes?offset=1000" if start == 0 else None
        return answer_json({"total": 1500, "items": items, "next": following})

    server = serve(page)
    assert len(connect(server.url).list("/meshes/default/dataplanes")) == 1500
    assert all("size=1000" in request.target for request in server.requests)


def test_trap_22_every_write_says_that_it_is_json_and_plain_text_is_understood(serve, connect):
    server = serve(answer_json({}), Answer(415, b"415: Unsupported Media Type", "text/plain"))
    client = connect(server.url)
    client.put("/meshes/default/dataplanes/web-1", {})
    assert server.requests[0].headers["Content-Type"] == "application/json"
    assert "Unsupported Media Type" in str(failure(client.put, "/meshes/default/dataplanes/web-1", {}))


def test_trap_23_days_become_hours_and_a_good_token_is_kept():
    assert format_duration(parse_duration("30d")) == "720h"
    claims = {"Name": "web-1", "Mesh": "default", "Workload": "web", "exp": 10**9 + 10**6}
    (proxy,) = plan([host(1, observed={"proxies": {"web-1": {"token": {"claims": claims}}}})])[0]["web-1"]["proxies"]
    assert proxy["token"]["current"] == claims


def test_trap_37_the_application_is_called_on_loopback_unless_said_otherwise():
    (proxy,) = plan([host(1)])[0]["web-1"]["proxies"]
    assert inbound_of(proxy["dataplane"])["serviceAddress"] == "127.0.0.1"


def test_trap_38_two_inbounds_on_one_port_are_refused():
    same = [{"name": "web", "port": 8080, "service_port": 18080}, {"name": "admin", "port": 8080, "service_port": 18081}]
    (found,) = problems_of(host(1, services=same))
    assert "port 8080 is claimed by" in found


def test_trap_39_on_2_x_every_inbound_has_its_service_tag():
    (proxy,) = plan([host(1)])[0]["web-1"]["proxies"]
    assert inbound_of(proxy["dataplane"])["tags"]["kuma.io/service"] == "web"


def test_trap_40_connected_is_ready_where_there_is_no_inbound():
    alone = overview()
    assert (status.status(alone), status.ready(alone)) == ("Offline", (True, []))


def test_trap_41_an_advertised_address_is_refused_where_it_would_vanish():
    advertised = copy.deepcopy(live())
    advertised["networking"]["advertisedAddress"] = "192.0.2.1"
    assert schema.dropped_fields(advertised, V214) == []
    assert "networking.advertisedAddress" in [found["field"] for found in schema.dropped_fields(advertised, V3)]


class Asked:
    """A control plane as the preflight sees it, and what it was asked."""

    def __init__(self, who=None, **config):
        self.paths = []
        self.who = who or {"name": "mesh-system:admin", "groups": ["mesh-system:admin"]}
        self.facts = {"mode": "zone", "store": "postgres", "hds_enabled": True, "envoy_admin_unix_socket": True, **config}

    def capabilities(self):
        return capabilities.Capabilities("Kuma", "2.14.3", "2.14.3", V214)

    def get(self, path):
        self.paths.append(path)
        return Response(200, self.who if path == "/who-am-i" else {})

    def control_plane(self, places=None):
        return self.facts if places is None else {}

    def as_anybody(self, path):
        return None

    def look(self, **versions):
        return preflight.look(self, "default", versions.pop("versions", {}), "NotReady")


def test_trap_3_a_kuma_dp_that_could_not_drain_is_warned_about():
    (warning,) = Asked().look(versions={"2.13.10": "web-1"}).warnings
    assert "cannot drain" in warning
    assert "web-1" in warning
    assert Asked(envoy_admin_unix_socket=False).look(versions={"2.13.10": "web-1"}).warnings == []


def test_trap_43_the_rights_are_those_that_who_am_i_tells():
    asked = Asked(who={"name": "mesh-system:anonymous", "groups": ["mesh-system:unauthenticated"]})
    (found,) = asked.look().problems
    assert "which may not issue dataplane tokens" in found
    assert "/who-am-i" in asked.paths


def test_trap_45_the_memory_store_is_warned_about():
    (warning,) = Asked(store="memory").look().warnings
    assert "signing keys are lost" in warning


def test_trap_50_what_can_be_written_is_told_by_the_mode_and_not_by_the_list_of_resources():
    zone = Asked()
    assert zone.look().problems == []
    assert not any("_resources" in path for path in zone.paths)
    assert "use the URL of a zone's" in Asked(mode="global").look().problems[0]
