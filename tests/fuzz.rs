//! The fuzz targets on the stable toolchain: over the corpus, and over mutations of it for `PLEURA_FUZZ_SECONDS` each, on all cores.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "the functions beside the tests are tests too"
)]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for cargo-fuzz")]
mod targets;

mod mutations;

use mutations::Mutations;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use targets::{TARGETS, Target};

/// Most bytes that a target may ask for at once.
const MOST_BYTES: usize = 1 << 30;
/// Longest time for one input.
const LONGEST: Duration = Duration::from_secs(20);

/// The system's allocator, which remembers the largest size.
struct Watching {
    largest: AtomicUsize,
}

#[global_allocator]
static WATCHING: Watching = Watching { largest: AtomicUsize::new(0) };

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.largest.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.largest.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.largest.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Files of a target's folder.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Keeps the input, and names the file, if a target panics, is slow, or asks for too much memory.
fn fuzz((name, target): Target, time: Duration) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty(), "{name} has no corpus");
    seeds.iter().for_each(|seed| target(seed));
    let mut mutations = Mutations::new(0);
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        let mutated = mutations.of_any(&seeds);
        let before = Instant::now();
        let result = std::panic::catch_unwind(|| target(&mutated));
        let problem = if result.is_err() {
            "panics"
        } else if before.elapsed() > LONGEST {
            "takes too long"
        } else if WATCHING.largest.load(Ordering::Relaxed) > MOST_BYTES {
            "or a target beside it asks for too much memory"
        } else {
            count += 1;
            continue;
        };
        let kept = std::env::temp_dir().join(format!("pleura-fuzz-{name}-{}", std::process::id()));
        std::fs::write(&kept, &mutated).unwrap();
        panic!("{name} {problem} on mutation {count}, kept as {}", kept.display());
    }
    println!("{name}: {count} mutations");
}

#[test]
fn every_parser_returns_on_mutated_files() {
    assert!(targets::is_ready(), "a file of the corpus that targets need cannot be read");
    let seconds = std::env::var("PLEURA_FUZZ_SECONDS").map_or(1.0, |text| text.parse().unwrap());
    let left = Mutex::new(TARGETS.to_vec());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.min(TARGETS.len()) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().unwrap().pop();
                    let Some(target) = next else { break };
                    fuzz(target, Duration::from_secs_f64(seconds));
                }
            });
        }
    });
}

/// Writes the files of the corpus that this code makes; the pictures and networks are copies.
#[test]
#[ignore = "writes files"]
fn write_corpus() {
    write_plans();
    write_baselines();
    write_latents();
}

fn put(name: &str, bytes: &[u8]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

fn write_plans() {
    use pleura::ckks::{KeyRequest, Params};
    use pleura::nn::{Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan};
    use pleura::remote::{ClientBundle, ClientKey};

    let params = Params::new(targets::SMALL).unwrap();
    put("ckks/params", &params.to_bytes());
    put("ckks/request", &KeyRequest::new().relin(1).to_bytes(&params));
    let mut nodes = NodeMap::default();
    let input = nodes.push(Node::new("input", [4], Op::Input));
    let cubic = Coefficients(vec![vec![0.1], vec![0.2], vec![0.3], vec![0.4]]);
    nodes.push(Node::new("cubic", [4], Op::Polynomial(input, cubic)));
    let network = Network::new("small", nodes).unwrap();
    let options =
        CompileOptions { security: targets::SMALL.security, threads: 1, ..CompileOptions::default() };
    let plan = Plan::compile(&network, &options, &mut |_, _, _| ()).unwrap();
    put("plan/plan", &plan.to_bytes().unwrap());
    put("plan/server", &plan.server_plan().to_bytes().unwrap());
    put("client_spec/client", &plan.client_spec().to_bytes().unwrap());
    let mut keys = Vec::new();
    let bundle = ClientBundle::tensor(plan.client_spec().clone()).unwrap();
    ClientKey::generate(bundle).unwrap().write_keys(&mut keys).unwrap();
    put("remote/keys", &keys);
    let secure = CompileOptions { threads: 1, ..CompileOptions::default() };
    let plan = Plan::compile(&network, &secure, &mut |_, _, _| ()).unwrap();
    let bundle = ClientBundle::tensor(plan.client_spec().clone()).unwrap();
    put("client_spec/bundle", &bundle.to_bytes().unwrap());
    let key = ClientKey::generate(bundle).unwrap();
    put("secret/plain", &key.to_secret_bytes(None).unwrap());
    put("secret/passphrase", &key.to_secret_bytes(Some(b"secret")).unwrap());
}

fn write_baselines() {
    use pleura::baselines::mole::{AugConv, FirstLayer, MorphKey, Morphed};
    use pleura::baselines::paillier::{EncryptedPicture, SecretKey};

    let shape = targets::LAYER;
    let weights: Vec<f64> = (0..shape.filters * shape.taps()).map(|k| (k as f64).sin()).collect();
    let layer = FirstLayer::new(shape, weights).unwrap();
    let key = MorphKey::from_seed(&shape, 1, [1; 32]).unwrap();
    put("baselines/morph-key", &key.to_bytes());
    put("baselines/augmented", &AugConv::<f32>::new(&key, &layer).unwrap().to_bytes());
    let values = key.morpher::<f32>().morph(&vec![0.5; shape.inputs()]).unwrap();
    put("baselines/morphed", &Morphed { shape, blocks: 1, values }.to_bytes());
    let secret = SecretKey::generate_insecure(512).unwrap();
    put("baselines/paillier-secret", &secret.to_bytes());
    put("baselines/paillier-public", &secret.public().to_bytes());
    let side = *EncryptedPicture::SIDES.start();
    let pixels: Vec<u8> = (0..side * side).map(|pixel| pixel as u8).collect();
    let picture = EncryptedPicture::encrypt(secret.public(), &pixels, true, &mut |_, _| ()).unwrap();
    put("picture/packed", &picture.to_bytes(secret.public()));
}

fn write_latents() {
    use pleura::latent::{Codec, LatentFile, StoredLatent, Xray};

    let shipped = include_bytes!("../models/codec/f4.safetensors");
    let (length, rest) = shipped.split_first_chunk::<8>().unwrap();
    put("codec/f4.json", &rest[..u64::from_le_bytes(*length) as usize]);
    let codec = Codec::from_bytes(include_bytes!("../models/codec/f16.safetensors")).unwrap();
    let pixels = ndarray::Array2::from_shape_fn([256, 256], |(y, x)| (x ^ y) as u8);
    let latent = codec.encode(&Xray::from_pixels(pixels.view()).unwrap());
    let codes = codec.quantize(&latent).unwrap();
    for (name, stored) in [("latents", StoredLatent::Latent(latent)), ("codes", StoredLatent::Codes(codes))] {
        let file = LatentFile::new(&codec, vec![("a.png".to_owned(), stored)]).unwrap();
        put(&format!("latent/{name}"), &file.to_bytes());
    }
}
