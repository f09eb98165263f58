#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pleura_fuzz::codec(bytes));
