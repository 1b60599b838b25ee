# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Reads values of the inventory and keeps what is wrong with them. Pure functions.

Every fault is a sentence that names the host, the variable, what was found and what was expected.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import checks, naming
from ansible_collections.meshfleet.kuma.plugins.module_utils._dataplane import resource


class Reader:
    """Reads the variables of one host; ``problems`` collects what is wrong with them."""

    def __init__(self, host: str, model: str) -> None:
        self.host = host
        self.model = model
        self.problems: t.List[str] = []

    def fault(self, field: str, found: t.Any, expected: str) -> None:
        self.problems.append("%s: %s is %s, expected %s" % (self.host, field, _shown(found), expected))

    def port(self, value: t.Any, field: str) -> t.Optional[int]:
        port = checks.port_of(value.strip() if isinstance(value, str) else value)
        if port is None:
            self.fault(field, value, "a port from 1 to 65535")
        return port

    def ports(self, value: t.Any, field: str) -> t.List[int]:
        found = [self.port(item, "%s[%d]" % (field, index)) for index, item in enumerate(self.items(value, field))]
        return [port for port in found if port is not None]

    def name(self, value: t.Any, field: str) -> str:
        """The name of a proxy on a VM."""
        text = str(value or "")
        if not naming.is_proxy_name(text):
            self.fault(field, value, naming.EXPECTED_PROXY)
        elif text.endswith(naming.COVER_SUFFIX):
            self.fault(field, value, "a name that does not end in %s, which is reserved" % naming.COVER_SUFFIX)
        elif naming.too_long(text):
            self.problems.append("%s: %s %s %s. Choose a shorter name" % (self.host, field, _shown(text), naming.too_long(text)))
        return text

    def loose_name(self, value: t.Any, field: str) -> str:
        """The name of a Mesh or a zone."""
        text = str(value or "")
        if not naming.is_loose_name(text):
            self.fault(field, value, naming.EXPECTED_LOOSE)
        return text

    def address(self, value: t.Any, field: str) -> str:
        text = str(value or "")
        if checks.is_wildcard(text):
            self.fault(field, value, "the address that other VMs reach this one at, not a wildcard")
        elif not checks.is_ip(text) and (not naming.is_name(text) or re.match(r"[0-9.]+\Z", text)):
            self.fault(field, value, "an IP address")
        return text

    def mapping(self, value: t.Any, field: str, keys: t.AbstractSet[str]) -> t.Dict[str, t.Any]:
        if not isinstance(value, t.Mapping):
            self.fault(field, value, "a mapping with the keys " + ", ".join(sorted(keys)))
            return {}
        for key in sorted(set(value) - keys, key=str):
            self.fault("%s.%s" % (field, key), value[key], "only the keys " + ", ".join(sorted(keys)))
        return dict(value)

    def items(self, value: t.Any, field: str) -> t.List[t.Any]:
        if value is None:
            return []
        if isinstance(value, (str, bytes)) or not isinstance(value, t.Sequence):
            self.fault(field, value, "a list")
            return []
        return list(value)

    def merged(self, field: str, *values: t.Any) -> t.Dict[str, t.Any]:
        """Mappings laid over each other, the last one on top."""
        result: t.Dict[str, t.Any] = {}
        for value in values:
            if value is not None and not isinstance(value, t.Mapping):
                self.fault(field, value, "a mapping")
            else:
                result.update(value or {})
        return result

    def labels(self, value: t.Mapping[str, t.Any], field: str) -> t.Dict[str, str]:
        labels = {}
        for key, item in value.items():
            labels[str(key)] = str(item)
            if key in resource.COMPUTED_LABELS:
                self.fault('%s["%s"]' % (field, key), item, "no label that the control plane computes itself")
            elif not checks.is_label(str(key), str(item)):
                self.fault('%s["%s"]' % (field, key), item, "a Kubernetes label: short names of letters, digits, - _ .")
        return labels


def _shown(value: t.Any) -> str:
    if value is None or value == "":
        return "not set"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
