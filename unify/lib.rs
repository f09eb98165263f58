//! Features of third-party crates that every build of the workspace takes: tests, the service and the Python package turn on
//! features of crates that the program shares with them. One set for all means that nothing is compiled twice.
