//! No byte of a key's seed is left in writable memory once the key is dropped. In a process of its own, since other tests hold
//! seeds.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use common::*;
use pleura_ckks::*;
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt;

/// Mask of the halves of a seed that are kept for the search, so that these are no copies of them.
const MASK: u8 = 0xa5;

/// Where memory holds either half of the seed: some processors' ciphers keep it in halves.
fn copies(masked: &[u8; 32]) -> Vec<String> {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = Vec::new();
    let mut page = vec![0u8; 1 << 16];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let range = fields.next().unwrap();
        let rights = fields.next().unwrap();
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

type Work = fn(&Setup, &SecretKey);

/// Makes a key, lets `work` use it, drops it, and returns its seed, masked.
#[inline(never)]
fn with_a_key(s: &Setup, work: Work) -> [u8; 32] {
    let secret = SecretKey::generate(&s.params).unwrap();
    work(s, &secret);
    let mut masked = [MASK; 32];
    masked.iter_mut().zip(secret.seed().as_bytes()).for_each(|(masked, byte)| *masked ^= byte);
    masked
}

/// [`with_a_key`] called deep in the stack, so that the search does not overwrite what is left there.
#[inline(never)]
fn far_down(s: &Setup, work: Work) -> [u8; 32] {
    let room = black_box([0u8; 1 << 16]);
    let masked = with_a_key(s, work);
    black_box(&room);
    masked
}

/// Later work overwrites the stack of earlier work: each is looked at by itself.
#[test]
fn no_seed_is_left_in_memory() {
    let s = Setup::new(SMALL, |_| KeyRequest::new());
    let works: [(_, Work); 5] = [
        ("made", |_, _| ()),
        ("found while it is there", |_, secret| {
            let mut masked = [MASK; 32];
            masked.iter_mut().zip(secret.seed().as_bytes()).for_each(|(masked, byte)| *masked ^= byte);
            assert!(!copies(&masked).is_empty());
        }),
        ("stored and read", |s, secret| {
            black_box(SecretKey::from_secret_bytes(&secret.to_secret_bytes(), &s.params).unwrap());
        }),
        ("decrypted with", |s, secret| {
            let x = secret.encrypt(&s.encoder.encode(&vector(s.slots(), 1)).unwrap()).unwrap();
            black_box(secret.decrypt(&s.encoder, &x).unwrap());
        }),
        ("published with", |s, secret| {
            let x = secret.encrypt(&s.encoder.encode(&vector(s.slots(), 1)).unwrap()).unwrap();
            black_box(secret.decrypt(&s.encoder, &x).unwrap().publish(4).unwrap());
        }),
    ];
    for (name, work) in works {
        let masked = far_down(&s, work);
        let found = copies(&masked);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
    // The search sees the stack that was used.
    let masked = far_down(&s, |_, secret| {
        let room = black_box([0u8; 4096]);
        black_box((&room, *secret.seed().as_bytes()));
    });
    assert!(!copies(&masked).is_empty());
}
