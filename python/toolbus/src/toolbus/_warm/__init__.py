"""Processes that have imported already: a server that is forked for each call, without the cost of a start.

`_server` imports the modules and forks slots; a `_slot` runs one call at a time, in a process of its own, and sees to it
that nothing of the call is left; `_run` turns a forked process into one that Python might have started; `_reused` is the
process that runs call after call. `_wire` carries messages and descriptors between them and the gateway.
"""
