//! Adapters to test on.

#![allow(dead_code, reason = "not every test uses everything")]

use pleura_gpu::{Device, Options, adapters};
use std::io::Write;
use std::sync::Arc;

/// Opens every adapter in turn.
pub(crate) fn devices(options: &Options) -> Vec<Arc<Device>> {
    let adapters = adapters();
    if adapters.is_empty() {
        let required = std::env::var_os("REQUIRE_GPU").is_some_and(|value| value == "1");
        assert!(!required, "REQUIRE_GPU=1, and there is no adapter");
        let skipped = "skipped: no adapter; mesa-vulkan-drivers (Debian) brings one in software\n";
        // Not by `eprintln!`, which a test that passes keeps to itself.
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    adapters.iter().map(|adapter| adapter.open(options).unwrap()).collect()
}

/// Options as usual, without 64-bit integers and with checks in the kernels, and without 64-bit integers.
pub(crate) fn forms() -> [Options; 3] {
    let usual = Options::default();
    let int32 = Options { no_int64: true, ..Options::default() };
    [usual, Options { checks: true, ..int32.clone() }, int32]
}
