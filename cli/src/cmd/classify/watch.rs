//! Files that arrive in folders.

use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::xray::{FolderListing, Source, SourceList};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Time between two looks at the folders. A file whose size and time stay the same from one look to the next is taken as complete; if
/// it cannot be read and changes later, it was not.
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

/// Size and time of a file.
type State = (u64, Option<SystemTime>);

/// Files of folders that could not be read.
#[derive(Default)]
pub(super) struct Unread(Mutex<HashSet<PathBuf>>);

/// A source, or the lack of one.
pub(super) enum Arrival {
    Source(Source),
    /// A source that could not be read, and has changed since.
    Again(Source),
    /// A source that was read, and has changed since.
    Changed(Source),
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
    unread: &'a Unread,
    /// Named files.
    named: HashSet<PathBuf>,
    /// Files of folders that were given out, or will be, as they were then; nothing for files that changed after they were read.
    known: HashMap<PathBuf, Option<State>>,
    /// Other files at the last look.
    growing: HashMap<PathBuf, State>,
    ready: VecDeque<Arrival>,
    /// Whether sources were given out since the last pause.
    given: bool,
    next_look: Instant,
    last: Instant,
}

impl Unread {
    /// Adds a file.
    pub(super) fn add(&self, path: PathBuf) {
        self.lock().insert(path);
    }

    fn has(&self, path: &Path) -> bool {
        self.lock().contains(path)
    }

    fn remove(&self, path: &Path) {
        self.lock().remove(path);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Arrivals<'a> {
    /// Named files of `inputs` at once, and then the files of its folders, until `stopped`.
    pub(super) fn new(
        inputs: &[PathBuf],
        recursive: bool,
        idle: Option<u64>,
        stopped: &'a AtomicBool,
        unread: &'a Unread,
    ) -> Self {
        let (folders, files) = inputs.iter().cloned().partition::<Vec<_>, _>(|path| path.is_dir());
        Self {
            folders,
            recursive,
            idle: idle.map(Duration::from_secs),
            stopped,
            unread,
            named: files.iter().cloned().collect(),
            known: HashMap::new(),
            growing: HashMap::new(),
            ready: files
                .into_iter()
                .map(|path| Arrival::Source(Source::File { path, named: true }))
                .collect(),
            given: false,
            next_look: Instant::now(),
            last: Instant::now(),
        }
    }

    fn look(&mut self) -> Result<()> {
        let mut growing = HashMap::new();
        for folder in &self.folders {
            for path in FolderListing::read(folder, self.recursive)?.files {
                if self.named.contains(&path) {
                    continue;
                }
                // A file that is gone is ignored; one that cannot be opened is reported as such.
                let Ok(found) = fs::metadata(&path) else { continue };
                let state = (found.len(), found.modified().ok());
                let source = Source::File { path: path.clone(), named: false };
                let before = self.known.get(&path).copied();
                match before {
                    Some(None) => continue,
                    Some(Some(before)) if before == state => continue,
                    Some(_) if !self.unread.has(&path) => {
                        self.known.insert(path, None);
                        self.ready.push_back(Arrival::Changed(source));
                        continue;
                    }
                    _ => (),
                }
                if self.growing.get(&path) != Some(&state) {
                    growing.insert(path, state);
                    continue;
                }
                self.unread.remove(&path);
                self.known.insert(path, Some(state));
                let again = before.is_some();
                self.ready.push_back(if again { Arrival::Again(source) } else { Arrival::Source(source) });
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
            if let Some(arrival) = self.ready.pop_front() {
                self.given = true;
                return Some(Ok(arrival));
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

    /// Names of files that are complete, those that come again with a mark.
    fn names_after_a_look(arrivals: &mut Arrivals<'_>) -> Vec<String> {
        arrivals.look().unwrap();
        let name = |source: &Source| source.name().rsplit('/').next().unwrap().to_owned();
        let ready = arrivals.ready.drain(..).map(|arrival| match arrival {
            Arrival::Source(source) => name(&source),
            Arrival::Again(source) => format!("{} again", name(&source)),
            Arrival::Changed(source) => format!("{} changed", name(&source)),
            Arrival::Pause => unreachable!(),
        });
        ready.collect()
    }

    #[test]
    fn files_that_could_not_be_read_are_taken_again_once_they_have_changed() {
        let place = tempfile::tempdir().unwrap();
        let [cut, whole] = ["cut.png", "whole.png"].map(|name| place.path().join(name));
        for path in [&cut, &whole] {
            fs::write(path, b"\x89PNG\r\n\x1a\n").unwrap();
        }
        let stopped = AtomicBool::new(false);
        let unread = Unread::default();
        let mut arrivals = Arrivals::new(&[place.path().to_owned()], true, None, &stopped, &unread);
        let names = names_after_a_look;
        assert!(names(&mut arrivals).is_empty());
        assert_eq!(names(&mut arrivals), ["cut.png", "whole.png"]);
        unread.add(cut.clone());
        assert!(names(&mut arrivals).is_empty(), "it is as it was");
        for path in [&cut, &whole] {
            fs::write(path, b"\x89PNG\r\n\x1a\nmore").unwrap();
        }
        assert_eq!(names(&mut arrivals), ["whole.png changed"]);
        assert_eq!(names(&mut arrivals), ["cut.png again"]);
        fs::write(&cut, b"\x89PNG\r\n\x1a\nyet more").unwrap();
        assert_eq!(names(&mut arrivals), ["cut.png changed"], "it was read");
        fs::write(&cut, b"\x89PNG\r\n\x1a\nyet much more").unwrap();
        assert!(names(&mut arrivals).is_empty(), "this is said once");
    }

    #[test]
    fn files_are_taken_when_they_stop_growing() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("b.png"), b"\x89PNG\r\n\x1a\n").unwrap();
        let stopped = AtomicBool::new(false);
        let unread = Unread::default();
        let mut arrivals = Arrivals::new(&[place.path().to_owned()], true, None, &stopped, &unread);
        let names = names_after_a_look;
        assert!(names(&mut arrivals).is_empty());
        let mut slow = fs::File::create(place.path().join("a.png")).unwrap();
        slow.write_all(b"\x89PNG\r\n\x1a\n").unwrap();
        assert_eq!(names(&mut arrivals), ["b.png"]);
        slow.write_all(b"more").unwrap();
        assert!(names(&mut arrivals).is_empty());
        assert_eq!(names(&mut arrivals), ["a.png"]);
        assert!(names(&mut arrivals).is_empty());
        let source = Source::File { path: place.path().join("b.png"), named: false };
        arrivals.ready.push_back(Arrival::Source(source));
        assert!(matches!(arrivals.next(), Some(Ok(Arrival::Source(_)))));
        assert!(matches!(arrivals.next(), Some(Ok(Arrival::Pause))));
        stopped.store(true, Ordering::Relaxed);
        assert!(arrivals.next().is_none());
    }
}
