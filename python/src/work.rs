//! Computations of the engine, called from Python: without the interpreter's lock, interruptible, and safe from panics.

use crate::failure::{Failure, Kind};
use pyo3::prelude::*;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Time between two looks for signals.
const TICK: Duration = Duration::from_millis(50);

/// The process that loaded the library.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// Whether the caller still wants a result: work of several items asks between them.
#[derive(Clone, Default)]
pub(crate) struct Interruption(Arc<AtomicBool>);

impl Interruption {
    /// An error if the caller was interrupted, which nobody receives.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Failure::new(Kind::Internal, "the computation was interrupted"));
        }
        Ok(())
    }
}

/// Notes the process that loads the library: threads of the engine do not survive a fork.
pub(crate) fn note_process() {
    PROCESS.get_or_init(process::id);
}

/// Runs `work` on a thread of its own while this one waits without the interpreter's lock and looks for signals. After
/// an interruption, the item in work is finished in the background and its result dropped.
///
/// # Errors
/// Those of `work`; `KeyboardInterrupt` or what else a signal handler raises; `InternalError` for a panic, and in a
/// forked process.
pub(crate) fn run<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&Interruption) -> Result<T, Failure> + Send + 'static,
) -> PyResult<T> {
    check_process()?;
    let interruption = Interruption::default();
    let given = interruption.clone();
    let (sender, receiver) = mpsc::channel();
    let worker = thread::Builder::new().name("pleura".to_owned()).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&given)));
        // An interrupted caller receives nothing.
        let _ = sender.send(outcome);
    });
    worker.map_err(|error| Failure::new(Kind::Internal, format!("the system starts no thread: {error}")))?;
    let mut receiver = receiver;
    loop {
        let (received, back) = py.detach(move || (receiver.recv_timeout(TICK), receiver));
        receiver = back;
        match received {
            Ok(Ok(outcome)) => return outcome.map_err(PyErr::from),
            Ok(Err(panic)) => return Err(panicked(&*panic).into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Kind::Internal, "a thread ended without a result").into());
            }
        }
        if let Err(signal) = py.check_signals() {
            interruption.0.store(true, Ordering::Relaxed);
            return Err(signal);
        }
    }
}

/// Panics, as a bug of the engine would.
#[pyfunction]
#[expect(clippy::panic, reason = "a test sees what becomes of a panic")]
pub(crate) fn panic_for_tests(py: Python<'_>) -> PyResult<()> {
    run(py, |_| panic!("a test"))
}

fn check_process() -> Result<(), Failure> {
    if PROCESS.get().is_some_and(|&loaded| loaded != process::id()) {
        return Err(Failure::new(
            Kind::Input,
            "this process was forked from one that had loaded pleura, whose threads do not survive a fork; start workers \
             with multiprocessing.get_context(\"spawn\")",
        ));
    }
    Ok(())
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Failure::new(Kind::Internal, format!("the engine panicked: {text}; please report it with the model"))
}
