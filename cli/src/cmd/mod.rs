//! Commands, a module for each or for those that share files.

pub(crate) mod baseline;
pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod compare;
pub(crate) mod compress;
pub(crate) mod devices;
pub(crate) mod fit;
pub(crate) mod manual;
pub(crate) mod models;
#[cfg(not(feature = "service"))]
pub(crate) mod no_service;
pub(crate) mod plan;
pub(crate) mod remote;
pub(crate) mod run;
#[cfg(feature = "service")]
pub(crate) mod service;
