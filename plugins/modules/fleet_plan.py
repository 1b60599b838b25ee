#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Plan the join of a fleet, and find everything that speaks against it
version_added: 0.1.0
description:
  - Reads the control plane and checks what the inventory says about every host. All problems are reported in one message; nothing
    is written, neither to the control plane nor to a VM.
  - Computes the outbound ports of the whole fleet and the Dataplane of every proxy.
  - The role P(meshfleet.kuma.kuma_dp#role) calls it once per play. It is not meant to be called by hand.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.info
options:
  hosts:
    description: The hosts of the fleet.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: Its name in the inventory.
        type: str
        required: true
      in_play:
        description: Whether this play handles it. The others count for uniqueness and for outbound ports.
        type: bool
        default: true
      dropped_out:
        description: Whether it was in the play and is no longer. What is wrong with its variables is a problem all the same.
        type: bool
        default: false
      variables:
        description: The variables of the role for this host, without their prefix.
        type: dict
        default: {}
      observed:
        description: What M(meshfleet.kuma.proxy_info) returned as RV(meshfleet.kuma.proxy_info#module:host) for it.
        type: dict
  mesh:
    description: The mesh that they join.
    type: str
    default: default
  initial_state:
    description: The state that new inbounds get.
    type: str
    choices: [NotReady, Ready]
    default: NotReady
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Plan the join of a host
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Plan the join of one host
      meshfleet.kuma.fleet_plan:
        hosts:
          - host: web-1
            variables:
              name: web-1
              address: 10.0.0.11
              version: 2.14.3
              archive: /srv/kuma-2.14.3-linux-{arch}.tar.gz
              archive_checksum: {amd64: "{{ kuma_sha256 }}"}
              services: [{name: web, port: 8080, service_port: 18080, protocol: http}]
              upstreams: [backend]
      vars:
        kuma_sha256: 0f4d9b9a5a3b9c5c9f5c1b0c8b0a3f7f6f3d3a6e1f8c7b6a5d4c3b2a19080706
"""

RETURN = r"""
plan:
  description:
    - "For each host in the play C(proxies): a list with C(name), C(mesh), C(address), C(dataplane), C(outbounds), C(ports), C(workload),
      C(token), C(registered), C(differs), C(ready), C(not_ready_reasons), C(labels_lost), C(gates), C(fenced), C(privileged_ports),
      C(lifecycle), C(file) and C(template) (what the Dataplane file of a Direct proxy holds), C(arguments) (for its kuma-dp) and C(hold)
      (why it must not be restarted now) of every proxy; and C(archive), the path of its archive on the controller."
  returned: success
  type: dict
dataplanes:
  description: The Dataplanes of all hosts in the play that the play registers, which are those of Indirect proxies.
  returned: success
  type: list
  elements: dict
differing:
  description: The names of those of RV(dataplanes) that the control plane does not hold like that.
  returned: success
  type: list
  elements: str
labels_lost:
  description: The names of those of C(differing) that have none of their labels, which control planes before 2.13 lose.
  returned: success
  type: list
  elements: str
not_ready:
  description: The names of those that are not in traffic although nobody fenced them.
  returned: success
  type: list
  elements: str
fetch:
  description: Archives that are not on the controller yet, with C(url), C(path) and C(checksum).
  returned: success
  type: list
  elements: dict
control_plane:
  description: What is known of the control plane, such as C(version), C(model) and C(store).
  returned: when the control plane answered
  type: dict
problems:
  description: Everything that speaks against the join, one sentence each.
  returned: unless an option cannot be used
  type: list
  elements: str
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when an option cannot be used
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.capabilities import Capabilities
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client, api_path
from ansible_collections.meshfleet.kuma.plugins.module_utils._api.errors import ApiError, NotFound
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.releases import Release
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.wording import some
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import generation
from ansible_collections.meshfleet.kuma.plugins.module_utils._join import archive, lifecycle, preflight, templates
from ansible_collections.meshfleet.kuma.plugins.module_utils._join.plan import Fleet
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run


def plan(call: Call, client: Client) -> t.Dict[str, t.Any]:
    hosts, mesh = call.params["hosts"], call.params["mesh"]
    archives, problems = archive.plan(hosts)
    wish, faults = generation.asked(hosts)
    problems.extend(faults)
    rules, release, labels = generation.Rules("v3" if wish == "v3" else "v2"), Release(2, 14, 0), True
    overviews: t.List[t.Dict[str, t.Any]] = []
    control_plane: t.Dict[str, t.Any] = {}
    try:
        found = preflight.look(client, mesh, preflight.versions(hosts), call.params["initial_state"])
        capabilities = found.capabilities
        release, labels = capabilities.release, capabilities.labels_survive
        tags_disabled = found.control_plane.get("inbound_tags_disabled") is True
        rules, faults = generation.choose(wish, release, generation.mode_of(found.mesh), tags_disabled)
        problems.extend(faults)
        control_plane = {
            **found.control_plane,
            "product": capabilities.product,
            "version": capabilities.version,
            "kuma_version": capabilities.kuma_version,
            "model": rules.model,
        }
        problems.extend(found.problems)
        for warning in [*found.warnings, *_labels(hosts, capabilities)]:
            call.warn(warning)
        if not found.problems:
            overviews = client.list(api_path("meshes", mesh, "dataplanes", "_overview"))
    except NotFound as error:
        problems.append("%s is not the API of a Kuma control plane: %s" % (call.params["url"], error))
    except ApiError as error:
        problems.append(str(error) + preflight.variable(error))

    templates.read(hosts)
    fleet = Fleet(hosts, overviews, rules.model, release, labels, rules.exclusive, call.params["initial_state"])
    plans = fleet.plan()
    problems.extend(fleet.problems)
    if problems:
        raise ItemsFailed(preflight.message(problems), {"problems": problems, "control_plane": control_plane})
    for name, needed in archives.items():
        plans[name]["archive"] = needed.path
    proxies = [proxy for host in plans.values() for proxy in host["proxies"]]
    ours = [proxy for proxy in proxies if proxy["lifecycle"] == lifecycle.INDIRECT]
    return {
        "changed": False,
        "plan": plans,
        "dataplanes": [proxy["dataplane"] for proxy in ours],
        "differing": sorted(proxy["name"] for proxy in ours if proxy["differs"]),
        "labels_lost": sorted(proxy["name"] for proxy in ours if proxy["labels_lost"]),
        "not_ready": sorted(proxy["name"] for proxy in proxies if not proxy["ready"] and not proxy["fenced"]),
        "fetch": archive.to_fetch(archives.values()),
        "control_plane": control_plane,
        "problems": [],
    }


def _labels(hosts: t.Sequence[t.Mapping[str, t.Any]], capabilities: Capabilities) -> t.List[str]:
    """What becomes of labels that somebody asked for where none survive."""
    named = [
        str(host["host"])
        for host in hosts
        if host["in_play"] and any((host.get("variables") or {}).get(key) for key in ("labels", "owner", "workload"))
    ]
    if capabilities.labels_survive or not named:
        return []
    return [
        "The control plane (Kuma %s) loses the labels of users at the next change of readiness, so none are written: kuma_dp_labels, "
        "kuma_dp_workload and kuma_dp_owner of %s have no effect. Upgrade it to 2.13 or later and join again, which writes them."
        % (capabilities.kuma_version, some(named, 3))
    ]


SPEC = Spec(
    plan,
    {
        "hosts": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "host": {"type": "str", "required": True},
                "in_play": {"type": "bool", "default": True},
                "dropped_out": {"type": "bool", "default": False},
                "variables": {"type": "dict", "default": {}},
                "observed": {"type": "dict"},
            },
        },
        "mesh": {"type": "str", "default": "default"},
        "initial_state": {"type": "str", "choices": ["NotReady", "Ready"], "default": "NotReady"},
    },
    names={"mesh": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
