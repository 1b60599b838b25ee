# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: dataplane
short_description: Build a Dataplane from what a VM offers and calls
version_added: 0.1.0
description:
  - Turns a short description of a proxy into a Dataplane resource, with tags for Kuma 2.x and with labels, C(protocol) and
    C(backendRef) for Kuma 3.x.
  - The result carries neither C(state) nor C(health); M(meshfleet.kuma.dataplanes) takes care of both.
positional: _input
options:
  _input:
    description:
      - The proxy, with the keys C(name), C(address), C(mesh), C(services), C(gateway), C(outbounds), C(labels), C(workload) and C(admin_port).
      - >-
        Each service has C(name), C(port), and optionally C(service_port), C(service_address), C(protocol), C(tags), C(address),
        C(inbound_name) and C(probe). Each outbound is one of the results of P(meshfleet.kuma.outbounds#filter). C(gateway) has C(name) and
        optionally C(tags), and makes it the Dataplane of a delegated gateway.
    type: dict
    required: true
  model:
    description: The generation of the resource.
    type: str
    choices: [v2, v3]
    default: v2
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Build a Dataplane
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show the Dataplane of a web server that calls a backend
      ansible.builtin.debug:
        msg: "{{ proxy | meshfleet.kuma.dataplane }}"
      vars:
        proxy:
          name: web-1
          address: 10.0.0.11
          services:
            - {name: web, port: 8080, service_port: 18080, protocol: http}
          outbounds: "{{ ['backend'] | meshfleet.kuma.outbounds }}"
"""

RETURN = r"""
_value:
  description: The Dataplane as Kuma's HTTP API has it.
  type: dict
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource


def dataplane(proxy: t.Any, model: str = "v2") -> t.Dict[str, t.Any]:
    if not isinstance(proxy, t.Mapping):
        raise AnsibleFilterError("meshfleet.kuma.dataplane: expected a mapping, found %r" % (proxy,))
    missing = [key for key in ("name", "address") if not proxy.get(key)]
    if missing:
        raise AnsibleFilterError("meshfleet.kuma.dataplane: %s is missing" % " and ".join(missing))
    if model not in ("v2", "v3"):
        raise AnsibleFilterError("meshfleet.kuma.dataplane: model is %r, expected v2 or v3" % (model,))
    try:
        return resource.build({"mesh": "default", **proxy}, model)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError("meshfleet.kuma.dataplane: proxy %s: %r" % (proxy["name"], error)) from error


class FilterModule:
    """Jinja2 filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"dataplane": dataplane}
