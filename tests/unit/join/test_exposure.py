# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What everybody may: told by what control planes say, and nothing is written to find out."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import exposure, preflight
from tests.unit.http_server import CUT, Answer, answer_json, problem

ANYBODY = {"name": "mesh-system:anonymous", "groups": ["mesh-system:unauthenticated"]}
ADMIN = {"name": "mesh-system:admin", "groups": ["mesh-system:admin"]}
TOKEN = "a.b.c"


def api(who, config=None, product="Kuma", **index):
    """A control plane that answers ``who`` to whoever shows no token."""

    def answer(request):
        if request.path == "/who-am-i":
            return answer_json(ADMIN) if request.headers["Authorization"] else who
        if request.path == "/config":
            return answer_json({"apiServer": config or {}})
        return answer_json({"product": product, "version": "2.14.3", **index})

    return answer


def look(serve, connect, *args, **options):
    server = serve(api(*args, **options))
    client = connect(server.url, token=TOKEN)
    found = exposure.look(client)
    assert {request.method for request in server.requests} == {"GET"}
    assert client.requests == len(server.requests)
    return [text.replace(server.url, "URL") for text in found]


def test_everybody_who_is_let_in_may_write_and_that_is_said_with_what_was_not_tried(serve, connect):
    (warning,) = look(serve, connect, answer_json(ANYBODY))
    assert warning.startswith(
        "Whoever reaches URL may create, change and delete Dataplanes and policies without a token: it is let in as mesh-system:anonymous"
    )
    assert "It was not tried" in warning
    assert "firewall" in warning
    assert "plain HTTP on all" not in warning


def test_everybody_may_be_the_administrator(serve, connect):
    (warning,) = look(serve, connect, answer_json(ADMIN))
    assert "is the administrator of the mesh, without a token" in warning
    assert "LOCALHOST_IS_ADMIN=false" in warning


def test_another_product_has_rules_that_were_not_looked_into(serve, connect):
    (warning,) = look(serve, connect, answer_json(ANYBODY), product="Kong Mesh", basedOnKuma="2.14.3")
    assert "is up to the AccessRoleBindings of Kong Mesh, which were not looked into" in warning
    assert "may create" not in warning


@pytest.mark.parametrize(
    "who", [problem(401, "no"), problem(403, "no"), CUT, Answer(200, "<html>", "text/html"), answer_json([]), answer_json({"name": 1})]
)
def test_who_lets_nobody_in_that_it_does_not_know_is_not_told_of(serve, connect, who):
    assert look(serve, connect, who) == []


@pytest.mark.parametrize(
    ("interface", "open_to_all"), [("0.0.0.0", True), ("::", True), ("", True), ("127.0.0.1", False), ("10.0.0.5", False)]
)
def test_plain_http_on_all_addresses_is_told(serve, connect, interface, open_to_all):
    config = {"http": {"enabled": True, "interface": interface, "port": 5681}}
    found = look(serve, connect, problem(401, "no"), config)
    assert len(found) == int(open_to_all)
    assert all("It offers its API by plain HTTP on all its addresses as well (port 5681)" in text for text in found)
    (both,) = look(serve, connect, answer_json(ANYBODY), config)
    assert ("plain HTTP on all its addresses" in both) is open_to_all
    assert look(serve, connect, problem(401, "no"), {"http": {**config["http"], "enabled": False}}) == []


def test_who_takes_no_writes_at_all_is_not_asked(serve, connect):
    assert look(serve, connect, answer_json(ANYBODY), {"readOnly": True}) == []


@pytest.mark.parametrize(
    "look_at",
    [lambda client: preflight.look(client, "default", {}, "NotReady"), lambda client: preflight.look_for_zone(client, "default", {})],
)
def test_every_preflight_tells_it(control_plane, connect, look_at):
    client = connect(control_plane.https_url, token=control_plane.token, ca_path=control_plane.ca_file)
    before = client.requests
    assert [text for text in look_at(client).warnings if "without a token" in text]
    assert client.requests - before <= 5
