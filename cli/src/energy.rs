//! Energy of processors and GPUs, where the platform measures it.

use pleura::bench::Meter;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Counters of Linux: one folder for each processor package.
const POWERCAP: &str = "/sys/class/powercap";
/// Milliseconds between readings of a GPU's power.
const INTERVAL: &str = "50";

/// The meter of the processor packages; none if their counters cannot be read, which takes an administrator on many systems.
pub(crate) fn processor() -> Option<Box<dyn Meter>> {
    let packages = Rapl::packages(Path::new(POWERCAP));
    let rapl = Rapl { started: Vec::new(), packages };
    rapl.read().map(|_| Box::new(rapl) as Box<dyn Meter>)
}

/// The meter of the NVIDIA card at an address of the PCI bus; none if `nvidia-smi` does not report its power.
pub(crate) fn nvidia(pci_bus: &str) -> Option<Box<dyn Meter>> {
    let output = smi(pci_bus).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    watts(text.lines().next()?)?;
    Some(Box::new(Nvidia { pci_bus: pci_bus.to_owned(), running: None }))
}

/// Counters of microjoules that wrap around.
struct Rapl {
    packages: Vec<PathBuf>,
    started: Vec<u64>,
}

impl Rapl {
    /// Folders of whole packages, without the parts of a package, which are below them.
    fn packages(root: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        let packages = entries.filter(|path| {
            fs::read_to_string(path.join("name")).is_ok_and(|name| name.starts_with("package"))
                && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("intel-rapl:"))
        });
        packages.collect()
    }

    fn read(&self) -> Option<Vec<u64>> {
        let counters = self.packages.iter().map(|path| number(&path.join("energy_uj")));
        counters.collect::<Option<Vec<_>>>().filter(|counters| !counters.is_empty())
    }
}

impl Meter for Rapl {
    fn start(&mut self) {
        self.started = self.read().unwrap_or_default();
    }

    fn stop(&mut self) -> Option<f64> {
        let now = self.read().filter(|now| now.len() == self.started.len())?;
        let mut microjoules = 0;
        for ((path, start), end) in self.packages.iter().zip(&self.started).zip(now) {
            microjoules += match end.checked_sub(*start) {
                Some(difference) => difference,
                None => end + number(&path.join("max_energy_range_uj"))?.checked_sub(*start)?,
            };
        }
        Some(microjoules as f64 / 1e6)
    }
}

/// Readings of a card's power.
struct Nvidia {
    pci_bus: String,
    running: Option<Running>,
}

struct Running {
    child: Child,
    watts: Arc<Mutex<Vec<f64>>>,
    clock: Instant,
}

impl Meter for Nvidia {
    fn start(&mut self) {
        let mut command = smi(&self.pci_bus);
        let started = command.args(["-lms", INTERVAL]).stderr(Stdio::null()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = started else { return };
        let watts_read = Arc::new(Mutex::new(Vec::new()));
        if let Some(output) = child.stdout.take() {
            let watts_read = watts_read.clone();
            thread::spawn(move || {
                for reading in
                    BufReader::new(output).lines().map_while(Result::ok).filter_map(|line| watts(&line))
                {
                    watts_read.lock().unwrap_or_else(PoisonError::into_inner).push(reading);
                }
            });
        }
        self.running = Some(Running { child, watts: watts_read, clock: Instant::now() });
    }

    fn stop(&mut self) -> Option<f64> {
        let Running { mut child, watts, clock } = self.running.take()?;
        let seconds = clock.elapsed().as_secs_f64();
        let _ = child.kill();
        let _ = child.wait();
        let readings = watts.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = readings.iter().sum::<f64>() / readings.len() as f64;
        (!readings.is_empty()).then_some(mean * seconds)
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        // A measurement that failed leaves the program running.
        self.stop();
    }
}

/// The program that prints a card's watts.
fn smi(pci_bus: &str) -> Command {
    let mut command = Command::new("nvidia-smi");
    command.args(["--query-gpu=power.draw", "--format=csv,noheader,nounits", "-i", pci_bus]);
    command
}

fn watts(line: &str) -> Option<f64> {
    line.trim().parse().ok().filter(|watts: &f64| watts.is_finite() && *watts >= 0.0)
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_packages_are_added_and_wrap_around() {
        let root = tempfile::tempdir().unwrap();
        let write = |folder: &str, file: &str, text: &str| {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(file), text).unwrap();
        };
        for (folder, name) in
            [("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:0:0", "core")]
        {
            write(folder, "name", name);
            write(folder, "energy_uj", "9000000\n");
            write(folder, "max_energy_range_uj", "10000000\n");
        }
        let mut meter = Rapl { packages: Rapl::packages(root.path()), started: Vec::new() };
        assert_eq!(meter.packages.len(), 2);
        meter.start();
        write("intel-rapl:0", "energy_uj", "9500000\n");
        write("intel-rapl:1", "energy_uj", "500000\n");
        assert_eq!(meter.stop(), Some(2.0));
        fs::remove_file(root.path().join("intel-rapl:1/energy_uj")).unwrap();
        assert_eq!(meter.stop(), None);
    }

    #[test]
    fn what_is_no_power_is_ignored() {
        assert_eq!(watts(" 71.25\r"), Some(71.25));
        assert_eq!(["[N/A]", "", "inf", "-3", "No devices were found"].map(watts), [None; 5]);
    }
}
