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

/// Bytes of a group beyond which groups follow one another on a processor: several at a time would share its path to main memory, where
/// all threads on one group take three quarters of the time (hefNet, sixteen items in 2 GiB).
const LARGE_GROUP: u64 = 1 << 30;

/// Memory of the groups that are worked on at a time.
pub(crate) struct Groups {
    /// Bytes of the first, with keys and weights.
    first: u64,
    /// Bytes of each other one.
    further: u64,
    /// How many there may be at a time.
    pub(crate) most: usize,
}

impl Groups {
    /// Groups of a plan, for which `limit` bytes or those available may be used.
    ///
    /// # Errors
    /// If there is no room for the first.
    pub(crate) fn of(report: &Report, on_processor: bool, limit: Option<u64>) -> Result<Self> {
        let first = report.predicted_peak_bytes as u64;
        let further = first.saturating_sub((report.key_bytes + report.weight_bytes) as u64);
        Self::new(first, further, on_processor, limit)
    }

    fn new(first: u64, further: u64, on_processor: bool, limit: Option<u64>) -> Result<Self> {
        let fitting = fitting(first, further, limit)?;
        Ok(Self { first, further, most: if on_processor && further > LARGE_GROUP { 1 } else { fitting } })
    }

    /// Bytes of `count` groups at a time.
    pub(crate) fn bytes(&self, count: usize) -> u64 {
        self.first + self.further * (count as u64).saturating_sub(1)
    }
}

/// Number of items that can be worked on at a time, if the first needs some bytes and each other one `further` bytes, and `limit`
/// bytes or those available may be used.
///
/// # Errors
/// If there is no room for the first.
fn fitting(first: u64, further: u64, limit: Option<u64>) -> Result<usize> {
    check(first, limit)?;
    let Some(allowed) = limit.or_else(available_bytes) else { return Ok(usize::MAX) };
    let others = allowed.saturating_sub(first).checked_div(further).unwrap_or(u64::MAX);
    Ok(usize::try_from(others.saturating_add(1)).unwrap_or(usize::MAX))
}

/// Refuses a plan that needs more bytes than `limit`, or than are available if there is no limit.
pub(crate) fn check(needed: u64, limit: Option<u64>) -> Result<()> {
    if let Some(allowed) = limit.or_else(available_bytes).filter(|&allowed| needed > allowed) {
        let [needed, allowed] = [needed, allowed].map(bytes_text);
        match limit {
            Some(_) => bail!(
                "the network needs {needed} of peak memory, and --max-memory allows {allowed}: set a larger limit"
            ),
            None => bail!(
                "the network needs {needed} of peak memory, and {allowed} are available; --max-memory SIZE sets another limit"
            ),
        }
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
    fn large_groups_follow_one_another_on_a_processor() {
        let most = |gigabytes: u64, on_processor| {
            Groups::new(3 << 30, gigabytes << 30, on_processor, Some(9 << 30)).unwrap().most
        };
        assert_eq!([most(1, true), most(2, true), most(2, false)], [7, 1, 4]);
        assert_eq!(Groups::new(3, 2, true, None).unwrap().bytes(3), 7);
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
