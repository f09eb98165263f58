//! Files that arrive in folders.

use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::xray::{FolderListing, Source, SourceList};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Time between two looks at the folders. A file whose size and time stay the same from one look to the next is complete.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks at whether results are still wanted.
const NAP: Duration = Duration::from_millis(50);

/// Waiting for files.
#[derive(Args)]
pub(super) struct WatchArgs {
    /// Wait for new files in the folders, and classify each file once it is complete.
    #[arg(long)]
    pub(super) watch: bool,

    /// Seconds without a new file after which --watch ends [default: never].
    #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = RangedU64ValueParser::<u64>::new().range(1..=31_536_000))]
    pub(super) idle: Option<u64>,
}

impl WatchArgs {
    /// The files that are there already; folders may be empty.
    pub(super) fn list(&self, inputs: &[PathBuf], recursive: bool) -> Result<SourceList> {
        let mut list = SourceList::default();
        ensure!(
            inputs.iter().any(|path| path.is_dir()),
            "--watch needs a folder in which files arrive: name one"
        );
        for path in inputs {
            if path.is_dir() {
                let files = FolderListing::read(path, recursive)?.files;
                list.sources.extend(files.into_iter().map(|path| Source::File { path, named: false }));
            } else {
                list.sources.push(Source::File { path: path.clone(), named: true });
            }
        }
        Ok(list)
    }
}

/// A source, or the lack of one.
pub(super) enum Arrival {
    Source(Source),
    /// All files that are complete were given out.
    Pause,
}

/// Sources in the order of their arrival.
pub(super) struct Arrivals<'a> {
    folders: Vec<PathBuf>,
    recursive: bool,
    idle: Option<Duration>,
    /// Whether nobody wants further files.
    stopped: &'a AtomicBool,
    /// Files that were given out, or will be.
    known: HashSet<PathBuf>,
    /// Sizes and times of other files at the last look.
    growing: HashMap<PathBuf, (u64, Option<SystemTime>)>,
    ready: VecDeque<Source>,
    /// Whether sources were given out since the last pause.
    given: bool,
    next_look: Instant,
    last: Instant,
}

impl<'a> Arrivals<'a> {
    /// Named files of `inputs` at once, and then the files of its folders, until `stopped`.
    pub(super) fn new(
        inputs: &[PathBuf],
        recursive: bool,
        idle: Option<u64>,
        stopped: &'a AtomicBool,
    ) -> Self {
        let (folders, files) = inputs.iter().cloned().partition::<Vec<_>, _>(|path| path.is_dir());
        Self {
            folders,
            recursive,
            idle: idle.map(Duration::from_secs),
            stopped,
            known: files.iter().cloned().collect(),
            growing: HashMap::new(),
            ready: files.into_iter().map(|path| Source::File { path, named: true }).collect(),
            given: false,
            next_look: Instant::now(),
            last: Instant::now(),
        }
    }

    fn look(&mut self) -> Result<()> {
        let mut growing = HashMap::new();
        for folder in &self.folders {
            for path in FolderListing::read(folder, self.recursive)?.files {
                if self.known.contains(&path) {
                    continue;
                }
                // A file that is gone is ignored; one that cannot be opened is reported as such.
                let Ok(found) = fs::metadata(&path) else { continue };
                let state = (found.len(), found.modified().ok());
                if self.growing.get(&path) == Some(&state) {
                    self.known.insert(path.clone());
                    self.ready.push_back(Source::File { path, named: false });
                } else {
                    growing.insert(path, state);
                }
            }
        }
        if !growing.is_empty() || !self.ready.is_empty() {
            self.last = Instant::now();
        }
        self.growing = growing;
        Ok(())
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Result<Arrival>;

    fn next(&mut self) -> Option<Result<Arrival>> {
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(source) = self.ready.pop_front() {
                self.given = true;
                return Some(Ok(Arrival::Source(source)));
            }
            if std::mem::take(&mut self.given) {
                return Some(Ok(Arrival::Pause));
            }
            if Instant::now() >= self.next_look {
                if let Err(error) = self.look() {
                    return Some(Err(error));
                }
                self.next_look = Instant::now() + LOOK;
                continue;
            }
            if self.idle.is_some_and(|idle| self.last.elapsed() >= idle) {
                return None;
            }
            thread::sleep(NAP);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn files_are_taken_when_they_stop_growing() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("b.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        let stopped = AtomicBool::new(false);
        let mut arrivals = Arrivals::new(&[place.path().to_owned()], true, None, &stopped);
        let names = |arrivals: &mut Arrivals<'_>| -> Vec<String> {
            arrivals.look().unwrap();
            arrivals
                .ready
                .drain(..)
                .map(|source| source.name().rsplit('/').next().unwrap().to_owned())
                .collect()
        };
        assert!(names(&mut arrivals).is_empty());
        let mut slow = fs::File::create(place.path().join("a.png")).unwrap();
        slow.write_all(b"\x89PNG\r\n\x1a\n").unwrap();
        assert_eq!(names(&mut arrivals), ["b.png"]);
        slow.write_all(b"more").unwrap();
        assert!(names(&mut arrivals).is_empty());
        assert_eq!(names(&mut arrivals), ["a.png"]);
        assert!(names(&mut arrivals).is_empty());
        arrivals.ready.push_back(Source::File { path: place.path().join("b.png"), named: false });
        assert!(matches!(arrivals.next(), Some(Ok(Arrival::Source(_)))));
        assert!(matches!(arrivals.next(), Some(Ok(Arrival::Pause))));
        stopped.store(true, Ordering::Relaxed);
        assert!(arrivals.next().is_none());
    }
}
