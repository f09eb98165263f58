//! What is left of a key's seed in memory once the key is dropped: nothing, in all pages that can be written to.
//! By itself, since other tests would hold the seed themselves.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::*;
use pleura_ckks::*;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

/// What the halves of a seed are kept as, so that looking for them is no copy of them.
const MASK: u8 = 0xa5;

/// Where memory holds either half of the seed: some processors' ciphers keep it in halves.
fn copies(masked: &[u8; 32]) -> Vec<String> {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = Vec::new();
    let mut page = vec![0u8; 1 << 16];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        if !rights.starts_with("rw") || line.ends_with("[vvar]") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|x| u64::from_str_radix(x, 16).unwrap());
        let mut at = from;
        while at < to {
            let own = page.as_ptr() as u64..page.as_ptr() as u64 + page.len() as u64;
            let Ok(len @ 32..) = memory.read_at(&mut page, at) else { break };
            for (i, bytes) in page[..len].windows(16).enumerate() {
                let is = |half: &[u8]| bytes.iter().zip(half).all(|(a, b)| a ^ b == MASK);
                if (is(&masked[..16]) || is(&masked[16..])) && !own.contains(&(at + i as u64)) {
                    found.push(format!("{:x} in {line}", at + i as u64));
                }
            }
            page.fill(0);
            // Halves that lie across two reads are seen, too.
            at += (len - 16) as u64;
            if len <= 32 {
                break;
            }
        }
    }
    found
}

#[inline(never)]
fn use_a_key(s: &Setup) -> [u8; 32] {
    let secret = SecretKey::generate(&s.params).unwrap();
    let masked = secret.seed().as_bytes().map(|byte| byte ^ MASK);
    // The key itself is found: the search works.
    assert!(!copies(&masked).is_empty());
    let read = SecretKey::from_secret_bytes(&secret.to_secret_bytes(), &s.params).unwrap();
    let x = secret.encrypt(&s.encoder.encode(&vector(s.slots(), 1)).unwrap()).unwrap();
    black_box(read.decrypt(&s.encoder, &x).unwrap().publish(4).unwrap());
    black_box(secret.public_key().unwrap());
    masked
}

#[test]
fn no_seed_is_left_in_memory() {
    let s = Setup::new(SMALL, |_| KeyRequest::new());
    for run in 0..3 {
        let masked = use_a_key(&s);
        let found = copies(&masked);
        assert!(found.is_empty(), "run {run}: {found:#?}");
    }
}
