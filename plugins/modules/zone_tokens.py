#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: zone_tokens
short_description: Issue tokens for zone ingresses and egresses
version_added: 0.1.0
description:
  - Issues zone tokens for many zone proxies in one task, with up to 8 requests at a time.
  - A zone token is bound to a zone and to what a proxy may be there, not to the name of a proxy. Each proxy gets one of its own
    nevertheless, which can be revoked alone.
  - A token is only issued when it is needed. Give the claims of the current one as C(current), for example from
    M(meshfleet.kuma.proxy_info); it is kept as long as its zone and scope are those wanted and it is valid for longer than O(renew_before).
  - Use C(no_log) on the task, because the tokens are in its result. When the task fails they are not.
author:
  - The meshfleet.kuma maintainers (@meshfleet)
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.in_process
attributes:
  check_mode:
    support: full
    details:
      - No token is issued. RV(results) says which would be.
  diff_mode:
    support: full
    details:
      - Shows when tokens end, never a token.
  idempotent:
    support: partial
    details:
      - Only as far as C(current) is given. Without it a new token is issued in every run.
options:
  tokens:
    description: The zone proxies that need a token. A name may be in the list once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the zone proxy, by which the result knows its token.
        type: str
        required: true
      zone:
        description: Zone that the token is bound to. It must be the one of the control plane.
        type: str
        required: true
      scope:
        description: What a proxy with this token may be.
        type: list
        elements: str
        choices: [ingress, egress]
        required: true
      valid_for:
        description: As O(valid_for), for this token.
        type: str
      current:
        description: Claims of the token that the proxy has now.
        type: dict
  valid_for:
    description: For how long new tokens are valid, such as V(30d), V(720h) or V(1h30m).
    type: str
    default: 720h
  renew_before:
    description:
      - For how long a token must still be valid to be kept, such as V(7d), or which share of its lifetime has to be left, such as V(25%).
      - With V(all) no token is kept.
    type: str
    default: 168h
  ledger:
    description:
      - File on the machine that this runs on, normally the controller, into which a line is written for each new token before it is returned -
        its ID (C(jti)), the proxy, the mesh, its end and the time, never the token. It is made when it does not exist.
      - When it cannot be written no token is returned.
    type: path
    version_added: 0.2.0
seealso:
  - module: meshfleet.kuma.dataplane_tokens
  - module: meshfleet.kuma.zone_proxies
"""

EXAMPLES = r"""
- name: Issue the tokens of two zone proxies
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Issue them
      meshfleet.kuma.zone_tokens:
        tokens:
          - {name: gate-1-ingress, zone: default, scope: [ingress]}
          - {name: gate-2-egress, zone: default, scope: [egress]}
      no_log: true
      register: zone_tokens
"""

RETURN = r"""
results:
  description: What was done for each of O(tokens), in their order.
  returned: success, and when some could not be issued
  type: list
  elements: dict
  contains:
    name:
      description: Name of the zone proxy.
      returned: always
      type: str
      sample: gate-1-ingress
    mesh:
      description: Always empty, for a zone proxy belongs to no mesh.
      returned: always
      type: str
    action:
      description: V(issued), V(kept) or V(failed). In check mode V(issued) means that it would be.
      returned: always
      type: str
      sample: issued
    reason:
      description: Why.
      returned: always
      type: str
      sample: there is no token
    expires:
      description: End of the token, in seconds since 1970.
      returned: when there is a token
      type: int
      sample: 1795403899
    failure:
      description: What went wrong with this one, with the same keys as RV(failure).
      returned: when O(tokens) could not be issued for it
      type: dict
tokens:
  description: The tokens that were issued, by the name of the zone proxy. Kept ones are not among them.
  returned: success
  type: dict
requests:
  description: How many HTTP requests were made.
  returned: always
  type: int
failure:
  description: What went wrong.
  returned: failure
  type: dict
  contains:
    kind:
      description:
        - V(connection), V(tls), V(timeout), V(authentication), V(authorization), V(not_found), V(invalid), V(conflict),
          V(unavailable), V(server) or V(protocol).
      returned: always
      type: str
    status:
      description: Status of the answer.
      returned: when the control plane answered
      type: int
    title:
      description: What went wrong, in a few words.
      returned: always
      type: str
    detail:
      description: More about it, as the control plane says it.
      returned: always
      type: str
    invalid_parameters:
      description: Fields that were refused, each with the reason.
      returned: always
      type: list
      elements: dict
      contains:
        field:
          description: Path of the field.
          returned: always
          type: str
        reason:
          description: What is wrong with it.
          returned: always
          type: str
"""

import time
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens import issue, zone
from ansible_collections.meshfleet.kuma.plugins.module_utils._tokens.ledger import Ledger
from ansible_collections.meshfleet.kuma.plugins.module_utils._zone import resource


def main_task(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    wishes = issue.plan(params["tokens"], params["valid_for"], params["renew_before"], time.time(), lambda: False, sort=zone.ZONE)
    ledger = Ledger(params["ledger"]) if params["ledger"] else None
    return issue.carry_out(issue.Issuer(client, ledger=ledger), wishes, call.check_mode)


SPEC = Spec(
    main_task,
    {
        "tokens": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "no_log": False,
            "options": {
                "name": {"type": "str", "required": True},
                "zone": {"type": "str", "required": True},
                "scope": {"type": "list", "elements": "str", "choices": list(resource.KINDS), "required": True},
                "valid_for": {"type": "str"},
                "current": {"type": "dict"},
            },
        },
        "valid_for": {"type": "str", "default": "720h"},
        "renew_before": {"type": "str", "default": "168h"},
        "ledger": {"type": "path"},
    },
    names={"tokens[].name": naming.NAME, "tokens[].zone": naming.LOOSE},
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
