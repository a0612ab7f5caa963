"""Whether two clients saw the same, apart from what belongs to one connection, one moment or one revision."""

import re

from _support import shorten

# What a newer revision adds to results.
OF_THE_REVISION = ("resultType", "ttlMs", "cacheScope")
OF_THE_SERVER = "io.modelcontextprotocol/serverInfo"

# Entries of lists that come and go because of what another play does.
PASSING = re.compile(r"^demo://resource/session/|test://dynamic-|test_dynamic_")


def tidy(value: object, play: str) -> object:
    """What was told of a play, without what is different each time, and with numbers written in one way."""
    if isinstance(value, dict):
        found = {key: tidy(each, play) for key, each in value.items() if key not in OF_THE_REVISION}
        meta = found.get("_meta")
        if isinstance(meta, dict):
            meta.pop(OF_THE_SERVER, None)
            if not meta:
                del found["_meta"]
        return found
    if isinstance(value, list):
        return [tidy(each, play) for each in value if not is_passing(each)]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        return re.sub(r"created at [0-9:]+( [AP]M)?", "created at TIME", value).replace(play, "PLAY")
    return value


def is_passing(entry: object) -> bool:
    return isinstance(entry, dict) and "name" in entry and bool(PASSING.search(entry.get("uri", entry["name"])))


def comparable(outcome: dict, client: str, kind: str, shared: bool) -> dict:
    """An outcome without what comes at a time of the server's own, and how a list was cut into pages.

    Where the server is a child that others are calling meanwhile, nothing says whose call a log line belongs to: it is
    told to nobody.
    """
    asked, heard = outcome["asked"], [each for each in outcome["heard"] if matters(each, client)]
    if shared:
        heard = [each for each in heard if each[0] != "log"]
    if kind == "everything":
        # It asks for the roots some time after it has started, and tells who shares its session what happens in it.
        asked = [each for each in asked if each[0] != "roots/list"]
        heard = [each for each in heard if each[0] != "log"]
    found = {**outcome, "asked": asked, "heard": heard}
    if "pages" in outcome.get("result", {}):
        # Not the order either: what a server shows to some clients only comes after the rest.
        entries = outcome["result"]["entries"]
        found["result"] = {"entries": sorted(entries, key=lambda each: (each["name"], each.get("uri", "")))}
    return found


def matters(heard: list, client: str) -> bool:
    if heard[0] == "log":
        # Clients ask for `info`, where there is something to ask; other servers send whatever they have.
        return heard[1]["level"] != "debug"
    # The TypeScript client tells of its own rounds as progress too. And it forgets who hears of progress as soon as it
    # has read the result: on a machine with much to do it drops what comes with it. The other clients must hear it all.
    return client != "typescript"


# What one era has and the other has not: whether a tool can run as a task, and the name of a question to open a page.
OF_THE_OLDER = ("execution", "elicitationId")


def across_eras(value: object) -> object:
    """What is the same in both eras."""
    if isinstance(value, dict):
        found = {key: across_eras(each) for key, each in value.items() if key not in OF_THE_OLDER}
        # The older one knows objects only as structured content.
        if found.get("outputSchema", {}).get("type") != "object":
            found.pop("outputSchema", None)
        return found
    return [across_eras(each) for each in value] if isinstance(value, list) else value


def difference(seen: object, expected: object, at: str = "") -> str | None:
    """The first place where two values differ, and what is there."""
    if isinstance(seen, dict) and isinstance(expected, dict):
        keys = sorted(seen.keys() | expected.keys())
        found = (difference(seen.get(key), expected.get(key), f"{at}.{key}") for key in keys)
        return next(filter(None, found), None)
    if isinstance(seen, list) and isinstance(expected, list):
        if len(seen) != len(expected):
            strange = [each for each in seen if each not in expected]
            missing = [each for each in expected if each not in seen]
            return f"{at} has {len(seen)} instead of {len(expected)}; more: {told(strange)}; missing: {told(missing)}"
        pairs = enumerate(zip(seen, expected, strict=True))
        return next(filter(None, (difference(*pair, f"{at}[{place}]") for place, pair in pairs)), None)
    return None if seen == expected else f"{at} is {shorten(seen)} instead of {shorten(expected)}"


def told(entries: list) -> str:
    return shorten([each.get("name", each) if isinstance(each, dict) else each for each in entries])
