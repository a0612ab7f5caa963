//! A layer that checks arguments before anything runs, and results before they leave.
