//! Networks that are shipped, on all devices.

use crate::bench::Place;
use crate::bench::clock;
use crate::bench::record::{
    Bytes, ClientTimes, LayerRecord, NetworkOutcome, NetworkRecord, Outcome, Times, compare,
};
use crate::classifier;
use crate::device::{Metered, OnDevice};
use crate::error::CliError;
use crate::text::hex;
use crate::{memory, terminal};
use anyhow::Context;
use indicatif::ProgressBar;
use pleura::ckks::{Ciphertext, EvaluationKeys};
use pleura::nn::{Client, Fidelity, Plan, Server};
use pleura::xray::shipped::SAMPLES;
use sha2::{Digest, Sha256};
use std::time::Instant;

/// One network, from the X-ray to the scores.
pub(crate) fn measure(
    name: &str,
    places: &[Place],
    threads: usize,
    repeat: usize,
    bar: &ProgressBar,
) -> Result<NetworkRecord, CliError> {
    bar.set_message(format!("compiling {name}"));
    let classifier = classifier::load(name)?;
    let plan = classifier::plan(&classifier, threads, true, 1)?;
    let report = plan.report();
    memory::check(report.memory_bytes as u64, None)?;
    bar.set_message(format!("{name} on the client"));
    let first = SAMPLES.first().context("no sample X-ray is shipped")?;
    let xray = first.xray()?;
    let item = classifier.features(&xray)?.values.into_iter().collect();
    let compress = clock::each(repeat, || classifier.features(&xray))?;
    let client = Client::new(&plan)?;
    let made = Instant::now();
    let keys = client.evaluation_keys()?;
    let made = Times::of(vec![made.elapsed().as_secs_f64()]);
    let items = [item];
    let sent = client.encrypt(&items)?;
    let encrypt = clock::each(repeat, || client.encrypt(&items))?;
    let clear = items.each_ref().map(|item| classifier.network().evaluate(item));

    let mut results = Vec::with_capacity(places.len());
    let mut received = None;
    for place in places {
        bar.set_message(format!("{name} on {}", terminal::plain(&place.record.name)));
        memory::reset_peak();
        let keys = keys.clone();
        let work = Inference { plan: &plan, keys, sent: &sent, repeat };
        // Started anew, it has nothing of another network in its memory.
        let done = place.start().and_then(|device| device.run(plan.params().ring(), work));
        bar.inc(1);
        results.push(match done {
            Ok((mut outcome, output)) => {
                outcome.bits = Some(Fidelity::new(&clear, &client.decrypt(&output)?).bits);
                received = Some(output);
                outcome
            }
            Err(error) => {
                NetworkOutcome { inference: Outcome::failed(&place.told(error)), ..NetworkOutcome::default() }
            }
        });
    }
    let identical = compare(&mut results.iter_mut().map(|r| &mut r.inference).collect::<Vec<_>>());
    let decrypt = received.map(|output| clock::each(repeat, || client.decrypt(&output))).transpose()?;
    let layers = report.layers.iter().map(|layer| LayerRecord {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        level: layer.level,
        ciphertexts: layer.ciphertexts,
        diagonals: layer.diagonals,
        rotations: layer.rotations,
    });
    Ok(NetworkRecord {
        name: name.to_owned(),
        parameters: report.parameters.clone(),
        bytes: Bytes {
            up: report.input_bytes,
            down: report.output_bytes,
            keys_sent: report.key_wire_bytes,
            keys_on_device: report.key_bytes,
            weights: report.weight_bytes,
            planned: report.memory_bytes,
        },
        client: ClientTimes { compress, keys: made, encrypt, decrypt },
        layers: layers.collect(),
        identical,
        results,
    })
}

/// What a device has to do.
struct Inference<'a> {
    plan: &'a Plan,
    keys: EvaluationKeys,
    sent: &'a [Ciphertext],
    repeat: usize,
}

impl OnDevice for Inference<'_> {
    type Output = (NetworkOutcome, Vec<Ciphertext>);

    fn run<B: Metered>(self, backend: B) -> Result<Self::Output, CliError> {
        let Self { plan, keys, sent, repeat } = self;
        let clock = Instant::now();
        let server = Server::new(plan, backend, keys)?;
        server.backend().wait()?;
        let prepare = Some(clock.elapsed().as_secs_f64());
        let infer = || server.infer(sent, &mut |_, _| {});
        let received = infer()?;
        let mut again = Vec::with_capacity(repeat);
        let times = clock::each(repeat, || infer().map(|results| again.push(results)))?;
        let bytes =
            |results: &[Ciphertext]| results.iter().flat_map(Ciphertext::to_bytes).collect::<Vec<_>>();
        let first = bytes(&received);
        let mut same = again.iter().all(|results| bytes(results) == first);
        let mut layers: Vec<Vec<f64>> = vec![Vec::new(); plan.report().layers.len()];
        for _ in 0..repeat {
            let mut clock = Instant::now();
            let mut waited = Ok(());
            let mut observe = |step: usize, _| {
                let done = server.backend().wait();
                if waited.is_ok() {
                    waited = done;
                }
                if let Some(layer) = layers.get_mut(step) {
                    layer.push(clock.elapsed().as_secs_f64());
                }
                clock = Instant::now();
            };
            let results = server.infer(sent, &mut observe)?;
            waited?;
            same &= bytes(&results) == first;
        }
        let digest = hex(&Sha256::digest(&first));
        let inference =
            Outcome { seconds: Some(times), runs: 1, digest, unsteady: !same, ..Outcome::default() };
        let layers = layers.into_iter().map(Times::of).collect();
        let peak_bytes = server.backend().peak_bytes();
        Ok((NetworkOutcome { inference, prepare, layers, peak_bytes, bits: None }, received))
    }
}
