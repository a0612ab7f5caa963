//! A script per call: JSON on standard input, JSON on standard output.
