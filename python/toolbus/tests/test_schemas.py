"""What tools say of themselves, read from their functions; and functions that cannot be tools."""

import functools
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from toolbus import Context, Image, Worker


class Node(BaseModel):
    """A tree."""

    value: int
    children: list["Node"] = []


def definition(fn: Any, **options: Any) -> dict[str, Any]:
    """The definition of a function as a tool."""
    worker = Worker("schemas")
    worker.tool(**options)(fn)
    (made,) = worker.tools.values()
    return made.definition


def test_what_is_said_of_a_tool() -> None:
    def act(a: int) -> str:
        """Acts.

        In two paragraphs.

        Args:
            a: the first,
                at length
        Returns:
            something
        """
        return ""

    made = definition(act, title="Act!", read_only=True, destructive=False, idempotent=True, open_world=False, meta={"x": 1})
    assert made["name"] == "act" and made["title"] == "Act!" and made["_meta"] == {"x": 1}
    assert made["description"] == "Acts.\n\nIn two paragraphs."
    assert made["inputSchema"] == {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": "the first, at length"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    hints = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
    assert made["annotations"] == hints
    assert "outputSchema" not in made
    assert definition(act, name="other.name", description="Else.")["description"] == "Else."
    assert "annotations" not in definition(act)


@pytest.mark.parametrize(
    "docstring",
    [
        "Acts.\n\n    Args:\n        a (int): first\n        b: second",
        "Acts.\n\n    Parameters\n    ----------\n    a : int\n        first\n    b\n        second\n\n    Returns\n    -------\n    x",
        "Acts.\n\n    :param a: first\n    :param int b: second\n    :returns: x",
    ],
)
def test_docstrings_of_three_styles(docstring: str) -> None:
    def act(a: int, b: Annotated[int, Field(description="its own")]) -> str:
        return ""

    act.__doc__ = docstring
    made = definition(act)
    assert made["description"] == "Acts."
    described = {name: field["description"] for name, field in made["inputSchema"]["properties"].items()}
    assert described == {"a": "first", "b": "its own"}


def test_the_context_is_no_argument() -> None:
    def act(ctx: Context, a: int, also: Context | None = None) -> None: ...

    assert list(definition(act)["inputSchema"]["properties"]) == ["a"]


def test_fields_headers_and_defaults() -> None:
    def act(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], size: int = Field(5, ge=1, le=9)
    ) -> None: ...

    fields = definition(act)["inputSchema"]["properties"]
    assert fields["region"] == {"type": "string", "x-mcp-header": "Region"}
    assert fields["size"] == {"type": "integer", "default": 5, "minimum": 1, "maximum": 9}


def test_schemas_that_refer_to_themselves() -> None:
    def grow(tree: Node) -> Node:
        return tree

    def forest() -> list[Node]:
        return []

    made = definition(grow)
    assert made["inputSchema"]["$defs"]["Node"]["description"] == "A tree."
    assert made["outputSchema"]["type"] == "object" and "Node" in made["outputSchema"]["$defs"]
    listed = definition(forest)["outputSchema"]
    assert listed["required"] == ["result"] and listed["properties"]["result"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in listed["$defs"]


def test_results_that_are_content_have_no_schema() -> None:
    def one() -> Image: ...  # type: ignore[empty-body]

    def some() -> list[Image | str]: ...  # type: ignore[empty-body]

    assert "outputSchema" not in definition(one) and "outputSchema" not in definition(some)


class Strange:
    """Nothing that pydantic knows."""


def test_what_cannot_be_a_tool_is_refused_with_its_name() -> None:
    def several(*args: int) -> None: ...

    def strange(a: Strange) -> None: ...

    def strangely() -> Strange: ...  # type: ignore[empty-body]

    def unknown(a: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    def generator() -> Any:
        yield 1

    for fn, why in [(several, "take a list"), (strange, "Strange"), (strangely, "Strange"), (unknown, "Missing")]:
        with pytest.raises(TypeError, match=rf"tool '{fn.__name__}': .*{why}"):
            definition(fn)
    with pytest.raises(TypeError, match="generator"):
        definition(generator)
    with pytest.raises(ValueError, match="'<lambda>'"):
        definition(lambda: 1)
    with pytest.raises(ValueError, match="'a b'"):
        definition(several, name="a b")
    with pytest.raises(ValueError, match="timeout"):
        definition(functools.partial(lambda: 1), name="x", timeout=0)


def test_a_name_can_be_used_once() -> None:
    worker = Worker("twice")
    worker.tool("a")(lambda: 1)
    with pytest.raises(ValueError, match="'twice' has a tool 'a' already"):
        worker.tool("a")(lambda: 2)


def test_a_worker_is_named_after_its_file_and_functions_stay_what_they_are() -> None:
    worker = Worker()

    @worker.tool()
    def same(a: int) -> int:
        return a

    assert worker.name == "test_schemas" and same(3) == 3
    with pytest.raises(ValueError, match="threads"):
        Worker(threads=0)
