//! For tests and benchmarks, which include this file: `PLEURA_SIMD` chooses the instruction set of host polynomials and of
//! `Cpu::new`, as it does for the program. In tests it does so before the first of them runs.

use pleura_ring::Simd;

/// Makes the choice, and returns it.
pub(crate) fn choose() -> Simd {
    if let Some(wanted) = std::env::var_os("PLEURA_SIMD") {
        let chosen = wanted.to_string_lossy().parse::<Simd>().and_then(Simd::set_preferred);
        if let Err(error) = chosen {
            eprintln!("PLEURA_SIMD: {error}");
            std::process::exit(1);
        }
    }
    Simd::preferred()
}

/// Called when the program is loaded: the tests of a binary run side by side, and any of them may be the first.
#[cfg(all(test, target_os = "linux"))]
#[used]
// SAFETY: the section holds addresses of functions that the loader calls once, which this is.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn at_start() {
        choose();
    }
    at_start
};
