//! Keys and ciphertexts as files: parameters, a secret key, evaluation keys and a ciphertext, written and read again.
//!
//! `cargo run --release --example 02_keys_on_disk`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use pleura::ckks::{
    Ciphertext, Encoder, EvaluationKeys, Evaluator, KeyRequest, Params, ParamsLiteral, SecretKey, Security,
};
use pleura::ring::Cpu;
use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);

    // Client. The folder is this user's alone; a secret key belongs nowhere else. Its bytes are erased when they are dropped.
    let params = Params::choose(1, 28, Security::Bits128)?;
    let secret = SecretKey::generate(&params)?;
    fs::write(path("params"), params.to_bytes())?;
    fs::write(path("secret"), secret.to_secret_bytes())?;
    fs::write(path("keys"), secret.evaluation_keys(&KeyRequest::new().relin(1))?.to_bytes())?;
    let plaintext = Encoder::new(&params).encode_real(&[1.5, -2.0])?;
    fs::write(path("sent"), secret.encrypt(&plaintext)?.to_bytes())?;
    drop(secret);

    // Server. A literal is small: a server compares it with the parameters that it offers, before it builds tables for it.
    let params_bytes = fs::read(path("params"))?;
    assert_eq!(&ParamsLiteral::from_bytes(&params_bytes)?, params.literal());
    let server_params = Params::from_bytes(&params_bytes)?;
    let server = Evaluator::new(&server_params, Cpu::new(server_params.ring().clone())?)?;
    let keys = server.upload_keys(&EvaluationKeys::from_bytes(&fs::read(path("keys"))?, &server_params)?)?;
    let x = server.upload(&[Ciphertext::from_bytes(&fs::read(path("sent"))?, &server_params)?])?;
    let square = server.download(&server.square_rescale(&x, &keys)?)?.remove(0);
    fs::write(path("returned"), square.to_bytes())?;

    // Client, in a later process.
    let secret = SecretKey::from_secret_bytes(&fs::read(path("secret"))?, &params)?;
    let returned = Ciphertext::from_bytes(&fs::read(path("returned"))?, &params)?;
    let published = secret.decrypt(&Encoder::new(&params), &returned)?.publish_real(8)?;
    println!("squares of 1.5 and -2: {published:?}");
    assert_eq!(published, [2.25, 4.0]);
    for name in ["params", "secret", "keys", "sent", "returned"] {
        println!("{name:<9}{:>9} bytes", fs::metadata(path(name))?.len());
    }

    // Damaged bytes are an error, and never a wrong value.
    let cut = fs::read(path("sent"))?;
    let cut = cut.get(..1000).ok_or("a ciphertext is longer than that")?;
    match Ciphertext::from_bytes(cut, &params) {
        Err(error) => println!("a ciphertext that was cut off: {error}"),
        Ok(_) => return Err("a ciphertext that was cut off was read".into()),
    }
    Ok(())
}
