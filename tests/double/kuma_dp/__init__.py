# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""
A stand-in for kuma-dp that runs the real Envoy: the flags, environment, signals and exit codes of the real one.

tests/double/build.py makes it one executable of a version. It runs on virtual machines, so it needs Python 3.8 and nothing else.
"""
