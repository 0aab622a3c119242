"""An agent put together by hand: choose, run, look at the trace, and take it home as files that run without a notebook.

What it makes is a labkit.agents.recipe.Recipe; everything that can be done with the mouse can be done from code.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipywidgets import BoundedFloatText, BoundedIntText, Button, Dropdown, HBox, SelectMultiple, Text, Textarea, VBox

from labkit.agents import recipe as recipes
from labkit.agents.recipe import Limits, Model, Policy, Recipe
from labkit.agents.run import Run
from labkit.backends.registry import list_backends
from labkit.errors import BadRequest, LabkitError
from labkit.tools.tool import as_tools
from labkit.widgets.render import escape
from labkit.widgets.shown import InBackground, ShownAnywhere, html_widget
from labkit.widgets.trace import TraceView

WIDE = {"width": "auto", "flex": "1 1 260px"}
LABEL = {"description_width": "96px"}


class AgentBuilder(InBackground, ShownAnywhere, VBox):
    """Show it as the last line of a cell. tools: what the learner may choose from.

    slm: a connected small model, used as long as the backend below is its own; None connects one when it is needed.
    large: the model that a policy may escalate to; without it every request stays small.
    """

    def __init__(self, tools: Sequence[Any] = (), *, slm: Any = None, large: Model | None = None,
                 instructions: str = "You are a helpful assistant."):
        self._offered, self._slm, self._large = as_tools(tools), slm, large
        self._run, self._state = None, ""
        self._build_fields(instructions)
        self._trace = html_widget()
        self.run_button, self.export_button = (
            Button(description=name, icon=icon, tooltip=tip) for name, icon, tip in (
                ("Run", "play", "Let the agent work on the request"),
                ("Export", "download", "Write a YAML and a Python file that run without a notebook")))
        self.run_button.on_click(lambda _: self._start())
        self.export_button.on_click(lambda _: self._export())
        super().__init__([
            HBox([VBox([self.name, self.backend, self.policy, self.at_least]),
                  VBox([self.max_steps, self.max_tokens, self.retries]), self.tools],
                 layout={"flex_flow": "row wrap"}),
            self.instructions, HBox([self.request, self.run_button], layout={"flex_flow": "row wrap"}),
            HBox([self.folder, self.export_button], layout={"flex_flow": "row wrap"}), self._trace])
        self._draw()

    def _build_fields(self, instructions: str) -> None:
        usable = [backend.name for backend in list_backends() if backend.usable]
        names = [tool.name for tool in self._offered]
        own = self._slm.backend.name if self._slm else "llama.cpp"
        self.name = Text("my agent", description="Name", style=LABEL)
        self.backend = Dropdown(options=sorted({*usable, own}), value=own, description="Backend", style=LABEL)
        policies = ("small", "large", "confidence") if self._large else ("small",)
        self.policy = Dropdown(options=policies, description="Policy", style=LABEL)
        self.at_least = BoundedFloatText(0.8, min=0, max=1, step=0.05, description="Sure at least", style=LABEL)
        self.max_steps = BoundedIntText(6, min=1, max=100, description="Steps, most", style=LABEL)
        self.max_tokens = BoundedIntText(256, min=1, max=4096, description="Tokens, most", style=LABEL)
        self.retries = BoundedIntText(1, min=0, max=10, description="Retries", style=LABEL)
        self.tools = SelectMultiple(options=names, value=names, description="Tools", style=LABEL,
                                    rows=max(2, min(len(names), 8)))
        self.instructions = Textarea(instructions, description="Instructions", style=LABEL,
                                     layout={"width": "auto", "height": "64px"})
        self.request = Text(description="Request", style=LABEL, layout=WIDE)
        self.folder = Text("my_agents", description="Folder", style=LABEL, layout=WIDE)

    # -- from code as with the mouse ----------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """What the fields say. Raises BadRequest for what cannot be."""
        from pydantic import ValidationError
        kind = self.policy.value
        try:
            return Recipe(
                name=self.name.value, instructions=self.instructions.value, small=Model(backend=self.backend.value),
                policy=Policy(kind=kind, at_least=self.at_least.value, large=self._large if kind != "small" else None),
                tools=list(self.tools.value), limits=Limits(max_steps=self.max_steps.value, retries=self.retries.value,
                                                            max_tokens=self.max_tokens.value))
        except ValidationError as error:
            first = error.errors()[0]
            raise BadRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    def run(self, request: str) -> Run:
        """Let the agent work, show its trace, and return it."""
        self.request.value = request
        self._work()
        if self._run is None:
            raise LabkitError(self._state)
        return self._run

    def export(self, folder: str | Path) -> tuple[Path, Path]:
        """Write the YAML and the Python file; their paths."""
        return recipes.write(self.recipe, self._offered, folder)

    # -- working -------------------------------------------------------------------------------

    def _work(self) -> None:
        self.run_button.disabled, self._run, self._state = True, None, "The agent is at work …"
        self._draw()
        try:
            if not self.request.value.strip():
                raise BadRequest("Write a request first.")
            made = self.recipe
            agent = recipes.build(made, {tool.name: tool for tool in self._offered}, self._model(made))
            self._run, self._state = agent.run(self.request.value), ""
        except LabkitError as error:
            self._run, self._state = getattr(error, "run", None), str(error)
        finally:
            self.run_button.disabled = False
            self._draw()

    def _model(self, made: Recipe) -> Any:
        """The small model, connected once for as long as the backend stays the same."""
        if self._slm is None or self._slm.backend.name != made.small.backend:
            from labkit.backends.registry import connect
            self._slm = connect(made.small.backend)
        return self._slm

    def _export(self) -> None:
        try:
            made, code = self.export(self.folder.value)
            self._state = f'Written: {made} and {code}. Run it: labkit agent {made} "your request"'
        except (LabkitError, OSError) as error:
            self._state = str(error)
        self._draw()

    # -- drawing -------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._trace.value = self._told()

    def _told(self) -> str:
        state = f"<p>{escape(self._state)}</p>" if self._state else ""
        return state + (TraceView(self._run).html() if self._run else "")

    def html(self) -> str:
        return f"<pre>{escape(self._fields())}</pre>{self._told()}"

    def text(self) -> str:
        return "\n".join(filter(None, [self._fields(), self._state, str(TraceView(self._run)) if self._run else ""]))

    def _fields(self) -> str:
        from labkit import yaml_file
        try:
            return yaml_file.dump(self.recipe).strip()
        except BadRequest as error:
            return str(error)
