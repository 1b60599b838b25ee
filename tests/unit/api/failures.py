# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the client share."""

from __future__ import annotations

import traceback

import pytest

from ansible_collections.meshfleet.kuma.plugins.module_utils._api import client
from tests.unit.http_server import answer_json

TOKEN = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0LXBhcnQ.c2lnbmF0dXJl"
OK = answer_json({"ok": True})


def failure(call, *args):
    with pytest.raises(client.ApiError) as caught:
        call(*args)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.as_failure()) + repr(caught.value)
    assert TOKEN not in shown
    assert "c2VjcmV0LXBhcnQ" not in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "causes hold the request with its headers"
    return caught.value
