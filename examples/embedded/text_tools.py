"""Tools about text, in three ways to run."""

import asyncio

from toolbus import Context, Worker

worker = Worker("text", instructions="Tools that count and compare texts.")


@worker.tool(read_only=True)
def words(text: str) -> int:
    """Counts words. A plain function: it runs in a thread of the gateway's."""
    return len(text.split())


@worker.tool(read_only=True, inline=True)
def is_palindrome(text: str) -> bool:
    """Says whether a text reads the same backwards. It never waits, so no thread is asked for it."""
    letters = [letter for letter in text.casefold() if letter.isalnum()]
    return letters == letters[::-1]


@worker.tool(read_only=True)
async def longest(texts: list[str], ctx: Context) -> str:
    """Finds the longest text. A coroutine: it runs on the event loop, and may say how far it is."""
    best = ""
    for done, text in enumerate(texts, 1):
        best = max(best, text, key=len)
        ctx.report_progress(done, len(texts))
        await asyncio.sleep(0)
    return best
