# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes all that a callback gets to see to the file LAB_EVERYTHING: every event with its results, items and variables, skipped ones included.

Of a host it writes the name alone: what the inventory says is the user's own.
"""

from __future__ import annotations

import os

from ansible.inventory.host import Host
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lab_everything
type: aggregate
short_description: All that a callback gets to see
description: Writes it to the file that the environment variable LAB_EVERYTHING names; without it nothing.
requirements: [enable it]
"""

# What events hold, by where Ansible keeps it: results, tasks, and files that are included with the variables they get.
ATTRIBUTES = ("_result", "name", "args", "vars", "_filename", "_args", "_vars", "_task", "_host")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "lab_everything"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("LAB_EVERYTHING")
        self.disabled = not path
        if path:
            self._file = open(path, "a")  # noqa: SIM115

    def event(self, *args, **kwargs):
        for value in [*args, *kwargs.values()]:
            self._file.write(self._shown(value) + "\n")
        self._file.flush()

    def _shown(self, value, depth=2):
        if isinstance(value, Host):
            return value.get_name()
        found = {name: getattr(value, name) for name in ATTRIBUTES if depth and hasattr(value, name)}
        return repr({name: self._shown(item, depth - 1) for name, item in found.items()} or value)


# Each by its name, for Ansible gives up the one method for all of them.
for _name in dir(CallbackBase):
    if _name.startswith("v2_") and _name != "v2_on_any":
        setattr(CallbackModule, _name, CallbackModule.event)
