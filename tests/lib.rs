//! Tests of the workspace as a whole; each is a file beside this one.
