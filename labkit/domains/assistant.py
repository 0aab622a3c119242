"""A personal assistant: tasks, notes in short, places, drafts of messages. user: whose they are."""
from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from labkit.domains.desk import Absent, Desk, known, reads, writes
from labkit.domains.when import a_day
from labkit.errors import ToolError

SENTENCES = 2   # of a summary, unless told otherwise
MOST_TASKS = 99
Priority = Literal["low", "normal", "high"]
TaskNumber = Annotated[int, Field(ge=1, le=MOST_TASKS)]


class Assistant(Desk):
    name, title, default_user = "assistant", "Personal assistant", "Mira"
    names = {"note": "SELECT title FROM notes", "kind": "SELECT DISTINCT kind FROM places",
             "area": "SELECT DISTINCT city FROM places"}

    @writes
    def add_task(self, title: str, due: str | Absent = None, priority: Priority | Absent = None) -> dict:
        """Puts a new task on the to-do list.

        Args: title: What has to be done. due: Day by which it has to be done, YYYY-MM-DD.
        priority: How important it is.
        """
        day = a_day(due) if due else None
        with self.database.transaction() as now:  # what is on the list already is not added again
            (free,) = now.query("SELECT coalesce(max(id), 0) + 1 AS id FROM tasks")
            if free["id"] > MOST_TASKS:
                raise ToolError(f"The list is full: it holds {MOST_TASKS} tasks. Remove some that are done.")
            now.keep("tasks", id=free["id"], owner=self.user, title=title, due=day, priority=priority or "normal")
            (task,) = now.query("SELECT * FROM tasks WHERE owner = ? AND title = ? COLLATE NOCASE AND status = 'open'",
                                self.user, title)
        until = f", due {task['due']}" if task["due"] else ""
        return {**task, "answer": f"Task {task['id']}: {task['title']}{until}, {task['priority']} priority."}

    @reads
    def list_tasks(self, status: Literal["open", "done", "overdue"] = "open") -> dict:
        """Shows the tasks on the to-do list.

        Args: status: Which tasks to show.
        """
        late = " AND due < ?" if status == "overdue" else " AND ? NOTNULL"
        tasks = self.database.query(f"SELECT id, title, due, priority FROM tasks WHERE owner = ? AND status = ?{late} "
                                    "ORDER BY due NULLS LAST, id", self.user, "done" if status == "done" else "open",
                                    self.today)
        told = "; ".join(f"{task['id']}. {task['title']}" for task in tasks)
        return {"tasks": tasks, "answer": f"{len(tasks)} {status}: {told}." if tasks else f"No task is {status}."}

    @writes
    def complete_task(self, task_id: TaskNumber) -> dict:
        """Marks a task on the to-do list as done.

        Args: task_id: Number of the task.
        """
        task = self.one("SELECT * FROM tasks WHERE id = ? AND owner = ?", (task_id, self.user),
                        f"Task {task_id} is not on your list. Look at the list for its number.")
        with self.database.transaction() as now:
            now.query("UPDATE tasks SET status = 'done' WHERE id = ?", task_id)
        return {"id": task_id, "answer": f"Done: {task_id}. {task['title']}."}

    @reads
    def find_places(self, kind: str, area: str) -> dict:
        """Finds places of a kind in a city.

        Args: kind: What kind of place. area: The city.
        """
        cities = [row["city"] for row in self.database.query("SELECT DISTINCT city FROM places")]
        city = known(area, cities, "city on the map")
        found = self.database.query("SELECT name, street FROM places WHERE city = ? AND kind = ?", city, kind.strip())
        if not found:
            raise ToolError(f"The map of {city} has no {kind[:40]}. Ask for another kind of place.")
        told = "; ".join(f"{place['name']}, {place['street']}" for place in found)
        return {"places": found, "answer": f"In {city}: {told}."}

    @reads
    def summarise_note(self, note: str, sentences: Annotated[int, Field(ge=1, le=5)] | Absent = None) -> dict:
        """Summarises a saved note.

        Args: note: Name of the note. sentences: Length of the summary in sentences.
        """
        titles = [row["title"] for row in self.database.query("SELECT title FROM notes WHERE owner = ?", self.user)]
        title = known(note, titles, "note")
        (body,) = self.database.query("SELECT body FROM notes WHERE owner = ? AND title = ?", self.user, title)
        return {"note": title, "answer": shortened(body["body"], sentences or SENTENCES)}

    @writes
    def draft_message(self, to: str, content: str) -> dict:
        """Writes the draft of a short message to somebody. Nothing is sent.

        Args: to: First name of the person. content: What the message should say.
        """
        with self.database.transaction() as now:
            now.keep("messages", owner=self.user, recipient=to, content=content)
        return {"to": to, "answer": f"Draft to {to}, not sent: {content}"}


def shortened(text: str, most: int) -> str:
    """The sentences whose words are the commonest in the text, in their order: nothing is invented."""
    sentences = re.split(r"(?<=[.!?])\s+", text.strip())
    counts = Counter(re.findall(r"\w{4,}", text.casefold()))

    def weight(i: int) -> float:
        words = re.findall(r"\w{4,}", sentences[i].casefold())
        return sum(counts[word] for word in words) / (len(words) or 1)
    chosen = sorted(sorted(range(len(sentences)), key=weight, reverse=True)[:most])
    return " ".join(sentences[i] for i in chosen)
