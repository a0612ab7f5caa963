//! Resources and prompts of files, beside the tools of another back end or by themselves.
