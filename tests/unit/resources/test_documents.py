# Copyright: (c) 2026, the meshfleet.kuma maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading resources from files: which files, which documents, and what is said about bad ones."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meshfleet.kuma.plugins.module_utils._resources import documents

SECRET = "c2VjcmV0LXBhc3N3b3Jk"
TEXTS = st.text("abc:#-{}[]'\" \n1", max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
BODIES = st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), max_size=4)


@pytest.fixture(params=["libyaml", "Python alone"])
def loader(request, monkeypatch):
    """PyYAML with libyaml, and one that was built without it."""
    assert hasattr(yaml, "CSafeLoader"), "libyaml is not there, and nothing says so"
    if request.param != "libyaml":
        monkeypatch.delattr(yaml, "CSafeLoader")


@given(BODIES, st.sampled_from(["yml", "json"]))
def test_what_was_written_is_read(bodies, ending):
    text = json.dumps(bodies, indent="\t") if ending == "json" else yaml.safe_dump_all(bodies)
    found, problems = documents.parse(text, f"a.{ending}")
    assert problems == []
    assert [document.body for document in found] == bodies


@given(BODIES, st.integers(0, 3), st.sampled_from(["yml", "json"]))
def test_the_line_is_that_where_it_begins(bodies, before, ending):
    if ending == "json":
        texts = [json.dumps(body, indent=1) for body in bodies]
        text, first = "\n" * before + "[\n" + ",\n".join(texts) + "]", before + 2
    else:
        texts = [f"- {json.dumps(body)}" for body in bodies]
        text, first = "# \n" * before + "\n".join(texts), before + 1
    lines = [first + sum(each.count("\n") + 1 for each in texts[:index]) for index in range(len(texts))]
    assert [found.source for found in documents.parse(text, f"a.{ending}")[0]] == [f"a.{ending}, line {line}" for line in lines]


@given(st.text(max_size=60), st.sampled_from(["a.yml", "a.json"]))
def test_any_text_is_read_or_refused(text, source):
    found, problems = documents.parse(text, source)
    assert all(problem.startswith(source) for problem in problems)
    json.dumps([document.body for document in found], allow_nan=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n---\nb: [1\n", "m.yml cannot be parsed at line 4, column 1"),
        ("a: 1\na: 2\n", "m.yml cannot be parsed at line 2, column 1: a key is given twice"),
        ("just text\n", "m.yml, line 1 is a str, expected a resource with type, name and its fields"),
        ("- [1]\n", "m.yml, line 1 is a list, expected a resource"),
        ("spec: {since: 2026-01-01}\n", "m.yml, line 1: spec.since is a date, expected text: put it in quotes"),
        ("spec: {to: [.nan]}\n", "m.yml, line 1: spec.to[0] is not a finite number"),
        ("labels: {1: a}\n", "m.yml, line 1: labels has a key that is a int, expected text: put it in quotes"),
        ("a: !python/object:os.system {}\n", "m.yml cannot be parsed at line 1, column 4"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "m.yml is encrypted with ansible-vault"),
    ],
)
def test_a_bad_document_is_named(text, problem, loader):
    _found, problems = documents.parse(text, "m.yml")
    assert len(problems) == 1
    assert problems[0].startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [('{"a": 1, "a": 2}', "m.json cannot be parsed: a key is given twice"), ('{\n"a": }', "m.json cannot be parsed at line 2, column 6")],
)
def test_bad_json_is_named(text, problem):
    assert documents.parse(text, "m.json")[1][0].startswith(problem)


@pytest.mark.parametrize("text", [f'data: "{SECRET}\n', f"data: {SECRET}: x\n", f"data: {SECRET}\ndata: 1\n", f'{{"data": "{SECRET}" 1}}'])
def test_a_fault_does_not_quote_the_file(text):
    for source in ("s.yml", "s.json"):
        problems = documents.parse(text, source)[1]
        assert problems
        assert SECRET not in str(problems)


def test_a_directory_is_read_in_order_and_all_faults_come_together(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b" / "x.yaml").write_text("type: B\n---\n---\n- type: C\n- type: D\n")
    (tmp_path / "a.yml").write_text("type: A\n")
    (tmp_path / "z.json").write_text('{"type": "Z"}')
    (tmp_path / "bad.yml").write_bytes(b"type: \xff\n")
    (tmp_path / "broken.yml").write_text("{")
    (tmp_path / "gone.yml").symlink_to(tmp_path / "nowhere")
    for ignored in (".hidden.yml", "README.md", ".git/config.yml"):
        (tmp_path / ignored).write_text("type: Wrong\n")
    found, problems = documents.read(str(tmp_path))
    assert [(document.source, document.body["type"]) for document in found] == [
        ("a.yml, line 1", "A"),
        ("z.json, line 1", "Z"),
        ("b/x.yaml, line 1", "B"),
        ("b/x.yaml, line 4", "C"),
        ("b/x.yaml, line 5", "D"),
    ]
    assert len(problems) == 3
    assert "bad.yml is not UTF-8: byte 6" in problems[0]
    assert problems[1].startswith("broken.yml cannot be parsed at line 2, column 1")
    assert "gone.yml cannot be read: No such file" in problems[2]


def test_nothing_to_read_is_a_problem(tmp_path):
    for path, problem in ((tmp_path, "holds no file"), (tmp_path / "x", "does not exist on the controller")):
        assert problem in documents.read(str(path))[1][0]


DEEP = {
    "lists": "[" * 100000 + "]" * 100000,
    "lists without end": "[" * 100000,
    "mappings": '{"a":' * 100000 + "1" + "}" * 100000,
    "just too deep": "[" * 101 + "]" * 101,
}


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("source", ["a.yml", "a.json"])
@pytest.mark.parametrize("text", DEEP.values(), ids=list(DEEP))
def test_what_is_nested_too_deep_is_refused(text, source):
    found, problems = documents.parse(f'{{"type": "Mesh", "name": "a", "spec": {text}}}', source)
    assert (found, len(problems)) == ([], 1)
    assert "is nested deeper than 100 levels" in problems[0]


@pytest.mark.usefixtures("loader")
def test_blocks_that_are_nested_too_deep_are_refused():
    steps = "\n".join(f"{' ' * level}a{level}:" for level in range(150))
    for text in (steps, "- " * 150 + "- x: 1"):
        found, problems = documents.parse(text, "a.yml")
        assert (found, problems) == ([], ["a.yml cannot be parsed: it is nested deeper than 100 levels"])


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}], {new}: 1}}\n" for old, new in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
)


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "is larger than 1000000 lists and mappings when its aliases are written out"),
        (MERGES, "is larger than 10000 keys when what it merges is written out"),
        ("type: Mesh\nname: a\nspec: &a [*a]\n", "is nested deeper than 100 levels"),
        ("type: Mesh\nname: a\nspec: &a {b: *a}\n", "is nested deeper than 100 levels"),
    ],
    ids=["billion laughs", "billion merges", "a list in itself", "a mapping in itself"],
)
def test_aliases_that_grow_without_end_are_refused(text, reason):
    found, problems = documents.parse(text, "a.yml")
    assert (found, len(problems)) == ([], 1)
    assert reason in problems[0]


def test_what_an_option_holds_is_measured_as_well():
    deep = laughs = "x"
    for _each in range(150):
        deep = {"a": deep}
    laughs = ["x"] * 9
    for _each in range(8):
        laughs = [laughs] * 9
    found, problems = documents.given([{"type": "Mesh", "name": "a", "spec": deep}, {"spec": laughs}, {"type": "Mesh"}], "resources")
    assert [document.source for document in found] == ["resources[2]"]
    assert ["resources[0]: is nested deeper" in problems[0], "resources[1]: is larger than" in problems[1]] == [True, True]
