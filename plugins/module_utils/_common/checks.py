# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""What a value may be: an IP address, a port, a label, a tag. Standard library only."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import naming

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 -- compared with, never bound

# A name of RFC 1035, whose length is a matter of its own.
RFC1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_TAG_VALUE = re.compile(r"[a-zA-Z0-9.\-_:]+\Z")
_PORT = re.compile(r"[0-9]{1,9}\Z")


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_wildcard(text: str) -> bool:
    """Whether who listens there listens on every address."""
    return text in (ANY_ADDRESS, "::", "*", "")


def port_of(value: t.Any) -> t.Optional[int]:
    """The port that a number or its digits mean; None for everything else."""
    if isinstance(value, bool) or not _PORT.match(str(value)):
        return None
    return int(value) if 1 <= int(value) <= 65535 else None


def is_port(value: t.Any) -> bool:
    return port_of(value) is not None


def is_label(key: str, value: str) -> bool:
    """Whether Kubernetes' label rules allow the pair, which are Kuma's."""
    prefix, slash, name = key.rpartition("/")
    if slash and not naming.is_name(prefix):
        return False
    if len(name) > 63 or not _LABEL_NAME.match(name):
        return False
    return value == "" or (len(value) <= 63 and bool(_LABEL_NAME.match(value)))


def is_rfc1035(name: str) -> bool:
    """Whether a MeshService, a workload or a zone of Kuma 3.0 may have this name."""
    return len(name) <= 63 and bool(RFC1035.match(name))


def is_tag_value(text: str) -> bool:
    """Whether a tag, and with it a service of Kuma 2.x, may have this value."""
    return bool(_TAG_VALUE.match(text))
