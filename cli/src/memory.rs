//! How much memory there is, and whether a plan fits.

use crate::text::bytes_text;
use anyhow::{Result, bail};

/// Bytes in a GiB, as `--max-memory` counts.
const GIB: f64 = (1u64 << 30) as f64;

/// What the system could hand out now, where it tells.
pub(crate) fn available() -> Option<u64> {
    let text = if cfg!(target_os = "linux") { std::fs::read_to_string("/proc/meminfo").ok()? } else { None? };
    parse(&text)
}

/// The most that this process had resident since [`reset_peak`], where the system tells.
pub(crate) fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    kilobytes(&status, "VmHWM:")
}

/// Forgets what this process had resident before, where the system lets it.
pub(crate) fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn parse(meminfo: &str) -> Option<u64> {
    kilobytes(meminfo, "MemAvailable:")
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Refuses what does not fit `max_gib`, or into what is available if nothing is said.
pub(crate) fn check(needed: u64, max_gib: Option<f64>) -> Result<()> {
    let asked = max_gib.map(|gib| (gib * GIB) as u64);
    if let Some(allowed) = asked.or_else(available).filter(|&allowed| needed > allowed) {
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
    fn the_kernel_is_read() {
        let text = "MemTotal:       24579064 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(parse(text), Some(22_000_000 << 10));
        assert_eq!(parse("MemTotal: 5 kB"), None);
        assert_eq!(parse("MemAvailable: lots kB"), None);
        #[cfg(target_os = "linux")]
        assert!(available().is_some());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peaks_are_told() {
        reset_peak();
        assert!(peak().unwrap() > 1 << 20);
    }

    #[test]
    fn plans_that_do_not_fit_are_refused() {
        check(1 << 30, Some(1.0)).unwrap();
        let error = check((1 << 30) + 1, Some(1.0)).unwrap_err();
        assert!(error.to_string().contains("allowed by --max-memory"), "{error}");
        #[cfg(target_os = "linux")]
        assert!(check(1 << 62, None).unwrap_err().to_string().contains("available"));
    }
}
