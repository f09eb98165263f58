//! Whether a plan fits into memory.

use crate::text::bytes_text;
use anyhow::{Result, bail};
use pleura::host_memory::available_bytes;

/// Bytes in a GiB, as `--max-memory` counts.
const GIB: f64 = (1u64 << 30) as f64;

/// Refuses what does not fit `max_gib`, or into what is available if nothing is said.
pub(crate) fn check(needed: u64, max_gib: Option<f64>) -> Result<()> {
    let asked = max_gib.map(|gib| (gib * GIB) as u64);
    if let Some(allowed) = asked.or_else(available_bytes).filter(|&allowed| needed > allowed) {
        let how =
            if asked.is_some() { "allowed by --max-memory" } else { "available; --max-memory GIB overrides" };
        let (needed, allowed) = (bytes_text(needed), bytes_text(allowed));
        bail!("the network needs {needed} of memory at its busiest moment, and {allowed} are {how}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_that_do_not_fit_are_refused() {
        check(1 << 30, Some(1.0)).unwrap();
        let error = check((1 << 30) + 1, Some(1.0)).unwrap_err();
        assert!(error.to_string().contains("allowed by --max-memory"), "{error}");
        #[cfg(target_os = "linux")]
        assert!(check(1 << 62, None).unwrap_err().to_string().contains("available"));
    }
}
