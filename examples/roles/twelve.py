"""Twelve tools, one for each thing that a tool may do to whoever runs it."""

import asyncio
import os
import time
from dataclasses import dataclass

from pydantic import BaseModel, Field
from toolbus import Context, Image, Worker

worker = Worker("twelve", version="1.0")


@worker.tool(read_only=True)
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@worker.tool(read_only=True)
async def later(text: str) -> str:
    """Says it after a moment, in a coroutine."""
    await asyncio.sleep(0.01)
    return text


@worker.tool(read_only=True)
def steps(count: int, ctx: Context) -> str:
    """Takes its time, and tells how far it is."""
    for step in range(1, count + 1):
        time.sleep(0.05)
        ctx.report_progress(step, count, f"step {step}")
    return f"{count} steps"


@worker.tool(read_only=True)
def fail(why: str) -> str:
    """Raises an exception."""
    raise ValueError(why)


@worker.tool()
def crash() -> str:
    """Ends the interpreter, at once."""
    os._exit(7)


@worker.tool(read_only=True)
def shout(text: str) -> str:
    """Prints to standard output, which may be somebody's wire."""
    print(text.upper(), flush=True)
    os.write(1, b'{"jsonrpc": "2.0", "id": 1, "result": {}}\n')
    return text


@worker.tool(read_only=True)
def picture() -> Image:
    """Returns bytes that are no text."""
    return Image(bytes(range(256)), "image/png")


@worker.tool(read_only=True)
def large(mebibytes: int = 5) -> str:
    """Returns five mebibytes."""
    return "0123456789abcdef" * (mebibytes << 16)


@worker.tool(read_only=True)
def greet(name: str) -> str:
    """Grüßt, 挨拶する, 👋."""
    return f"Grüße, {name}! \u2028 こんにちは 👋🏽 \x00 \"\\"


class Item(BaseModel):
    """What is bought."""

    name: str
    price: int = Field(ge=0, description="In cents.")


class Order(BaseModel):
    """Who buys what."""

    customer: str
    items: list[Item]


class Bill(BaseModel):
    """What it comes to."""

    order: Order
    total: int


@worker.tool(read_only=True)
def bill(order: Order) -> Bill:
    """Adds up an order."""
    return Bill(order=order, total=sum(item.price for item in order.items))


@dataclass
class Place:
    """A point of the map."""

    city: str
    position: tuple[float, float]


@worker.tool(read_only=True)
def locate(city: str) -> Place:
    """Finds a city, as structured content."""
    return Place(city, (48.2, 16.4))


@worker.tool()
async def remove(what: str, ctx: Context) -> str:
    """Removes something, if the person agrees."""
    answer = await ctx.elicit(f"Remove {what}?", bool)
    return f"removed {what}" if answer.data else f"left {what} alone"
