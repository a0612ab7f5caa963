"""What clients do with each kind of server in `pairs.py`: steps for the players, and what must be seen in the outcome.

A step's `gives` is text that the server's own answer must contain, so that two empty answers are not taken for equal;
`only` says in which plays the step is taken, where not in all; `heard` is how many notices must come with it.
"""

from pathlib import Path

# What a person answers to a form, by the name of the field; each form takes what it has.
ANSWERS = {"name": "Ann", "age": 7, "colour": "blue", "color": "blue", "email": "ann@example.com", "check": True}
ANSWERS |= {"integer": 8, "number": 2.5, "ok": True, "titledSingleSelectEnum": "hero-2"}


def do(verb: str, gives: str, /, **step: object) -> dict:
    return {"do": verb, "gives": gives, **step}


def call(name: str, gives: str, arguments: dict | None = None, **more: object) -> dict:
    return do("call", gives, name=name, arguments=arguments or {}, **more)


def lists(tool: str, prompt: str, resource: str, template: str, paged: bool = False) -> list[dict]:
    wanted = {"tools": tool, "prompts": prompt, "resources": resource, "resourceTemplates": template}
    return [do("list", gives, what=what, paged=paged and what == "tools") for what, gives in wanted.items()]


def complete_prompt(name: str, argument: str, value: str, gives: str, context: dict | None = None) -> dict:
    ref = {"type": "ref/prompt", "name": name}
    return do("complete", gives, ref=ref, argument={"name": argument, "value": value}, context=context)


def complete_template(uri: str, argument: str, value: str, gives: str) -> dict:
    ref = {"type": "ref/resource", "uri": uri}
    return do("complete", gives, ref=ref, argument={"name": argument, "value": value}, context=None)


PING = do("ping", "{}", only="legacy")


def peer(package: str, name: str, play: str, folder: Path) -> list[dict]:
    """A server of `_peer.py`."""
    mark, given_up = str(folder / f"{play}.mark"), str(folder / f"{play}.given-up")
    uri = f"{name}://watched/{play}"
    steps = lists("was_given_up", "introduce", "status", "items/{number}", paged=package == "fastmcp")
    steps += [
        call("add", '"result": 42', {"a": 2, "b": 40}),
        call("add", '"isError": true', {"a": "two"}),
        call("weather", '"celsius": -0.5', {"city": 'Zürich \u2028 "quoted" \\ 😀'}),
        call("picture", '"mimeType": "image/png"'),
        call("fail", "it failed: no luck", {"reason": "no luck"}),
        call("count", "counted to 3", {"steps": 3, "heard": mark}, mark=mark, heard=3),
        call("log", '"level": "warning"', {"words": "w"}, heard=1),
        do("read", f"{name} is well", uri=f"{name}://status"),
        do("read", "AAECAwQF", uri=f"{name}://bytes"),
        do("read", "item 7", uri=f"{name}://items/7"),
        do("prompt", "Introduce Ada of oslo.", name="introduce", arguments={"town": "oslo", "person": "Ada"}),
        complete_prompt("introduce", "person", "A", '"values": ["Anna", "Aldo"]', {"town": "rome"}),
        complete_template(f"{name}://watched/{{who}}", "who", "A", '"values": ["Ada", "Alan"]'),
        do("give up", '"up"', name="patience", arguments={"mark": given_up, "seconds": 60}, heard=1, only="cancels"),
        call("was_given_up", "yes", {"mark": given_up}, until="yes", only="cancels"),
        call("ask_form", 'accept: {\\"name\\":\\"Ann\\",\\"age\\":7}'),
        call("ask_in_vain", "Please decline"),
        PING,
    ]
    if package != "fastmcp":
        # `mcp` 1.x does not say for which call it asks these, so that there must be one only.
        alone = "sole" if package == "old" else None
        steps += [
            call("ask_twice", "Ann likes blue"),
            call("ask_url", "https://example.com/consent"),
            call("ask_model", "parrot: You said: ping?", {"prompt": "ping?"}, only=alone),
            call("ask_roots", "file:///", only=alone),
        ]
    if package == "mcp":
        steps += [
            do("watch", uri, notice=uri, name="touch", arguments={"uri": uri}),
            do("watch", "tools", notice="tools", name="announce"),
        ]
    return steps


def everything(play: str, folder: Path) -> list[dict]:
    """The TypeScript project's example of all there was in 2025-11-25."""
    gzip = {"name": play, "data": "data:text/plain;base64,aGVsbG8="}
    text = "demo://resource/dynamic/text"
    slow = {"duration": 0.3, "steps": 3}
    return lists("trigger-url-elicitation", "completable-prompt", "architecture.md", "{resourceId}") + [
        call("echo", "Echo: hello", {"message": "hello"}),
        call("get-sum", "The sum of 1 and 2 is 3", {"a": 1, "b": 2}),
        call("get-sum", '"isError": true', {"a": "one", "b": 2}),
        call("get-structured-content", '"humidity": 82', {"location": "Chicago"}),
        call("get-tiny-image", '"mimeType": "image/png"'),
        call("get-annotated-message", '"priority": 1', {"messageType": "error", "includeImage": True}),
        call("get-resource-links", '"type": "resource_link"', {"count": 3}),
        call("get-resource-reference", '"type": "resource"', {"resourceType": "Text", "resourceId": 2}),
        call("trigger-long-running-operation", "Steps: 3", slow, heard=3),
        do("read", "Resource 3: ", uri=f"{text}/3"),
        do("prompt", "weather in Oslo", name="args-prompt", arguments={"city": "Oslo", "state": "Oslo"}),
        do("prompt", "Resource 1: ", name="resource-prompt", arguments={"resourceType": "Text", "resourceId": "1"}),
        complete_prompt("completable-prompt", "name", "D", '"values": ["David"]', {"department": "Sales"}),
        complete_template(f"{text}/{{resourceId}}", "resourceId", "4", '"values": ["4"]'),
        call("trigger-elicitation-request", "- Name: Ann"),
        call("trigger-url-elicitation", "accept", {"url": "https://example.com/page", "elicitationId": "page-1"}),
        call("trigger-sampling-request", "You said: Resource", {"prompt": "ping?"}),
        call("get-roots-list", "URI: file:///"),
        do("watch", f"{text}/9", notice=f"{text}/9", name="toggle-subscriber-updates"),
        do("watch", "resources", notice="resources", name="gzip-file-as-resource", arguments=gzip),
        do("read", '"mimeType": "application/gzip"', uri=f"demo://resource/session/{play}", only="sole"),
        PING,
    ]


def files(play: str, folder: Path) -> list[dict]:
    """The TypeScript project's server for files."""
    here, written = folder / "files", folder / "written" / f"{play}.txt"
    return [
        do("list", "read_media_file", what="tools"),
        call("read_text_file", "hello file", {"path": str(here / "hello.txt")}),
        call("read_media_file", '"type": "image"', {"path": str(here / "dot.png")}),
        call("list_directory", "hello.txt", {"path": str(here)}),
        call("list_allowed_directories", str(here)),
        call("read_text_file", '"isError": true', {"path": "/etc/hostname"}),
        call("write_file", "Successfully wrote", {"path": str(written), "content": 'ü\u2028"'}),
        call("read_text_file", "ü", {"path": str(written)}),
        PING,
    ]


def fixture(play: str, folder: Path) -> list[dict]:
    """The fixture of this project, told to speak 2026-07-28 only and to list in pages."""
    asked = "test_input_required_result"
    touched = "test://watched-resource"
    return lists("test_image_content", "test_simple_prompt", "static-text", "{id}", paged=True) + [
        call("test_simple_text", "simple text"),
        call("test_image_content", '"type": "image"'),
        call("test_audio_content", '"type": "audio"'),
        call("test_embedded_resource", '"type": "resource"'),
        call("test_error_handling", '"isError": true'),
        call("test_tool_with_progress", "Progress was reported", heard=3),
        call("test_tool_with_logging", '"level": "info"', heard=3),
        call("test_custom_header", "custom", {"value": "custom ü"}),
        do("read", "static text", uri="test://static-text"),
        do("read", '"blob"', uri="test://static-binary"),
        do("read", "Data for ID: 5", uri="test://template/5/data"),
        do("prompt", "arg1", name="test_prompt_with_arguments", arguments={"arg1": "arg1 here", "arg2": "b"}),
        complete_prompt("test_prompt_with_arguments", "arg1", "par", '"values": ["par'),
        call("test_elicitation", "ann@example.com", {"message": "Name?"}),
        call("test_elicitation_url", "elicitation/create"),
        call("test_sampling", "You said", {"prompt": "ping?"}),
        call(f"{asked}_elicitation", "Hello, Ann!"),
        call(f"{asked}_sampling", "You said"),
        call(f"{asked}_list_roots", "file:///"),
        call(f"{asked}_request_state", "confirmed, state-ok"),
        call(f"{asked}_multiple_inputs", "Ann"),
        call(f"{asked}_multi_round", "Ann likes blue"),
        do("prompt", "messages", name=f"{asked}_prompt"),
        do("watch", touched, notice=touched, name="test_touch_resource", arguments={"uri": touched}),
        do("watch", "tools", notice="tools", name="test_trigger_tool_change"),
        do("watch", "prompts", notice="prompts", name="test_trigger_prompt_change"),
        do("watch", "resources", notice="resources", name="test_trigger_resource_change"),
        PING,
    ]


def everyone(play: str, folder: Path) -> list[dict]:
    """All servers at one door, each with its own name in front of those of its tools and prompts."""
    uri = f"plain://watched/{play}"
    return lists("everything-web_echo", "plain_introduce", "plain-web://status", "old-web://items") + [
        call("fast_who", '"name": "fast"'),
        call("plain_who", '"name": "plain"'),
        call("old_who", '"name": "old"'),
        call("fast-web_who", '"name": "fast-web"'),
        call("plain-web_who", '"name": "plain-web"'),
        call("old-web_who", '"name": "old-web"'),
        call("everything_get-sum", "The sum of 1 and 2 is 3", {"a": 1, "b": 2}),
        call("everything-web_get-sum", "The sum of 3 and 4 is 7", {"a": 3, "b": 4}),
        call("files_list_allowed_directories", str(folder)),
        call("fixture-web_test_simple_text", "simple text"),
        call("no_such_tool", "-32602"),
        do("read", "old-web is well", uri="old-web://status"),
        do("prompt", "Greet Bo from plain-web.", name="plain-web_greet", arguments={"person": "Bo"}),
        complete_prompt("old_introduce", "person", "A", '"values": ["Anna", "Aldo"]', {"town": "rome"}),
        complete_template("plain-web://watched/{who}", "who", "A", '"values": ["Ada", "Alan"]'),
        call("plain_ask_form", 'accept: {\\"name\\":\\"Ann\\",\\"age\\":7}'),
        call("old-web_ask_url", "accept"),
        do("watch", uri, notice=uri, name="plain_touch", arguments={"uri": uri}),
        do("watch", "tools", notice="tools", name="fixture-web_test_trigger_tool_change"),
        PING,
    ]


def title(step: dict) -> str:
    """What a step is called in a check: short, and the same in every play."""
    what = step.get("name") or step.get("what") or step.get("uri") or step.get("ref", {}).get("type", "")
    arguments = step.get("arguments", {})
    bad = " with wrong arguments" if step["gives"] == '"isError": true' and arguments else ""
    of = f" of {step['notice']}" if step["do"] == "watch" else ""
    return f"{step['do']} {what}{bad}{of}".strip()

