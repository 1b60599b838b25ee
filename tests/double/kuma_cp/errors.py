# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the API words them."""

from __future__ import annotations

from typing import Any


class Problem(Exception):
    """Becomes a problem document with `status`, `title`, `detail` and, for validation, one entry per violation."""

    def __init__(self, status: int, title: str, detail: str, violations: list[tuple[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.violations = violations or []

    def body(self) -> dict[str, Any]:
        """The document; `details` and `causes` repeat the rest for old clients."""
        document: dict[str, Any] = {"type": "/std-errors", "status": self.status, "title": self.title, "detail": self.detail}
        if self.violations:
            document["invalid_parameters"] = [{"field": field, "reason": reason} for field, reason in self.violations]
        document["details"] = self.detail
        if self.violations:
            document["causes"] = [{"field": field, "message": reason} for field, reason in self.violations]
        return document


class Text(Exception):
    """A failure of the router: plain text, no document."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Unparseable(Exception):
    """The body is no such object."""


def not_found(title: str) -> Problem:
    return Problem(404, title, "Not found")


def invalid(title: str, violations: list[tuple[str, str]]) -> Problem:
    return Problem(400, title, "Resource is not valid", violations)
