"""Files of examples: what is read, and what is refused with its line."""
from __future__ import annotations

import json

import pytest

import labkit as lk
from labkit.tools import examples, trained

BOOK = {"name": "book", "description": "Book a table.", "parameters": {
    "type": "object", "required": ["place", "guests"], "properties": {
        "place": {"type": "string", "description": "Name of the restaurant."}, "guests": {"type": "integer"},
        "area": {"type": "string", "enum": ["inside", "outside"], "default": "inside"}}}}
CALL = {"name": "book", "arguments": {"place": "Nori", "guests": 2}}


def row(*calls, request="A table for two at Nori", tools=(BOOK,)) -> dict:
    return {"tools": list(tools), "asked": [{"request": request, "calls": list(calls)}]}


def file(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path):
    one, two = examples.read(file(tmp_path, row(CALL), "", {**row(), "instructions": "Be brief."}))
    assert one.tools[0].name == "book" and one.asked[0].calls == (CALL,)
    assert two.asked[0].calls == () and two.instructions == "Be brief."


def test_null_stands_for_a_required_value_that_is_not_given(tmp_path):
    gap = {"name": "book", "arguments": {"place": "Nori", "guests": None}}
    assert examples.made(row(gap)).asked[0].calls == (gap,)


@pytest.mark.parametrize("line, said", [
    ("{", "line 2: Expecting"), ("[]", "line 2: write"), (row(request=" "), "line 2: a request is missing"),
    (row({"name": "cook", "arguments": {}}), "line 2: .*calls no tool"),
    (row({"name": "book", "arguments": {"place": "Nori"}}), "line 2: .*'guests' is a required"),
    (row({"name": "book", "arguments": {"place": "Nori", "guests": "two"}}), "line 2: .*guests: 'two' is not"),
    (row({"name": "book"}), "line 2: a call does not fit"), (row(CALL, tools=(BOOK, BOOK)), "line 2: Two tools"),
    ({"tools": [BOOK], "asked": []}, "line 2: there must be"),
])
def test_a_wrong_line_is_named(tmp_path, line, said):
    with pytest.raises(lk.BadRequest, match=said):
        examples.read(file(tmp_path, row(CALL), line))


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(lk.BadRequest, match="mine.jsonl holds no examples"):
        examples.read(file(tmp_path, ""))


def test_a_tool_is_told_in_a_few_lines():
    tool = examples.made(row(CALL)).tools[0]
    assert trained.prompt([tool], "Be brief.").splitlines() == [
        "Tools:", "", "book: Book a table.", "- place (string): Name of the restaurant.", "- guests (integer)",
        '- area (inside | outside, optional, default "inside")', "", "Be brief."]


def test_what_is_trained_is_what_is_asked(tmp_path, slm):
    """The texts of an example, as tokens, are the prompt that a request with these tools becomes."""
    group = examples.made({**row(CALL), "instructions": "Be brief."})
    [(first, [(question, answer)])] = examples.lines([group])
    backend = slm.backend
    asked = backend.prompt_tokens([{"role": "system", "content": trained.prompt(group.tools, "Be brief.")},
                                   {"role": "user", "content": group.asked[0].request}])
    assert backend.engine.tokenize(first + question, special=True) == asked
    assert answer.removesuffix("<|im_end|>") == '[{"name": "book", "arguments": {"place": "Nori", "guests": 2}}]'


def test_a_list_may_be_empty_or_have_gaps_only_where_words_are_allowed():
    from labkit.backends.guidance import byte_matcher
    tools = examples.made(row(CALL)).tools
    whole = trained.answer([CALL])
    gap = whole.replace("2", "null")
    for auto, several, fits, not_ in ((True, False, ["[]", whole, gap], [f"[{whole[1:-1]}, {whole[1:-1]}]"]),
                                      (False, False, [whole], ["[]", gap]),
                                      (False, True, [f"[{whole[1:-1]}, {whole[1:-1]}]"], ["[]"])):
        constraint = trained.constraint(tools, auto=auto, several=several, source=None)
        for text, wanted in [(t, True) for t in fits] + [(t, False) for t in not_]:
            data = list(text.encode())
            assert (byte_matcher(constraint).validate_tokens(data) == len(data)) is wanted, (auto, several, text)


def test_what_is_missing_is_asked_for():
    tools = examples.made(row(CALL)).tools
    calls = [lk.ToolCall("book", {"place": None, "guests": None, "area": None})]
    found = trained.missing(calls, tools)
    assert [name for name, _ in found] == ["place", "guests"]
    assert trained.question(found) == "What is the place (Name of the restaurant) and the guests?"
