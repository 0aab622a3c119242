"""A clinic: free appointments, records behind a token, notes, prescriptions, interactions. No medical advice.

A prescription that would harm as far as the records tell is refused: a doctor must decide.
"""
from __future__ import annotations

import hmac
from itertools import combinations
from typing import Annotated

from pydantic import Field

from labkit.domains.desk import Desk, irreversible, known, reads
from labkit.domains.when import a_day
from labkit.errors import ToolError


class Clinic(Desk):
    name, title = "clinic", "Clinic"
    ids = {"patient_id": r"\bP-\d+\b", "doctor": r"\bDr\. \w+"}
    names = {name: "SELECT name FROM drugs" for name in ("drug", "drugs")}

    @reads
    def available_appointments(self, doctor: str, date: str) -> dict:
        """Lists the free appointments of a doctor on one day.

        Args: doctor: Name of the doctor, e.g. 'Dr. Osei'. date: Day, YYYY-MM-DD.
        """
        names = [row["name"] for row in self.database.query("SELECT name FROM doctors")]
        who, day = known(doctor, names, "doctor here"), a_day(date)
        free = [row["time"] for row in self.database.query(
            "SELECT time FROM slots WHERE doctor = ? AND day = ? AND patient_id ISNULL ORDER BY time", who, day)]
        told = f"free at {', '.join(free)}" if free else "nothing is free"
        return {"doctor": who, "day": day, "free": free, "answer": f"{who} on {day}: {told}."}

    @reads
    def patient_summary(self, patient_id: str, access_token: str) -> dict:
        """Gets the summary of a patient's record. Needs an access token.

        Args: patient_id: Number of the patient, e.g. 'P-2041'. access_token: Token that allows reading the record.
        """
        if not self._may_read(patient_id.upper(), access_token):  # the same words whether the patient exists or not
            raise ToolError("This token does not open that record, or is no longer valid. Ask the reception for one.")
        patient = self._patient(patient_id)
        taken = ", ".join(f"{row['drug']} {row['dose']}" for row in self._taken(patient["id"])) or "nothing"
        notes = "; ".join(row["body"] for row in self.database.query(
            "SELECT body FROM record_notes WHERE patient_id = ? ORDER BY day, id", patient["id"]))
        return {"patient_id": patient["id"], "answer": f"{patient['name']}, born {patient['born']}. Takes {taken}. "
                f"Allergy: {patient['allergy'] or 'none known'}. Notes: {notes or 'none'}."}

    @irreversible
    def prescribe(self, patient_id: str, drug: str, dose: str) -> dict:
        """Writes a prescription for a patient.

        Args: patient_id: Number of the patient. drug: Generic name of the drug.
        dose: Amount and how often, e.g. '500 mg twice a day'.
        """
        patient, name = self._patient(patient_id), self._drug(drug)
        self._refuse_harm(patient, name)
        with self.database.transaction() as now:
            now.keep("prescriptions", patient_id=patient["id"], drug=name, dose=dose, day=self.today)
        return {"patient_id": patient["id"], "drug": name, "answer": f"Prescribed for {patient['id']}: {name}, {dose}."}

    @irreversible
    def write_note(self, patient_id: str, text: str) -> dict:
        """Adds a note to the record of a patient.

        Args: patient_id: Number of the patient. text: Text of the note.
        """
        patient = self._patient(patient_id)["id"]
        with self.database.transaction() as now:
            now.keep("record_notes", patient_id=patient, body=text, day=self.today)
        return {"patient_id": patient, "answer": f"Noted for {patient}: {text}"}

    @reads
    def check_interactions(self, drugs: Annotated[list[str], Field(min_length=2)]) -> dict:
        """Checks whether drugs interact with each other.

        Args: drugs: Generic names of the drugs, two or more.
        """
        names = sorted({self._drug(drug) for drug in drugs})
        found = [row for pair in combinations(names, 2) for row in self._interaction(*pair)]
        told = "; ".join(f"{row['one']} and {row['other']}, {row['severity']}: {row['effect']}" for row in found)
        return {"interactions": found, "answer": f"{told}." if found else
                f"None on record among {', '.join(names)}. Ask a pharmacist to be sure."}

    def _refuse_harm(self, patient: dict, drug: str) -> None:
        if patient["allergy"] == drug:
            raise ToolError(f"{patient['id']} is allergic to {drug}. Nothing was prescribed: ask the doctor on duty.")
        for taken in self._taken(patient["id"]):
            for row in self._interaction(*sorted((drug, taken["drug"]))):
                if row["severity"] == "serious":
                    raise ToolError(f"{patient['id']} takes {taken['drug']}: with {drug}, {row['effect']}. Nothing was "
                                    "prescribed: ask the doctor on duty.")

    def _interaction(self, one: str, other: str) -> list[dict]:
        return self.database.query("SELECT * FROM interactions WHERE one = ? AND other = ?", one, other)

    def _may_read(self, patient_id: str, token: str) -> bool:
        valid = self.database.query("SELECT token FROM tokens WHERE patient_id = ? AND until >= ?", patient_id,
                                    self.today)
        return any([hmac.compare_digest(row["token"].encode(), token.encode()) for row in valid])  # all are compared

    def _patient(self, id: str) -> dict:
        return self.one("SELECT * FROM patients WHERE id = upper(?)", (id,),
                        f"There is no patient {id[:40]}. The number is on the card, like P-2041.")

    def _drug(self, name: str) -> str:
        return known(name, [row["name"] for row in self.database.query("SELECT name FROM drugs")], "drug on the list")

    def _taken(self, patient_id: str) -> list[dict]:
        return self.database.query("SELECT drug, dose FROM prescriptions WHERE patient_id = ? ORDER BY id", patient_id)
