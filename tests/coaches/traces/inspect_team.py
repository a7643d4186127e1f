"""A team in inspect_ai: one agent adds with a tool, which refuses once; the other one concludes."""

from __future__ import annotations

from pathlib import Path

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.agent import Agent, AgentState, agent, as_solver, react, run
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes, model_graded_qa
from inspect_ai.tool import Tool, ToolError, tool


@tool  # type: ignore[untyped-decorator]
def add() -> Tool:
    async def execute(a: int, b: int) -> str:
        """Adds two numbers.

        Args:
            a: one of them
            b: the other one
        """
        if a < 0:
            raise ToolError("a is negative")
        return str(a + b)

    return execute


@agent  # type: ignore[untyped-decorator]
def team() -> Agent:
    async def execute(state: AgentState) -> AgentState:
        adder = react(name="adder", description="adds", tools=[add()], submit=False)
        state = await run(adder, state, name="adder")
        state.messages.append(ChatMessageUser(content="Conclude."))
        writer = react(name="writer", description="writes", submit=False)
        return await run(writer, state, name="writer")

    return execute


def written(folder: Path, format: str) -> Path:
    """Plays the team on one sample with scripted models, and returns the log that inspect_ai wrote."""
    said = [_call(a=-2, b=5), _call(a=2, b=5), _says("It is 7."), _says("The answer is 7.")]
    judge = get_model("mockllm/model", memoize=False, custom_outputs=[_says("GRADE: C")])
    task = Task(
        dataset=[Sample("How much is 2 + 5?", target="7", id="sum")],
        solver=as_solver(team()),
        scorer=[includes(), model_graded_qa(model=judge)],
        name="sums",
    )
    model = get_model("mockllm/model", memoize=False, custom_outputs=said)
    [log] = evaluate(task, model=model, log_dir=str(folder), log_format=format, display="none")
    assert log.status == "success"
    return Path(str(log.location).removeprefix("file://"))


def _call(**arguments: int) -> ModelOutput:
    return _counted(ModelOutput.for_tool_call("mockllm/model", "add", arguments, content="I add."))


def _says(text: str) -> ModelOutput:
    return _counted(ModelOutput.from_content("mockllm/model", text))


def _counted(output: ModelOutput) -> ModelOutput:
    """Gives an output its usage: without it, inspect_ai counts tokens with a vocabulary that it downloads."""
    output.usage = ModelUsage(input_tokens=30, output_tokens=7, total_tokens=37)
    return output
