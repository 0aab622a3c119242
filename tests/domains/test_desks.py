"""The seven desks' tools, over their real databases: rules, ownership, double submits, and hostile arguments."""
from __future__ import annotations

import pytest

from labkit import domains
from labkit.errors import ToolError
from labkit.tools.trained import outline

HOSTILE = ("'; DROP TABLE customers; --", "\" OR 1=1 --", "x' UNION SELECT token FROM tokens --", "../../etc/passwd",
           "A" * 50_000, "¿Dónde está mi pedido? 注文はどこ", "\x00\ud800", "")


def opened(name, **options):
    return domains.open_desk(name, **options)


def call(desk, name, **arguments):
    return next(tool for tool in desk.tools if tool.name == name).run(arguments)


@pytest.fixture
def desk(request):
    with opened(request.param) as found:
        yield found


every_desk = pytest.mark.parametrize("desk", domains.NAMES, indirect=True)


@every_desk
def test_a_desk_says_what_it_has(desk):
    names = {tool.name for tool in desk.tools}
    assert 3 <= len(names) <= 6 and desk.irreversible <= desk.writes <= names
    assert all(tool.description and all(schema.get("description") for schema in tool.parameters["properties"].values())
               for tool in desk.tools)


@every_desk
def test_the_model_reads_the_tools_that_the_adapter_was_trained_on(desk, trained_outlines):
    for tool in desk.tools:
        assert outline(tool) == trained_outlines[tool.name]


@pytest.fixture(scope="module")
def trained_outlines():
    """The desks' tools as the adapter's examples show them; some have a prefix there."""
    import json

    from labkit.data import data_folder
    from labkit.tools.tool import from_openai
    lines = (data_folder("toolcalls") / "desks.jsonl").read_text(encoding="utf-8").splitlines()
    tools = {tool["name"].removeprefix("desk."): tool for line in lines for tool in json.loads(line)["tools"]}
    return {name: outline(from_openai({**tool, "name": name})) for name, tool in tools.items()}


@every_desk
def test_hostile_arguments_change_nothing_but_what_the_tool_is_for(desk):
    before = desk.database.snapshot()
    for tool in desk.tools:
        for text in HOSTILE:
            try:
                tool.run({name: _value(schema, text) for name, schema in tool.parameters["properties"].items()})
            except ToolError as error:
                assert len(str(error)) < 500 or len(text) > 500
    allowed = {"handovers", "messages", "tasks"}  # they keep what somebody says, whatever it is
    assert {change.table for change in desk.database.changes(before)} <= allowed


def _value(schema, text):
    if "enum" in schema:
        return schema["enum"][0]
    return {"integer": 2, "number": 2.0, "array": [text, text]}.get(schema["type"], text)


TWICE = [
    ("support", "create_ticket", {"customer_id": "C", "subject": "torn box"}),
    ("support", "schedule_callback", {"phone": "+49 30 123456", "date": "2026-03-09", "time": "9:05"}),
    ("support", "reset_password", {"email": "E"}), ("support", "escalate_to_human", {"reason": "fraud"}),
    ("technical", "create_incident_report", {"system": "payroll", "severity": "critical", "summary": "no pay"}),
    ("office", "schedule_meeting", {"title": "tea", "participants": ["Ben"], "date": "2026-04-30", "time": "16:00"}),
    ("assistant", "add_task", {"title": "buy salt"}), ("assistant", "draft_message", {"to": "Jo", "content": "hi"}),
    ("finance", "watch_price", {"symbol": "NRD", "direction": "above", "price": 12}),
    ("kiosk", "reserve_item", {"item": "toaster", "quantity": 2, "customer": "Ada Lund"}),
    ("clinic", "write_note", {"patient_id": "P", "text": "sleeps well"}),
]


@pytest.mark.parametrize("name, tool, arguments", TWICE)
def test_a_double_submit_acts_once(name, tool, arguments):
    with opened(name) as desk:
        rows = {"C": "SELECT id AS v FROM customers", "E": "SELECT email AS v FROM customers",
                "P": "SELECT id AS v FROM patients"}
        given = {key: desk.database.query(rows[value])[0]["v"] if value in ("C", "E", "P") else value
                 for key, value in arguments.items()}
        before = desk.database.snapshot()
        first = call(desk, tool, **given)
        once = list(desk.database.changes(before))
        assert call(desk, tool, **given)["answer"] == first["answer"]
        assert once and list(desk.database.changes(before)) == once


def test_a_customer_sees_only_what_is_theirs():
    with opened("support") as staff:
        mine, theirs = staff.database.query("SELECT * FROM orders GROUP BY customer_id LIMIT 2")
    with opened("support", user=mine["customer_id"]) as desk:
        assert call(desk, "order_status", order_id=mine["id"])["status"] == mine["status"]
        with pytest.raises(ToolError, match="belongs to somebody else"):
            call(desk, "order_status", order_id=theirs["id"])
        with pytest.raises(ToolError, match="belongs to somebody else"):
            call(desk, "create_ticket", customer_id=theirs["customer_id"], subject="not mine")
        other = desk.database.query("SELECT email FROM customers WHERE id = ?", theirs["customer_id"])[0]["email"]
        for email in (other, "nobody@acme.test"):  # the same words: who else is a customer is not told
            with pytest.raises(ToolError, match=f"no account of yours with the address {email}"):
                call(desk, "look_up_customer", email=email)


def test_records_open_with_their_own_valid_token_only():
    with opened("clinic") as desk:
        old, good, other = (desk.database.query(f"SELECT * FROM tokens WHERE until {how}") for how in (
            "< '2026-03-02'", "> '2026-03-02' ORDER BY token", "> '2026-03-02' ORDER BY token DESC"))
        patient, token = good[0]["patient_id"], good[0]["token"]
        assert patient in call(desk, "patient_summary", patient_id=patient, access_token=token)["patient_id"]
        for id, wrong in ((patient, other[0]["token"]), (patient, ""), (patient, token.lower()), ("P-0001", token),
                          (old[0]["patient_id"], old[0]["token"]), (patient, "' OR ''='")):
            with pytest.raises(ToolError, match="does not open that record"):
                call(desk, "patient_summary", patient_id=id, access_token=wrong)


def test_what_would_harm_a_patient_is_left_to_a_doctor():
    with opened("clinic") as desk:
        allergic = desk.database.query("SELECT * FROM patients WHERE allergy NOTNULL")[0]
        well = desk.database.query("SELECT id FROM patients WHERE allergy ISNULL AND id NOT IN "
                                   "(SELECT patient_id FROM prescriptions)")[0]["id"]
        call(desk, "prescribe", patient_id=well, drug="warfarin", dose="5 mg a day")
        before = desk.database.snapshot()
        for patient, drug in ((allergic["id"], allergic["allergy"]), (well, "ibuprofen")):
            with pytest.raises(ToolError, match="Nothing was prescribed: ask the doctor on duty"):
                call(desk, "prescribe", patient_id=patient, drug=drug, dose="400 mg")
        assert not desk.database.changes(before)
        assert "serious" in call(desk, "check_interactions", drugs=["Ibuprofen", "warfarin"])["answer"]


def test_an_invoice_file_says_what_is_recorded_as_text_and_as_pdf():
    with opened("office") as desk:
        for row in desk.database.query("SELECT * FROM invoices"):
            read = call(desk, "extract_invoice", file=row["file"])
            assert {key: read[key] for key in read if key != "answer"} == {
                key: row[key] for key in row if key != "file"}
        faulty = [row["number"] for row in desk.database.query("SELECT number FROM invoices")
                  if call(desk, "validate_invoice", invoice_number=row["number"])["faults"]]
        assert len(faulty) == 6  # each fourth of 24, with one fault of four kinds


def test_approval_goes_to_who_may_approve_that_much():
    with opened("office") as desk:
        dear = desk.database.query("SELECT number FROM invoices ORDER BY total_cents DESC")[0]["number"]
        for approver in ("team_lead", "finance"):
            with pytest.raises(ToolError, match="may approve"):
                call(desk, "route_for_approval", invoice_number=dear, approver=approver)
        call(desk, "route_for_approval", invoice_number=dear, approver="director")
        assert desk.database.query("SELECT approver FROM approvals") == [{"approver": "director"}]


def test_nobody_is_at_two_meetings_at_once():
    with opened("office") as desk:
        call(desk, "schedule_meeting", title="a", participants=["Ben"], date="2026-05-05", time="10:00", minutes=60)
        before = desk.database.snapshot()
        with pytest.raises(ToolError, match="Ben is busy: a at 10:00"):
            call(desk, "schedule_meeting", title="b", participants=["Lena", "Ben"], date="2026-05-05", time="10:59")
        assert not desk.database.changes(before)
        call(desk, "schedule_meeting", title="c", participants=["Ben"], date="2026-05-05", time="11:00")


def test_what_is_reserved_is_gone_from_the_stock_and_never_below_zero():
    with opened("kiosk") as desk:
        left = call(desk, "check_stock", item="ladder")["pieces"]
        for i in range(40):
            try:
                left -= call(desk, "reserve_item", item="ladder", quantity=5, customer=f"Ada {i}")["quantity"]
            except ToolError as error:
                assert "Reserve fewer" in str(error)
                break
        assert call(desk, "check_stock", item="ladder")["pieces"] == left >= 0


def test_risk_is_the_loss_that_the_past_exceeded():
    from labkit.domains.finance import value_at_risk
    falls = [100.0]
    for i in range(100):  # five days of a hundred lose 10 %, the others nothing
        falls.append(falls[-1] * (0.9 if i % 20 == 0 else 1))
    assert value_at_risk(falls, 1, 0.99) == pytest.approx(0.1 * falls[-1])
    assert value_at_risk(falls, 4, 0.99) == pytest.approx(0.2 * falls[-1])
    assert value_at_risk(falls, 1, 0.95) == 0
    with opened("finance", user="Jonas") as desk, pytest.raises(ToolError, match="no portfolio of yours"):
        call(desk, "portfolio_risk", portfolio="Nest Egg")


def test_a_summary_is_made_of_the_notes_own_sentences():
    with opened("assistant") as desk:
        for note in desk.database.query("SELECT title, body FROM notes WHERE owner = 'Mira'"):
            short = call(desk, "summarise_note", note=note["title"], sentences=2)["answer"]
            assert all(sentence.strip(". ") in note["body"] for sentence in short.split(". "))
            assert len(short) < len(note["body"])
        with pytest.raises(ToolError, match="no note 'surprise party'"):
            call(desk, "summarise_note", note="surprise party")


def test_the_data_are_as_their_script_makes_them(monkeypatch):
    import json
    import runpy

    from labkit.data import data_folder
    folder = data_folder("desks")
    made = runpy.run_path(str(folder / "make.py"))["rows"]()
    assert json.loads((folder / "rows.json").read_text(encoding="utf-8")) == made
