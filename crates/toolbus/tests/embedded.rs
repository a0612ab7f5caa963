//! CPython inside the binary, end to end: a real gateway and real clients.
