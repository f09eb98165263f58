//! Memory of the host and of this process, where the system reports it (Linux).

use std::fs;

/// Bytes that the system could hand out now.
pub fn available_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// Bytes of the memory.
pub fn total_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// Largest number of bytes that this process had resident since [`reset_peak`].
pub fn peak_bytes() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Forgets the peak so far, where the system allows it.
pub fn reset_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read() {
        let available = |text: &str| kilobytes(text, "MemAvailable:");
        let text = "MemTotal:       24579064 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(available(text), Some(22_000_000 << 10));
        assert_eq!(available("MemTotal: 5 kB"), None);
        assert_eq!(available("MemAvailable: lots kB"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_reports_memory() {
        reset_peak();
        assert!(peak_bytes().unwrap() > 1 << 20 && available_bytes().is_some());
    }
}
