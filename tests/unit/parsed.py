# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that many tests read, parsed once. What is returned is shared: nobody may change it."""

from __future__ import annotations

import functools

import yaml


@functools.cache
def text(content):
    """A document; libyaml is ten times as fast as the parser in Python."""
    return yaml.load(content, Loader=yaml.CSafeLoader)


@functools.cache
def file(path):
    return text(path.read_text())
