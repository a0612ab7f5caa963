"""The function that the bench serves with the Python SDK."""

from toolbus import Worker

worker = Worker("sdk")


@worker.tool(read_only=True)
async def echo(message: str) -> str:
    """Sends the message back."""
    return message
