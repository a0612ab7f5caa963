//! A long-lived tool runner behind HTTP: `POST /run_tool`, over TCP or a Unix socket.
