//! The command line of Pleura.

fn main() {}
