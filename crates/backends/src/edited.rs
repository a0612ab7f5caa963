//! A layer that shows a back end's tools as the operator wants them: other names, more description, fewer of them.
