# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: outbounds
short_description: Compute the outbound ports of a VM
version_added: 0.1.0
description:
  - Gives every service that applications on a VM call a local port, and keeps it.
  - >-
    The rules, in order: a port pinned by O(pins), a port already in use (O(existing)), a port derived from the name of the
    service, moved on while it is taken. Adding or removing a service therefore never moves another one.
  - Ports of Kuma, Envoy and common agents are never handed out.
positional: _input
options:
  _input:
    description:
      - The services, as names or as mappings with the keys C(service), C(port) (pins the local port), C(tags) and C(backend_ref).
    type: list
    elements: raw
    required: true
  range:
    description: The ports to choose from, both ends included.
    type: str
    default: 10001-19999
  existing:
    description: Ports in use now, service to port. They stay, unless they are outside O(range) or reserved.
    type: dict
    default: {}
  pins:
    description: Ports chosen by the user, service to port.
    type: dict
    default: {}
  reserved:
    description: More ports that must not be handed out, such as those that applications listen on.
    type: list
    elements: int
    default: []
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Look up outbound ports
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Show where the application finds its services
      ansible.builtin.debug:
        msg: "{{ ['backend', 'redis'] | meshfleet.kuma.outbounds(range='10001-19999', pins={'redis': 16379}) }}"
"""

RETURN = r"""
_value:
  description: One entry per service, sorted by service, with the keys C(service), C(address), C(port), and C(tags) and C(backend_ref) where given.
  type: list
  elements: dict
  sample:
    - {service: backend, address: 127.0.0.1, port: 11873}
    - {service: redis, address: 127.0.0.1, port: 16379}
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.meshfleet.kuma.plugins.module_utils._join import outbound_ports


def outbounds(
    services: t.Any,
    range: t.Union[str, t.Sequence[int]] = "10001-19999",  # noqa: A002 -- the name that users write
    existing: t.Optional[t.Mapping[str, int]] = None,
    pins: t.Optional[t.Mapping[str, int]] = None,
    reserved: t.Sequence[int] = (),
) -> t.List[t.Dict[str, t.Any]]:
    if isinstance(services, (str, bytes)) or not isinstance(services, t.Iterable):
        raise AnsibleFilterError("meshfleet.kuma.outbounds: expected a list of services, found %r" % (services,))
    try:
        return outbound_ports.outbounds(services, range, existing, pins, reserved or ())
    except outbound_ports.OutboundError as error:
        raise AnsibleFilterError("meshfleet.kuma.outbounds: %s" % error) from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError("meshfleet.kuma.outbounds: a port is not a number: %s" % error) from error


class FilterModule:
    """Jinja2 filters of this file."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"outbounds": outbounds}
