#!/usr/bin/python
# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dataplanes
short_description: Manage the Dataplanes of a mesh in bulk
version_added: 0.1.0
description:
  - Brings many Dataplanes to what is wanted with one listing of the mesh, one write for each that differs, and one more listing
    that proves the writes.
  - >-
    C(state) and C(health) of the inbounds belong to the control plane: the live values are carried over in every write, so that
    a fenced or dead proxy never returns to traffic by being applied again. New inbounds start as O(initial_state).
  - Labels that a Dataplane of the list does not name are left alone. A label with the value null is removed.
  - A field that the control plane would drop without a word is an error before anything is written.
extends_documentation_fragment:
  - meshfleet.kuma.api
  - meshfleet.kuma.attributes
  - meshfleet.kuma.attributes.writes
  - meshfleet.kuma.attributes.in_process
options:
  dataplanes:
    description:
      - The Dataplanes as Kuma's HTTP API has them. C(type) and C(mesh) may be left out.
      - With O(state=absent) only C(name) matters.
    type: list
    elements: dict
    default: []
  src:
    version_added: 0.2.0
    description:
      - A file on the controller with the Dataplanes, each as in O(dataplanes), or a directory with such files. It is for lists of
        hundreds and more, which Ansible takes longer to fill in and hand on than the control plane takes to store them.
      - YAML, or JSON where the name ends in C(.json), which is read in a tenth of the time. A file may hold several documents, and a
        document may be a list of Dataplanes. There are no templates in it.
      - In a directory all files with the endings C(.yml), C(.yaml) and C(.json) count, also those in directories below, unless a
        name begins with a dot.
      - A relative path is looked for in the directory C(files) of the role or playbook, in the role or beside the playbook, and where
        Ansible was started.
      - It is read on the controller also when the task runs elsewhere.
    type: path
  mesh:
    description: The mesh they belong to.
    type: str
    default: default
  state:
    description: Whether the Dataplanes exist.
    type: str
    choices: [present, absent]
    default: present
  initial_state:
    description:
      - The state of an inbound that the control plane does not have yet.
      - With V(NotReady) it gets no traffic until the control plane has seen its proxy healthy. V(Ready) sends traffic at once; use it
        only where the control plane's health checks (HDS) are switched off.
    type: str
    choices: [NotReady, Ready]
    default: NotReady
  owner:
    description:
      - Value of the label C(meshfleet.kuma/owner) that every Dataplane in O(dataplanes) or O(src) gets. Without it no such label is set.
    type: str
  purge:
    description:
      - Delete the Dataplanes of O(mesh) that carry the label of O(owner) and are in neither O(dataplanes) nor O(src).
      - Refused for control planes before 2.13, which lose labels.
    type: bool
    default: false
  purge_limit:
    description: More deletions than this are refused, before anything is written.
    type: int
    default: 10
author:
  - The meshfleet.kuma maintainers (@meshfleet)
"""

EXAMPLES = r"""
- name: Register two Dataplanes and remove them
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Register two Dataplanes
      meshfleet.kuma.dataplanes:
        dataplanes:
          - name: web-1
            networking:
              address: 10.0.0.11
              inbound:
                - port: 8080
                  servicePort: 18080
                  serviceAddress: 127.0.0.1
                  tags: {kuma.io/service: web, kuma.io/protocol: http}
          - name: web-2
            networking:
              address: 10.0.0.12
              inbound:
                - port: 8080
                  servicePort: 18080
                  serviceAddress: 127.0.0.1
                  tags: {kuma.io/service: web, kuma.io/protocol: http}

    - name: Remove them
      meshfleet.kuma.dataplanes:
        state: absent
        dataplanes: [{name: web-1}, {name: web-2}]

- name: Register what is in a file, and delete what was in it and is no longer
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/meshfleet.kuma.api:
      url: "{{ kuma_api_url | default('http://127.0.0.1:5681') }}"
      token: "{{ kuma_api_token | default(omit) }}"
  tasks:
    - name: Write a list down
      ansible.builtin.copy:
        dest: "{{ playbook_dir }}/printers.yml"
        mode: "0644"
        content: |
          - name: printer-1
            networking:
              address: 10.0.7.1
              inbound:
                - port: 9100
                  servicePort: 9100
                  serviceAddress: 127.0.0.1
                  tags: {kuma.io/service: printer, kuma.io/protocol: tcp}
      check_mode: false

    - name: Register them
      meshfleet.kuma.dataplanes:
        src: printers.yml
        owner: printers
        purge: true

    - name: Remove all that the file names
      meshfleet.kuma.dataplanes:
        src: printers.yml
        state: absent
"""

RETURN = r"""
results:
  description: One entry per Dataplane. After a refusal nothing was written, and the ones without fault are V(skipped).
  returned: when the control plane answered
  type: list
  elements: dict
  contains:
    name:
      description: The name of the Dataplane.
      returned: always
      type: str
    action:
      description: One of V(created), V(updated), V(unchanged), V(deleted), V(failed), V(skipped). In check mode, what would happen.
      returned: always
      type: str
      sample: created
    fields:
      description: The fields that differed.
      returned: when an existing Dataplane differs
      type: list
      elements: str
    failure:
      description: Why it failed.
      returned: when it failed
      type: dict
      contains:
        kind: {description: The kind of failure., returned: always, type: str}
        status: {description: The HTTP status., returned: when the control plane answered, type: int}
        title: {description: The control plane's title., returned: always, type: str}
        detail: {description: The control plane's detail., returned: always, type: str}
        invalid_parameters:
          description: What is wrong with which field.
          returned: always
          type: list
          elements: dict
problems:
  description: Everything that is wrong with the files of O(src), one sentence each with file and line. Nothing was asked and nothing written.
  returned: when files were refused
  type: list
  elements: str
failure:
  description: Why it failed, with the keys C(kind), C(status), C(title), C(detail) and C(invalid_parameters).
  returned: when the control plane did not answer, or an option cannot be used
  type: dict
requests:
  description: How many HTTP requests were made, retries included.
  returned: always
  type: int
"""

import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._api.client import Client
from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._common.failures import ItemsFailed
from ansible_collections.meshfleet.kuma.plugins.module_utils._module.api import Call, Spec, run
from ansible_collections.meshfleet.kuma.plugins.module_utils._registration import sync
from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import listed


def apply(call: Call, client: Client) -> t.Dict[str, t.Any]:
    params = call.params
    settings = sync.Settings(
        mesh=params["mesh"],
        initial_state=params["initial_state"],
        owner=params["owner"],
        check=call.check_mode,
        purge=params["purge"],
        purge_limit=params["purge_limit"],
    )
    wanted = listed.dataplanes(params["src"]) if params["src"] else listed.Listed(params["dataplanes"], {})
    dataplanes = sync.Dataplanes(client, settings)
    try:
        if params["state"] == "absent":
            changes = sync.absent(dataplanes, _named(wanted.dataplanes))
        else:
            changes = sync.present(dataplanes, wanted.dataplanes)
    except sync.Refused as refused:
        failed = _placed(refused.changes, wanted.places)
        msg = f"Nothing was written. {sync.describe_failures(failed)}" if failed else refused.msg
        raise ItemsFailed(msg, {"changed": False, "results": [change.result() for change in refused.changes]}) from refused
    result: t.Dict[str, t.Any] = {
        "changed": sync.changed(changes),
        "results": [change.result() for change in changes],
    }
    if call.diff:
        result["diff"] = sync.diff(changes, dataplanes)
    failed = _placed(changes, wanted.places)
    if failed:
        raise ItemsFailed(sync.describe_failures(failed), result)
    return result


def _placed(changes: t.Sequence[sync.Change], places: t.Mapping[str, str]) -> t.List[sync.Change]:
    """Those that failed, as a message names them: with where they are in a file."""
    failed = [change for change in changes if change.action == sync.FAILED]
    return [change._replace(name=f"{change.name} ({places[change.name]})") if change.name in places else change for change in failed]


def _named(items: t.Sequence[t.Mapping[str, t.Any]]) -> t.List[str]:
    nameless = [index for index, item in enumerate(items) if not item.get("name")]
    if nameless:
        raise sync.Refused("Nothing was written. dataplanes[%d].name is not set, expected the name of a Dataplane." % nameless[0])
    return [str(item["name"]) for item in items]


def hand_over(options: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """The options of a run on another machine: what is in the files of the controller takes the place of their path. Raises ItemsFailed."""
    if "dataplanes" in options:
        return options  # which is refused there
    others = {name: value for name, value in options.items() if name != "src"}
    return dict(others, dataplanes=listed.dataplanes(options["src"]).dataplanes)


SPEC = Spec(
    apply,
    {
        "dataplanes": {"type": "list", "elements": "dict", "default": []},
        "src": {"type": "path"},
        "mesh": {"type": "str", "default": "default"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "initial_state": {"type": "str", "choices": ["NotReady", "Ready"], "default": "NotReady"},
        "owner": {"type": "str"},
        "purge": {"type": "bool", "default": False},
        "purge_limit": {"type": "int", "default": 10},
    },
    names={"mesh": naming.LOOSE, "src": naming.PLACE, "dataplanes[].name": naming.NAME, "dataplanes[].mesh": naming.LOOSE},
    checks={"mutually_exclusive": [("dataplanes", "src")]},
    hand_over=hand_over,
)


def main() -> None:
    run(SPEC)


if __name__ == "__main__":
    main()
