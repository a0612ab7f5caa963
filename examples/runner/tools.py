"""Tools of a team that counts words, behind one runner."""

import asyncio
from collections import Counter

from toolbus import Context, Worker

worker = Worker("words")


@worker.tool(read_only=True)
def count(text: str, most: int = 3) -> dict[str, int]:
    """Counts the words of a text.

    Args:
        text: The text.
        most: How many words to show, the most frequent first.
    """
    return dict(Counter(text.lower().split()).most_common(most))


@worker.tool(read_only=True)
async def read_slowly(text: str, ctx: Context) -> str:
    """Reads word by word, and tells how far it is."""
    words = text.split()
    for place, word in enumerate(words, 1):
        await asyncio.sleep(0.05)
        ctx.report_progress(place, len(words), word)
    return f"{len(words)} words"
