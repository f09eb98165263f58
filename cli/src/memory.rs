//! Memory that a plan needs, compared with memory that it may use.

use crate::text::{bytes_text, size};
use anyhow::{Result, bail};
use clap::Args;
use pleura::host_memory::available_bytes;
use pleura::nn::Report;

/// Limit of memory.
#[derive(Args)]
pub(crate) struct MemoryArgs {
    /// Memory that the network may use, e.g. 6GB or 512MiB [default: what is available].
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    pub(crate) max_memory: Option<u64>,
}

/// Bytes that an inference takes beside keys and weights, about.
pub(crate) fn working_bytes(report: &Report) -> u64 {
    report.predicted_peak_bytes.saturating_sub(report.key_bytes + report.weight_bytes) as u64
}

/// Number of items that can be worked on at a time, if the first needs some bytes and each other one `further` bytes, and `limit`
/// bytes or those available may be used.
///
/// # Errors
/// If there is no room for the first.
pub(crate) fn fitting(first: u64, further: u64, limit: Option<u64>) -> Result<usize> {
    check(first, limit)?;
    let Some(allowed) = limit.or_else(available_bytes) else { return Ok(usize::MAX) };
    let others = allowed.saturating_sub(first).checked_div(further).unwrap_or(u64::MAX);
    Ok(usize::try_from(others.saturating_add(1)).unwrap_or(usize::MAX))
}

/// Refuses a plan that needs more bytes than `limit`, or than are available if there is no limit.
pub(crate) fn check(needed: u64, limit: Option<u64>) -> Result<()> {
    if let Some(allowed) = limit.or_else(available_bytes).filter(|&allowed| needed > allowed) {
        let source = if limit.is_some() {
            "--max-memory allows"
        } else {
            "are available; --max-memory SIZE sets another limit"
        };
        bail!(
            "the network needs {} of peak memory, but {} {source}",
            bytes_text(needed),
            bytes_text(allowed)
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_at_a_time_follow_from_memory() {
        assert_eq!(fitting(100, 10, Some(125)).unwrap(), 3);
        assert_eq!(fitting(100, 0, Some(100)).unwrap(), usize::MAX);
        assert!(fitting(100, 10, Some(99)).is_err());
    }

    #[test]
    fn plans_that_do_not_fit_are_refused() {
        check(1 << 30, Some(1 << 30)).unwrap();
        let error = check((1 << 30) + 1, Some(1 << 30)).unwrap_err();
        assert!(error.to_string().contains("--max-memory allows"), "{error}");
        #[cfg(target_os = "linux")]
        assert!(check(1 << 62, None).unwrap_err().to_string().contains("available"));
    }
}
