# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists that the client reads in pages, while they change."""

from __future__ import annotations

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client as api_client
from tests.unit.api.failures import failure
from tests.unit.http_server import Answer, answer_json


class Collection:
    """A list of resources as a control plane serves it, with whatever happens before a page is made."""

    def __init__(self, count, happens=lambda offset, items: None):
        self.items = [{"type": "Dataplane", "mesh": "default", "name": f"web-{number:05}"} for number in range(count)]
        self.happens = happens

    def __call__(self, request):
        size, offset = int(request.query.get("size", 100)), int(request.query.get("offset", 0))
        self.happens(offset, self.items)
        last = offset + size >= len(self.items)
        return answer_json(
            {
                "total": len(self.items),
                "items": self.items[offset : offset + size],
                "next": None if last else "https://somewhere-else:1/meshes?offset=7",
            }
        )


def names(items):
    return [item["name"] for item in items]


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (3000, 3)])
def test_a_list_is_read_in_pages_of_1000(serve, connect, count, requests):
    collection = Collection(count)
    server = serve(collection)
    assert names(connect(server.url).list("/dataplanes", {"tag": "a:b"})) == names(collection.items)
    assert len(server.requests) == requests
    assert {request.query["size"] for request in server.requests} == {"1000"}
    assert {request.query["tag"] for request in server.requests} == {"a:b"}


@pytest.mark.parametrize("change", ["insert", "delete"])
def test_items_that_move_while_they_are_listed(serve, connect, change):
    """One is inserted before the first page while the second is read: an item comes twice. One is deleted: one is skipped."""
    done = []

    def happens(offset, items):
        if offset == 10 and not done:
            done.append(True)
            if change == "insert":
                items.insert(0, {"type": "Dataplane", "mesh": "default", "name": "new"})
            else:
                del items[0]

    collection = Collection(25, happens)
    server = serve(collection)
    assert names(connect(server.url).list("/dataplanes", page_size=10)) == names(collection.items)
    assert len(server.requests) == 6


def test_one_that_is_replaced_without_moving_the_total(serve, connect):
    done = []

    def happens(offset, items):
        if offset == 10 and not done:
            done.append(items.pop(0))
            items.append({"type": "Dataplane", "mesh": "default", "name": "new"})

    collection = Collection(20, happens)
    assert len(connect(serve(collection).url).list("/dataplanes", page_size=10)) == 20


def test_a_list_that_never_rests_is_returned_with_a_warning(serve, connect):
    def happens(offset, items):
        if offset:
            items.append({"type": "Dataplane", "mesh": "default", "name": f"new-{len(items)}"})

    server = serve(Collection(15, happens))
    client = connect(server.url)
    found = names(client.list("/dataplanes", page_size=10))
    assert len(found) == len(set(found))
    assert sum("offset" not in request.query for request in server.requests) == api_client.LISTINGS
    assert "changed while it was listed" in client.warnings[0]


def test_equal_names_in_two_meshes_are_two_items(serve, connect):
    items = [{"type": "Dataplane", "mesh": mesh, "name": "web-1"} for mesh in ("a", "b")]
    assert connect(serve(answer_json({"total": 2, "items": items, "next": None})).url).list("/dataplanes") == items


@pytest.mark.parametrize("answer", [Answer(200, "<html>", "text/html"), answer_json({"product": "Kuma"}), answer_json([])])
def test_what_is_no_list_is_a_protocol_error(serve, connect, answer):
    error = failure(connect(serve(answer).url).list, "/dataplanes")
    assert error.kind == "protocol"
    assert "port 5681 or 5682" in str(error)


@pytest.mark.parametrize("path", ["/kuma", "/a/b-c", "/a%20b"])
def test_a_path_of_the_address_stands_before_every_request_also_of_later_pages(serve, connect, path):
    """What is before the control plane has it below a path, of which it knows nothing when it says where the next page is (trap 21)."""
    collection = Collection(2500)

    def before(request):
        return collection(request) if request.path.startswith(f"{path}/") else Answer(404, "not here", "text/plain")

    server = serve(before)
    client = connect(f"{server.url}{path}/")
    assert names(client.list("/dataplanes")) == names(collection.items)
    client.get("/")
    client.put("/meshes/default", {})
    client.delete("/meshes/default")
    assert {request.path for request in server.requests} == {f"{path}/{rest}" for rest in ("dataplanes", "", "meshes/default")}
    assert [request.query.get("offset") for request in server.requests[:3]] == [None, "1000", "2000"]
