//! The machine and the program in a report. Nothing in it names a person, a host or a network.

use crate::model::all_cores;
use pleura::bench::Machine;
use pleura::host_memory;
use pleura::ring::Simd;
use std::fs;
use std::process::Command;

/// The machine that this runs on.
pub(crate) fn machine() -> Machine {
    Machine {
        processor: processor(),
        cores: all_cores(),
        simd: Simd::preferred().name().to_owned(),
        memory_bytes: host_memory::total_bytes().or_else(memory_of_macos),
        system: system(),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

/// Commit that the program was built from, if that is known.
pub(crate) fn commit() -> Option<String> {
    Some(env!("PLEURA_COMMIT")).filter(|commit| *commit != "unknown").map(str::to_owned)
}

/// Whether the sources had changes since the commit, if that is known.
pub(crate) fn modified() -> Option<bool> {
    env!("PLEURA_MODIFIED").parse().ok()
}

/// Model of the processor.
fn processor() -> Option<String> {
    match std::env::consts::OS {
        "linux" => value(&fs::read_to_string("/proc/cpuinfo").ok()?, "model name", ':'),
        "macos" => answer("sysctl", &["-n", "machdep.cpu.brand_string"]),
        _ => std::env::var("PROCESSOR_IDENTIFIER").ok(),
    }
}

/// Operating system with its version, and that of the kernel on Linux.
fn system() -> String {
    let os = std::env::consts::OS;
    match os {
        "linux" => {
            let release = fs::read_to_string("/etc/os-release").ok();
            let name = release.and_then(|release| value(&release, "PRETTY_NAME", '='));
            let name = name.unwrap_or_else(|| "Linux".to_owned());
            let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
            match kernel.and_then(|text| number(&text)) {
                Some(kernel) => format!("{name}, Linux {kernel}"),
                None => name,
            }
        }
        "macos" => answer("sw_vers", &["-productVersion"])
            .map_or_else(|| os.into(), |version| format!("macOS {version}")),
        _ => os.to_owned(),
    }
}

fn memory_of_macos() -> Option<u64> {
    if std::env::consts::OS != "macos" {
        return None;
    }
    answer("sysctl", &["-n", "hw.memsize"])?.parse().ok()
}

/// Value of the first line that begins with a name.
fn value(text: &str, name: &str, separator: char) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once(separator));
    let found = lines.into_iter().find(|(known, _)| known.trim() == name)?.1;
    Some(found.trim().trim_matches('"').to_owned()).filter(|found| !found.is_empty())
}

/// The number at the beginning of a kernel's release, without what its builder appended, which may be the name of a host.
fn number(release: &str) -> Option<String> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release.get(..end).filter(|number| !number.is_empty()).map(str::to_owned)
}

/// First line that a program prints.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        let text = "processor\t: 0\nmodel name\t: Abacus 9000 @ 1 Hz\nmodel name\t: other\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("Abacus 9000 @ 1 Hz"));
        assert_eq!(
            value("NAME=\"x\"\nPRETTY_NAME=\"Debian 12\"\n", "PRETTY_NAME", '=').as_deref(),
            Some("Debian 12")
        );
        assert_eq!(value("model name:\n", "model name", ':'), None);
        assert_eq!(number("6.1.0-someone-laptop\n").as_deref(), Some("6.1.0"));
        assert_eq!(number("custom"), None);
    }

    #[test]
    fn this_machine_has_cores() {
        let machine = machine();
        assert!(machine.cores > 0 && !machine.system.is_empty() && !machine.simd.is_empty(), "{machine:?}");
    }
}
