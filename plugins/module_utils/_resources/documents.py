# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: not a public interface.

"""Resources from YAML and JSON files: every one with the file and the line where it is, and every fault.

Faults never quote the files, which may hold secrets.
"""

from __future__ import annotations

import json
import math
import os
import re
import traceback
import typing as t

from ansible_collections.meshfleet.kuma.plugins.module_utils._common import nesting

YAML_IMPORT_ERROR: t.Optional[str]
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()
else:
    YAML_IMPORT_ERROR = None

EXTENSIONS = (".json", ".yaml", ".yml")
_VAULT = "$ANSIBLE_VAULT;"
_COUNTS_FROM = {
    "path": "where Ansible was started, so write {{ playbook_dir }} in front",
    "src": "the directory files of the role or playbook, the role or playbook itself, and where Ansible was started",
}
# Keys of one mapping, with those of the mappings that it merges.
_MOST_MERGED = 10000
# What can be between the items of a list that is JSON.
_BETWEEN = re.compile(r"[ \t\n\r,]*")

# A document, or an item of one that is a list, with the line where it begins.
Entry = t.Tuple[int, t.Any]


class TooMuch(Exception):
    """A text that is nested too deep, or becomes too large."""


class Document(t.NamedTuple):
    """One resource as it was given, and where: ``mesh.yml, line 12`` or ``resources[0]``."""

    source: str
    body: t.Dict[str, t.Any]


def find(path: str, option: str = "path") -> t.Tuple[t.List[str], t.List[str]]:
    """The files at ``path``, a file or a directory that is searched with all below it, and what is wrong with it.

    Files and directories whose names begin with a dot are left out; the order is that of the names. ``option`` of the module is it.
    """
    if os.path.isfile(path):
        return [path], []
    if not os.path.isdir(path):
        return [], [
            "%s is %s, which does not exist on the controller, expected a directory or file: a relative path counts from %s"
            % (option, path, _COUNTS_FROM[option])
        ]
    found: t.List[str] = []
    problems: t.List[str] = []

    def unreadable(error: OSError) -> None:
        problems.append("%s cannot be read: %s" % (error.filename, error.strerror))

    for directory, directories, names in os.walk(path, onerror=unreadable):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        found.extend(os.path.join(directory, name) for name in sorted(names) if name.endswith(EXTENSIONS) and not name.startswith("."))
    if not found and not problems:
        problems.append("%s is %s, which holds no file with one of the endings %s" % (option, path, ", ".join(EXTENSIONS)))
    return found, problems


def read(path: str, option: str = "path") -> t.Tuple[t.List[Document], t.List[str]]:
    """The documents of all files at ``path``, and every fault, each with its file and line."""
    files, problems = find(path, option)
    documents: t.List[Document] = []
    for file in files:
        try:
            with open(file, encoding="utf-8") as stream:
                text = stream.read()
        except OSError as error:
            problems.append("%s cannot be read: %s" % (file, error.strerror))
            continue
        except UnicodeDecodeError as error:
            problems.append("%s is not UTF-8: byte %d" % (file, error.start))
            continue
        label = os.path.relpath(file, path) if file != path else os.path.basename(file)
        found, faults = parse(text, label)
        documents.extend(found)
        problems.extend(faults)
    return documents, problems


def parse(text: str, source: str) -> t.Tuple[t.List[Document], t.List[str]]:
    """The documents of one text, and its faults. A document may be a list of resources; empty ones are left out."""
    if text.startswith(_VAULT):
        return [], [
            "%s is encrypted with ansible-vault: hand over what is in it, not its path, as "
            "\"{{ lookup('ansible.builtin.unvault', <file>) | from_yaml_all | list }}\"; secrets belong into the option secrets of "
            "meshfleet.kuma.resources" % source
        ]
    documents: t.List[Document] = []
    problems: t.List[str] = []
    try:
        for line, value in _json(text) if source.endswith(".json") else _yaml(text):
            _take(value, "%s, line %d" % (source, line), documents, problems)
    except (TooMuch, RecursionError) as error:
        problems.append("%s cannot be parsed: it %s" % (source, error if isinstance(error, TooMuch) else nesting.fault_of_depth()))
    except json.JSONDecodeError as error:
        problems.append("%s cannot be parsed at line %d, column %d: %s" % (source, error.lineno, error.colno, error.msg))
    except yaml.YAMLError as error:
        problems.append("%s cannot be parsed%s" % (source, _reason(error)))
    except ValueError as error:
        problems.append("%s cannot be parsed: %s" % (source, error))
    return documents, problems


def given(values: t.Sequence[t.Any], option: str) -> t.Tuple[t.List[Document], t.List[str]]:
    """The resources of an option of the module, and their faults."""
    documents: t.List[Document] = []
    problems: t.List[str] = []
    for index, value in enumerate(values):
        _take(value, "%s[%d]" % (option, index), documents, problems)
    return documents, problems


def _take(value: t.Any, source: str, documents: t.List[Document], problems: t.List[str]) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        kind = type(value).__name__
        problems.append("%s is a %s, expected a resource with type, name and its fields" % (source, kind))
        return
    faults = [fault for fault in [nesting.fault(value)] if fault] or list(_unusual(value, ""))
    problems.extend("%s: %s" % (source, fault) for fault in faults)
    if not faults:
        documents.append(Document(source, value))


def _json(text: str) -> t.Iterator[Entry]:
    """The document, or each of its items when it is a list. YAML forbids the tabs that JSON may be indented with."""
    value = json.loads(text, object_pairs_hook=_once)
    if isinstance(value, list):
        yield from zip(_lines(text), value)
    else:
        yield 1, value


def _lines(text: str) -> t.Iterator[int]:
    """Where each item begins of a list that is JSON."""
    decoder, line, counted = json.JSONDecoder(), 1, 0
    place = text.index("[") + 1
    while True:
        place = t.cast("re.Match[str]", _BETWEEN.match(text, place)).end()
        if text[place] == "]":
            return
        line, counted = line + text.count("\n", counted, place), place
        yield line
        _value, place = decoder.raw_decode(text, place)


def _yaml(text: str) -> t.Iterator[Entry]:
    """Each document, or each of its items when it is a list. Raises TooMuch."""
    _measure(text)
    loader = _loader()(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            items = node.value if isinstance(node, yaml.SequenceNode) else [node]
            for item in items:
                yield item.start_mark.line + 1, loader.construct_document(item)
    finally:
        loader.dispose()


def _measure(text: str) -> None:
    """Raise TooMuch when a document is nested too deep: whoever makes it has no other limit than the stack of its process."""
    depth = 0
    for event in yaml.parse(text, Loader=_safe_loader()):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > nesting.DEEPEST:
                raise TooMuch(nesting.fault_of_depth())
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unusual(value: t.Any, field: str) -> t.Iterator[str]:
    """What JSON cannot say."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield "%s has a key that is a %s, expected text: put it in quotes" % (field or "the document", type(key).__name__)
            else:
                yield from _unusual(item, "%s.%s" % (field, key) if field else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unusual(item, "%s[%d]" % (field, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield "%s is not a finite number" % field
    elif not (value is None or isinstance(value, (str, bool, int, float))):
        yield "%s is a %s, expected text: put it in quotes" % (field, type(value).__name__)


def _once(pairs: t.Sequence[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _reason(error: t.Any) -> str:
    # Not str(error): it quotes the line.
    mark = getattr(error, "problem_mark", None)
    place = " at line %d, column %d" % (mark.line + 1, mark.column + 1) if mark is not None else ""
    return "%s: %s" % (place, getattr(error, "problem", None) or "it is no YAML")


def _loader() -> t.Any:
    """YAML's safe loader that refuses a key twice in one mapping: the second one would win without a word."""
    safe_loader: t.Any = _safe_loader()

    class Loader(safe_loader):  # type: ignore[misc]
        def flatten_mapping(self, node: t.Any) -> None:
            super().flatten_mapping(node)
            # What is merged into what is merged grows with every level.
            if len(node.value) > _MOST_MERGED:
                raise TooMuch("is larger than %d keys when what it merges is written out" % _MOST_MERGED)

        def construct_mapping(self, node: t.Any, deep: bool = False) -> t.Any:
            seen: t.Set[str] = set()
            for key, _value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        raise yaml.constructor.ConstructorError(None, None, "a key is given twice", key.start_mark)
                    seen.add(key.value)
            return super().construct_mapping(node, deep=deep)

    return Loader


def _safe_loader() -> t.Any:
    # The one that is made of libyaml takes a fifth of the time, and is not everywhere.
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
