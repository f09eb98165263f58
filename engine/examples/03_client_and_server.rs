//! Client and server of an encrypted inference, which exchange bytes: what `pleura export`, `keygen`, `encrypt`, `infer` and
//! `decrypt` write to files.
//!
//! `cargo run --release --example 03_client_and_server`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use ndarray::{ArrayD, Axis};
use pleura::nn::{CompileOptions, Plan, ServerPlan};
use pleura::onnx::{ImportOptions, import};
use pleura::remote::{
    ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote, infer_items, read_keys,
};
use pleura::{Device, Server, npy};
use std::error::Error;
use std::fs::File;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/reference/lola");

fn main() -> Result<(), Box<dyn Error>> {
    let items = npy::read(File::open(format!("{MODEL}.input.npy"))?)?;

    // Server: a plan has a half with the weights, which stays, and a specification without weights, which clients get.
    let network = import(&std::fs::read(format!("{MODEL}.onnx"))?, &ImportOptions::default())?.network;
    let options = CompileOptions { calibration: Some(items.clone()), ..CompileOptions::default() };
    let plan = Plan::compile(&network, &options, &mut |_, _, _| ())?;
    let plan_bytes = plan.server_plan().to_bytes()?;
    let spec_bytes = ClientBundle::tensor(plan.client_spec().clone())?.to_bytes()?;

    // Client: a key, evaluation keys for the server, and encrypted items. Names of items travel encrypted.
    let key = ClientKey::generate(ClientBundle::from_bytes(&spec_bytes)?)?;
    let mut key_bytes = Vec::new();
    key.write_keys(&mut key_bytes)?;
    let sent = encrypt(&key, &items)?;

    // Server: one session for each client, any number of files of items.
    let server = Server::new(ServerPlan::from_bytes(&plan_bytes)?, &Device::cpu(None))?;
    let (keys, origin) = read_keys(&key_bytes[..], server.plan())?;
    let session = server.open_session(keys)?;
    let (returned, groups, _) = infer_items(&session, &origin, &sent[..], Vec::new(), &mut |_, _| ())?;
    assert_eq!(groups, 2);

    // Client: scores, rounded to the bits that may be shown.
    let plaintext = network.evaluate(items.view())?;
    let mut decryptor = ItemDecryptor::new(&key, &returned[..])?;
    let mut results = Vec::new();
    while let Some(group) = decryptor.next_group()? {
        results.extend(group);
    }
    assert_eq!(results.len(), 2);
    for (result, expected) in results.iter().zip(plaintext.axis_iter(Axis(0))) {
        let errors = result.scores.iter().zip(&expected).map(|(got, expected)| (got - expected).abs());
        let worst = errors.fold(0.0, f64::max);
        println!("{}: error at most {worst:.1e} compared with the plaintext network", result.note.name);
        assert!(worst < 0.01);
    }
    for (name, bytes) in [("specification", &spec_bytes), ("plan", &plan_bytes), ("keys", &key_bytes)] {
        println!("{name:<15}{:>10} bytes", bytes.len());
    }
    println!("{:<15}{:>10} bytes\n{:<15}{:>10} bytes", "sent", sent.len(), "returned", returned.len());
    Ok(())
}

fn encrypt(key: &ClientKey, items: &ArrayD<f64>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encryptor = ItemEncryptor::new(key, Vec::new())?;
    for (number, item) in items.axis_iter(Axis(0)).enumerate() {
        let note = ItemNote { name: format!("item {number}"), ..ItemNote::default() };
        encryptor.add(note, item.to_owned())?;
    }
    Ok(encryptor.finish()?.0)
}
