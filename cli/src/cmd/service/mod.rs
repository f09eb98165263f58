//! Encrypted inference over HTTPS: `pleura serve`, and `pleura classify` with a server.

pub(crate) mod args;
mod devices;
mod models;
pub(crate) mod serve;
pub(crate) mod stop;
