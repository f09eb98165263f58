//! Shipped networks on all devices.

use crate::bench::Place;
use crate::bench::record::{
    Bytes, ClientTimes, LayerRecord, NetworkOutcome, NetworkRecord, Outcome, compare,
};
use crate::text::{hex, plain};
use crate::{classifier, memory};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use ndarray::Axis;
use pleura::ckks::Ciphertext;
use pleura::nn::{Client, Fidelity};
use pleura::xray::shipped::SAMPLES;
use pleura::{Device, Pipeline, bench::Times};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// One network, from the X-ray to the scores.
pub(crate) fn measure(
    name: &str,
    places: &[Place],
    threads: usize,
    repeat: usize,
    bar: &ProgressBar,
) -> Result<NetworkRecord> {
    bar.set_message(format!("compiling {name}"));
    let classifier = classifier::load(name)?;
    let plan = classifier::plan(&classifier, threads, true, 1)?;
    let report = plan.report();
    memory::check(report.memory_bytes as u64, None)?;
    bar.set_message(format!("{name} on the client"));
    let xray = SAMPLES.first().context("no sample X-ray is shipped")?.xray()?;
    let compress = Times::of(repeat, || classifier.features(&xray))?;
    let item = classifier.features(&xray)?.values.insert_axis(Axis(0));
    let client = Arc::new(Client::new(plan.client_spec().clone())?);
    let clock = Instant::now();
    let keys = client.evaluation_keys()?;
    let key_times = Times::new(clock.elapsed().as_secs_f64(), []);
    let sent = client.encrypt(item.view())?;
    let encrypt = Times::of(repeat, || client.encrypt(item.view()))?;
    let plaintext = classifier.network().evaluate(item.view())?;

    let mut results = Vec::with_capacity(places.len());
    let mut received = None;
    for place in places {
        bar.set_message(format!("{name} on {}", plain(&place.record.name)));
        memory::reset_peak();
        // Opened anew, a device has nothing of another network in its memory.
        let inferred = place.open().and_then(|device| {
            let pipeline = Pipeline::with_client(&plan, &device, client.clone(), keys.clone())?;
            infer(&pipeline, &device, &sent, repeat)
        });
        bar.inc(1);
        results.push(match inferred {
            Ok((outcome, output)) => {
                let fidelity = Fidelity::new(plaintext.view(), client.decrypt_unrounded(&output)?.view());
                received = Some(output);
                NetworkOutcome { bits: Some(fidelity.bits), ..outcome }
            }
            Err(error) => {
                NetworkOutcome { inference: Outcome::failed(&place.told(error)), ..NetworkOutcome::default() }
            }
        });
    }
    let identical = compare(&mut results.iter_mut().map(|r| &mut r.inference).collect::<Vec<_>>());
    let decrypt =
        received.map(|output| Times::of(repeat, || client.decrypt_unrounded(&output))).transpose()?;
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
        client: ClientTimes { compress, keys: Some(key_times), encrypt, decrypt },
        layers: layers.collect(),
        identical,
        results,
    })
}

/// Inferences on a device: their seconds, and the ciphertexts of one.
fn infer(
    pipeline: &Pipeline,
    device: &Device,
    sent: &[Ciphertext],
    repeat: usize,
) -> Result<(NetworkOutcome, Vec<Ciphertext>)> {
    let bytes = |results: &[Ciphertext]| results.iter().flat_map(Ciphertext::to_bytes).collect::<Vec<_>>();
    let received = pipeline.session().infer(sent)?;
    let first = bytes(&received);
    let mut again = Vec::with_capacity(2 * repeat);
    let seconds = Times::of(repeat, || pipeline.session().infer(sent).map(|results| again.push(results)))?;
    let mut profiles = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let (results, layer_seconds) = pipeline.profile_ciphertexts(sent, &mut |_| {})?;
        again.push(results);
        profiles.push(layer_seconds);
    }
    let layer = |i: usize| {
        let mut all = profiles.iter().filter_map(|profile| profile.get(i).copied());
        all.next().map(|first| Times::new(first, all))
    };
    let inference = Outcome {
        seconds: Some(seconds),
        runs: 1,
        digest: hex(&Sha256::digest(&first)),
        unsteady: again.iter().any(|results| bytes(results) != first),
        ..Outcome::default()
    };
    let outcome = NetworkOutcome {
        inference,
        prepare: Some(pipeline.times().keys),
        layers: (0..profiles.first().map_or(0, Vec::len)).map(layer).collect(),
        peak_bytes: device.peak_memory_bytes().or_else(memory::peak),
        bits: None,
    };
    Ok((outcome, received))
}
