//! `PLEURA_SIMD`, each value in a process of its own: the environment of this one belongs to all its threads.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use pleura_ring::{Cpu, Ring, RingError, Simd, primes_below};
use std::ffi::OsStr;
use std::process::Command;
use std::sync::Arc;

#[test]
fn names_of_sets_choose_them() {
    for simd in Simd::ALL {
        let said = choice(simd.name());
        if simd.is_available() {
            assert_eq!(said, format!("Ok({simd:?}) cpu ({}, 1 thread)", simd.name()));
        } else {
            eprintln!("skipped: this processor lacks {}", simd.name());
            assert!(said.contains("BadSimd"), "{said}");
        }
    }
}

#[test]
fn without_the_variable_the_widest_set_is_chosen() {
    let widest = Simd::widest();
    assert_eq!(said(&mut child()), format!("Ok({widest:?}) cpu ({}, 1 thread)", widest.name()));
}

#[test]
fn other_values_are_refused_and_the_message_lists_what_there_is() {
    for wanted in ["", "AVX2", "sse9", " scalar"] {
        let said = choice(wanted);
        assert!(said.starts_with(&format!("Err(BadSimd {{ wanted: {wanted:?} }})")), "{said}");
        let message =
            format!("PLEURA_SIMD={wanted}: not an instruction set of this processor; use one of scalar");
        assert!(said.contains(&message), "{said}");
    }
}

#[cfg(unix)]
#[test]
fn values_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let said = choice(OsStr::from_bytes(b"avx\xff"));
    assert!(said.starts_with("Err(BadSimd"), "{said}");
}

/// What the child process says: not a test by itself.
#[test]
fn child_process() {
    if std::env::var_os("PLEURA_TEST_CHILD").is_none() {
        return;
    }
    let primes = primes_below(30.0, 1 << 10, 1, &[]).unwrap();
    let ring = Arc::new(Ring::new(10, &primes, &[]).unwrap());
    let backend = match Cpu::new(ring.clone()) {
        Ok(_) => pleura_ring::Backend::name(&Cpu::with(ring, Simd::from_env().unwrap(), 1).unwrap()),
        Err(e @ RingError::BadSimd { .. }) => e.to_string(),
        Err(e) => panic!("{e}"),
    };
    println!("\nSAID {:?} {backend}", Simd::from_env());
}

fn child() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_process", "--nocapture"])
        .env("PLEURA_TEST_CHILD", "1")
        .env_remove("PLEURA_SIMD");
    command
}

fn choice(value: impl AsRef<OsStr>) -> String {
    said(child().env("PLEURA_SIMD", value))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("SAID ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}
