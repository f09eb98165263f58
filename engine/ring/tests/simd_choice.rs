//! The preferred instruction set. It belongs to the whole process, so each choice is tested in a process of its own.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use pleura_ring::{Backend, Cpu, Ring, RingError, Simd, primes_below};
use std::process::Command;
use std::sync::Arc;

#[test]
fn a_name_chooses_its_set() {
    for simd in Simd::ALL {
        let said = choice(simd.name());
        if simd.is_available() {
            assert!(said.starts_with(&format!("cpu ({}, ", simd.name())), "{said}");
        } else {
            eprintln!("skipped: this processor lacks {}", simd.name());
            assert!(said.contains("BadSimd"), "{said}");
        }
    }
}

#[test]
fn without_a_choice_the_widest_set_is_preferred() {
    let said = said(&mut child());
    assert!(said.starts_with(&format!("cpu ({}, ", Simd::widest().name())), "{said}");
}

#[test]
fn unknown_names_are_refused_with_a_list_of_the_known() {
    for wanted in ["", "AVX2", "sse9", " scalar"] {
        let said = choice(wanted);
        let message = format!("{wanted:?} is not an instruction set of this processor; it has scalar");
        assert!(said.starts_with("BadSimd") && said.contains(&message), "{said}");
    }
}

#[test]
fn a_set_in_use_cannot_be_changed() {
    if Simd::widest() == Simd::Scalar {
        eprintln!("skipped: this processor has one set");
        return;
    }
    let said = said(child().env("PLEURA_TEST_LATE", "1").env("PLEURA_TEST_SIMD", "scalar"));
    let expected = format!("SimdInUse: the instruction set {} is in use already", Simd::widest().name());
    assert!(said.starts_with(&expected), "{said}");
}

/// Reports the choice of the child process; not a test by itself.
#[test]
fn child_process() {
    if std::env::var_os("PLEURA_TEST_CHILD").is_none() {
        return;
    }
    if std::env::var_os("PLEURA_TEST_LATE").is_some() {
        assert_eq!(Simd::preferred(), Simd::widest());
        // The same choice again is none.
        Simd::widest().set_preferred().unwrap();
    }
    let wanted = std::env::var("PLEURA_TEST_SIMD").ok();
    let chosen = wanted.map_or(Ok(()), |wanted| wanted.parse::<Simd>().and_then(Simd::set_preferred));
    let said = match chosen {
        Ok(()) => {
            let primes = primes_below(30.0, 1 << 10, 1, &[]).unwrap();
            Cpu::new(Arc::new(Ring::new(10, &primes, &[]).unwrap())).unwrap().name()
        }
        Err(error @ RingError::BadSimd { .. }) => format!("BadSimd: {error}"),
        Err(error @ RingError::SimdInUse { .. }) => format!("SimdInUse: {error}"),
        Err(error) => panic!("{error}"),
    };
    println!("\nSAID {said}");
}

fn child() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_process", "--nocapture"])
        .env("PLEURA_TEST_CHILD", "1")
        .env_remove("PLEURA_TEST_SIMD");
    command
}

fn choice(name: &str) -> String {
    said(child().env("PLEURA_TEST_SIMD", name))
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("SAID ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}
