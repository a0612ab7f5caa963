"""Plain functions: each public one is a tool."""


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b
