//! The fuzz targets on the stable toolchain: over the corpus, and over mutations of it for `PLEURA_FUZZ_SECONDS` each.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for cargo-fuzz")]
mod targets;

mod mutations;

use mutations::Mutations;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use targets::TARGETS;

/// Files of a target's folder; zeros where it has none yet.
#[expect(clippy::unwrap_used, reason = "a helper of tests is a test too")]
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![vec![0; 256]] };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Names the input by its place in the sequence, which is the same each time, if a target panics.
#[test]
fn every_parser_returns_on_mutated_files() {
    let seconds = std::env::var("PLEURA_FUZZ_SECONDS").map_or(1.5, |text| text.parse().unwrap());
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        seeds.iter().for_each(|seed| target(seed));
        let mut mutations = Mutations::new(0);
        let start = Instant::now();
        let mut count = 0u64;
        while start.elapsed() < Duration::from_secs_f64(seconds) {
            let seed = &seeds[mutations.below(seeds.len())];
            let mutated = mutations.of(seed);
            let kept = std::env::temp_dir().join(format!("pleura-fuzz-{name}-{}", std::process::id()));
            let result = std::panic::catch_unwind(|| target(&mutated));
            if result.is_err() {
                std::fs::write(&kept, &mutated).unwrap();
                panic!("{name} panics on mutation {count}, kept as {}", kept.display());
            }
            count += 1;
        }
        println!("{name}: {count} mutations");
    }
}

/// Writes the files of the corpus that this code makes; the pictures and networks are copies.
#[test]
#[ignore = "writes files"]
fn write_corpus() {
    use pleura::baselines::mole::{AugConv, FirstLayer, MorphKey, Morphed};
    use pleura::ckks::{KeyRequest, Params};
    use pleura::nn::{Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan};

    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let put = |name: &str, bytes: &[u8]| {
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    };
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
    let shape = targets::LAYER;
    let weights: Vec<f64> = (0..shape.filters * shape.taps()).map(|k| (k as f64).sin()).collect();
    let layer = FirstLayer::new(shape, weights).unwrap();
    let key = MorphKey::from_seed(&shape, 1, [1; 32]).unwrap();
    put("baselines/morph-key", &key.to_bytes());
    put("baselines/augmented", &AugConv::<f32>::new(&key, &layer).unwrap().to_bytes());
    let values = key.morpher::<f32>().morph(&vec![0.5; shape.inputs()]).unwrap();
    put("baselines/morphed", &Morphed { shape, blocks: 1, values }.to_bytes());
    let secret = pleura::baselines::paillier::SecretKey::generate_insecure(512).unwrap();
    put("baselines/paillier-secret", &secret.to_bytes());
    put("baselines/paillier-public", &secret.public().to_bytes());
}
