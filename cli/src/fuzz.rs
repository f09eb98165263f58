//! Mutated files for parsers of the command line, for `PLEURA_FUZZ_SECONDS` each.

#[path = "../../tests/mutations.rs"]
mod mutations;

use mutations::Mutations;
use std::time::{Duration, Instant};

/// Calls a parser with mutations of the seeds: it must return.
pub(crate) fn fuzz(seeds: &[&[u8]], mut parser: impl FnMut(&[u8])) {
    let seconds = std::env::var("PLEURA_FUZZ_SECONDS").map_or(0.5, |text| text.parse().unwrap());
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    let mut mutations = Mutations::new(0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        parser(&mutations.of_any(&seeds));
    }
}
