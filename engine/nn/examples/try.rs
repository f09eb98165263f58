//! Scratch.
#![allow(
    clippy::all,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "scratch"
)]
use pleura_nn::*;
use pleura_ring::{Backend, Cpu};
use std::time::Instant;
fn npy(path: &str) -> (Vec<usize>, Vec<f64>) {
    let b = std::fs::read(path).unwrap();
    let h = u16::from_le_bytes([b[8], b[9]]) as usize;
    let head = String::from_utf8_lossy(&b[10..10 + h]).to_string();
    let shape: Vec<usize> = head
        .split("'shape': (")
        .nth(1)
        .unwrap()
        .split(')')
        .next()
        .unwrap()
        .split(',')
        .filter_map(|s| s.trim().parse().ok())
        .collect();
    let d = &b[10 + h..];
    let v = if head.contains("<f4") {
        d.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap()) as f64).collect()
    } else {
        d.chunks(8).map(|c| f64::from_le_bytes(c.try_into().unwrap())).collect()
    };
    (shape, v)
}
fn main() {
    for name in std::env::args().skip(1) {
        let bytes = std::fs::read(format!("models/reference/{name}.onnx")).unwrap();
        let t = Instant::now();
        let network = Network::from_onnx(&bytes, &ImportOptions::default()).unwrap().network;
        println!("== {name}: import {:.3}", t.elapsed().as_secs_f64());
        let (shape, x) = npy(&format!("models/reference/{name}.input.npy"));
        let (_, y) = npy(&format!("models/reference/{name}.output.npy"));
        let n = x.len() / shape[0];
        let t = Instant::now();
        let clear = network.evaluate(&x[..n]);
        println!(
            "clear {:.3} s, worst vs torch {:.2e}",
            t.elapsed().as_secs_f64(),
            clear.iter().zip(&y).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        );
        let t = Instant::now();
        let plan = match Plan::compile(&network, &PlanOptions::default(), &mut |_, _, _| ()) {
            Ok(p) => p,
            Err(e) => {
                println!("ERROR {e}");
                continue;
            }
        };
        let compile = t.elapsed().as_secs_f64();
        let r = plan.report().clone();
        println!("compile {compile:.2} s; {:?}", r.parameters);
        println!(
            "keys {} {:.0} MB, weights {:.0} MB, memory {:.0} MB, predicted {:.3}",
            r.rotation_keys,
            r.key_bytes as f64 / 1e6,
            r.weight_bytes as f64 / 1e6,
            r.memory_bytes as f64 / 1e6,
            r.seconds
        );
        for n in &r.notes {
            println!("note: {n}");
        }
        let t = Instant::now();
        let client = Client::new(&plan).unwrap();
        let keys = client.evaluation_keys().unwrap();
        println!("keygen {:.2} s", t.elapsed().as_secs_f64());
        let t = Instant::now();
        let cpu = Cpu::new(plan.params().ring().clone()).unwrap();
        println!("{}", cpu.name());
        let server = Server::new(&plan, cpu, keys).unwrap();
        println!("server {:.2} s", t.elapsed().as_secs_f64());
        let t = Instant::now();
        let input = client.encrypt(&[x[..n].to_vec()]).unwrap();
        println!("encrypt {:.3} s, {} cts", t.elapsed().as_secs_f64(), input.len());
        let rounds: usize = std::env::var("ROUNDS").map_or(3, |r| r.parse().unwrap());
        for round in 0..rounds {
            let mut times = vec![0.0; r.layers.len()];
            let t = Instant::now();
            let out = server.infer(&input, &mut |i, s| times[i] = s).unwrap();
            let total = t.elapsed().as_secs_f64();
            let got = client.decrypt(&out).unwrap();
            if round + 1 == rounds {
                for (l, t) in r.layers.iter().zip(&times) {
                    println!(
                        "{:>9} L{:<2} {:>3} ct {:>5} diag {:>4} rot {:>9} B  pred {:.4} got {:.4}  {} [{}]",
                        l.kind,
                        l.level,
                        l.ciphertexts,
                        l.diagonals,
                        l.rotations,
                        l.bytes,
                        l.seconds,
                        t,
                        &l.name.chars().take(60).collect::<String>(),
                        l.layout
                    );
                }
                println!("{:?}", Fidelity::new(&[clear.clone()], &got));
            }
            println!("infer {total:.4} s");
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{}", status.lines().filter(|l| l.starts_with("VmHWM")).collect::<String>());
    }
}
