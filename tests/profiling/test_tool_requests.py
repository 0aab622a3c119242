"""The labelled tool requests: the data are sound, the scorer says yes and no where it should."""
from __future__ import annotations

import re
from collections import Counter
from itertools import product

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from labkit.errors import BadRequest, LabkitError
from labkit.profiling.tool_requests import load, load_tools, score, with_distractors
from labkit.tools.call import ToolCall

ALL = [item for split in ("dev", "test") for item in load(split)]
CALLING = [item for item in ALL if item.expected]
SILENT = [item for item in ALL if not item.expected]
FORMATS = FormatChecker(["date"])


def names(item):
    return [tool["function"]["name"] for tool in item.tools]


def first_answer(item):
    """The first accepted value of each argument; one that may be left out is left out."""
    return [ToolCall(call["name"], {key: accepted[0] for key, accepted in call["arguments"].items()
                                    if accepted[0] is not None}) for call in item.expected]


def words(text):
    return " ".join(re.findall(r"\w+", text.casefold()))


# --- the data -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("split", ["dev", "test"])
def test_tools_are_valid_openai_functions(split):
    tools = load_tools(split)
    assert 13 <= len(tools) <= 16
    for name, tool in tools.items():
        parameters = tool["function"]["parameters"]
        assert tool["type"] == "function" and set(tool["function"]) == {"name", "description", "parameters"}
        assert re.fullmatch(r"[a-z_]{3,40}", name) and tool["function"]["description"].endswith(".")
        Draft202012Validator.check_schema(parameters)
        assert parameters["type"] == "object" and parameters["additionalProperties"] is False
        assert set(parameters["required"]) <= set(parameters["properties"])
        for prop in parameters["properties"].values():
            assert prop["description"]
            if "default" in prop:
                Draft202012Validator(prop).validate(prop["default"])


@pytest.mark.parametrize("split", ["dev", "test"])
def test_tools_use_every_kind_of_argument(split):
    props = [prop for tool in load_tools(split).values()
             for prop in tool["function"]["parameters"]["properties"].values()]
    kinds = {prop["type"] for prop in props}
    kinds |= {f"array of {prop['items']['type']}" for prop in props if "items" in prop}
    kinds |= {key for prop in props for key in ("enum", "default", "format") if key in prop}
    assert kinds >= {"string", "integer", "number", "boolean", "object", "array of string",
                     "array of number", "enum", "default", "format"}


@pytest.mark.parametrize("split", ["dev", "test"])
def test_counts(split):
    items = load(split)
    kinds = Counter(item.kind for item in items)
    assert len(items) >= 120 and len({item.id for item in items}) == len(items)
    assert set(kinds) == {"one", "two", "off_topic", "near_miss"}
    assert 0.5 <= kinds["one"] / len(items) <= 0.6
    assert 0.25 <= (kinds["off_topic"] + kinds["near_miss"]) / len(items) <= 0.35
    assert 0.12 <= kinds["two"] / len(items) <= 0.18
    per_tool = Counter(call["name"] for item in items if item.kind == "one" for call in item.expected)
    assert set(per_tool) == set(load_tools(split)) and min(per_tool.values()) >= 4


def test_card_gives_the_counts():
    from labkit.data import data_folder
    card = (data_folder("tool_requests") / "README.md").read_text(encoding="utf-8")
    rows = {"one": "one call", "two": "two calls", "off_topic": "no call: off topic",
            "near_miss": "no call: near miss"}
    dev, test = (Counter(item.kind for item in load(split)) for split in ("dev", "test"))
    for kind, label in rows.items():
        assert f"| {label} | {dev[kind]} | {test[kind]} |" in card


def test_dev_and_test_share_nothing():
    assert not set(load_tools("dev")) & set(load_tools("test"))
    requests = [words(item.request) for item in ALL]
    assert len(set(requests)) == len(requests)
    no_digits = [{re.sub(r"\d+", "", words(item.request)) for item in load(s)} for s in ("dev", "test")]
    assert not no_digits[0] & no_digits[1]


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.id)
def test_item_is_sound(item):
    calls_of_kind = {"one": 1, "two": 2, "off_topic": 0, "near_miss": 0}
    assert len(item.expected) == calls_of_kind[item.kind]
    assert 1 <= len(item.tools) <= 4 and len(set(names(item))) == len(item.tools)
    assert {call["name"] for call in item.expected} <= set(names(item))
    assert not set(item.avoid) & set(names(item)) and set(item.avoid) <= set(load_tools(item.split))


@pytest.mark.parametrize("item", CALLING, ids=lambda item: item.id)
def test_every_accepted_call_is_valid_for_its_tool(item):
    for call in item.expected:
        schema = load_tools(item.split)[call["name"]]["function"]["parameters"]
        assert set(call["arguments"]) == set(schema["properties"]), "every parameter is listed"
        assert not [key for key in schema["required"] if None in call["arguments"][key]]
        for values in product(*call["arguments"].values()):
            given = {k: v for k, v in zip(call["arguments"], values, strict=True) if v is not None}
            Draft202012Validator(schema, format_checker=FORMATS).validate(given)


@pytest.mark.parametrize("item", CALLING, ids=lambda item: item.id)
def test_no_description_gives_an_answer_away(item):
    for call in item.expected:
        props = load_tools(item.split)[call["name"]]["function"]["parameters"]["properties"]
        for key, accepted in call["arguments"].items():
            free = [v for v in accepted if isinstance(v, str) and "enum" not in props[key]]
            assert not [v for v in free if re.search(rf"\b{re.escape(v)}\b", props[key]["description"], re.I)]


# --- the scorer ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("item", CALLING, ids=lambda item: item.id)
def test_right_answer_scores_and_near_answers_do_not(item):
    right = first_answer(item)
    assert score(item, right) and score(item, reversed(right))
    assert not score(item, []) and not score(item, right[1:]) and not score(item, [*right, right[0]])
    first, *rest = right
    assert not score(item, [ToolCall("another_tool", first.arguments), *rest])
    assert not score(item, [ToolCall(first.name, {**first.arguments, "invented": 1}), *rest])
    for key in first.arguments:
        accepted = item.expected[0]["arguments"][key]
        less = {k: v for k, v in first.arguments.items() if k != key}
        assert score(item, [ToolCall(first.name, less), *rest]) == (None in accepted)
        assert not score(item, [ToolCall(first.name, {**less, key: "something else"}), *rest])


@pytest.mark.parametrize("item", SILENT, ids=lambda item: item.id)
def test_any_call_is_wrong_where_none_fits(item):
    assert score(item, [])
    assert not score(item, [ToolCall(names(item)[0], {})])


def one(name, **accepted):
    """A dev item's shell around expectations of our own."""
    item = load("dev")[0]
    return type(item)("x", "dev", "one", "…", [], [{"name": name, "arguments": accepted}])


@pytest.mark.parametrize(("accepted", "given", "right"), [
    ("A-1042", "a 1042", True), ("A-1042", "A-1043", False), ("St Mary's", " st. mary’s ", True),
    ("Straße", "STRASSE", True), ("Malmö", "Malmo", False), ("12", 12, False),
    (5, 5.0, True), (5, "5", False), (1, True, False), (True, 1, False), (True, True, True),
    (0.3, 0.1 + 0.2, True), (-3, 3, False), (["milk", "bread"], ["Milk", "bread."], True),
    (["milk", "bread"], ["bread", "milk"], False), (["milk"], "milk", False), ([], [], True),
    ([1, 2], [1, 2, 3], False), ({"city": "York"}, {"city": "york"}, True),
    ({"city": "York"}, {"city": "York", "zip": "1"}, False), ({"city": "York"}, "York", False),
    (7, None, False), (None, None, True), (None, "x", False),
])
def test_values(accepted, given, right):
    assert score(one("f", value=[accepted]), [{"name": "f", "arguments": {"value": given}}]) is right


def test_dicts_and_broken_calls():
    item = one("f", value=[1, None])
    assert score(item, [{"name": "f"}]) and score(item, [{"name": "f", "arguments": {"value": 1}}])
    assert not score(item, [{}]) and not score(item, [{"name": "f", "arguments": '{"value": 1}'}])


def test_two_calls_match_in_whichever_order_works():
    """The first expected call would take either; only one pairing fits both."""
    item = one("f", value=[1, 2])
    item.expected.append({"name": "f", "arguments": {"value": [1]}})
    assert score(item, [ToolCall("f", {"value": 1}), ToolCall("f", {"value": 2})])
    assert not score(item, [ToolCall("f", {"value": 2}), ToolCall("f", {"value": 2})])


# --- more tools ---------------------------------------------------------------------------------------

def test_offers_grow_by_one_tool_and_keep_their_order():
    for item in (i for i in load("test") if i.kind == "one"):
        offers = [names(with_distractors(item, n, seed=3)) for n in range(1, 11)]
        assert [len(set(offer)) for offer in offers] == list(range(1, 11))
        assert offers[0] == [item.expected[0]["name"]]
        for less, more in zip(offers, offers[1:], strict=False):
            assert [name for name in more if name in less] == less


def test_offers_depend_on_the_seed_alone_and_move_the_right_tool_about():
    items = [item for item in load("test") if item.kind == "one"]
    again = [with_distractors(item, 10, seed=1) for item in items]
    assert again == [with_distractors(item, 10, seed=1) for item in items]
    assert again != [with_distractors(item, 10, seed=2) for item in items]
    first, right = items[0], items[0].expected[0]["name"]
    places = {names(with_distractors(first, 5, seed)).index(right) for seed in range(100)}
    assert places == set(range(5))


def test_tools_that_would_fit_are_never_offered_to_a_near_miss():
    held_back = [item for item in ALL if item.avoid]
    assert held_back
    for item in held_back:
        most = len(load_tools(item.split)) - len(item.avoid)
        assert not set(item.avoid) & set(names(with_distractors(item, most)))
        with pytest.raises(BadRequest, match=f"1 to {most} tools, not {most + 1}"):
            with_distractors(item, most + 1)


def test_too_few_tools_is_refused():
    item = next(i for i in ALL if len({call["name"] for call in i.expected}) == 2)
    with pytest.raises(BadRequest, match="2 to"):
        with_distractors(item, 1)


# --- where the data are -------------------------------------------------------------------------------

def test_found_from_anywhere_and_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("LABKIT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert load("dev")[0].request == ALL[0].request
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with pytest.raises(LabkitError, match="set LABKIT_DATA"):
        load("dev")
    (tmp_path / "tool_requests").mkdir()
    (tmp_path / "tool_requests" / "tools_dev.json").write_text("[]", encoding="utf-8")
    assert load_tools("dev") == {}


def test_unknown_split():
    with pytest.raises(BadRequest, match="dev, test"):
        load("train")
