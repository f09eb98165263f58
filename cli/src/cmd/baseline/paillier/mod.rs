//! `pleura baseline paillier`: the cryptosystem, the pipeline as published, what it leaks, and the sound use.

mod attack;
mod cipher;
pub(crate) mod leakage;
pub(crate) mod linear;
pub(crate) mod published;

use anyhow::Result;
use clap::Subcommand;

/// Commands on Paillier's cryptosystem.
#[derive(Subcommand)]
pub(crate) enum Paillier {
    /// Make a key.
    Keygen(cipher::KeygenArgs),
    /// Encrypt the pixels of an X-ray.
    Encrypt(cipher::EncryptArgs),
    /// Decrypt them into a picture.
    Decrypt(cipher::DecryptArgs),
    /// Encrypt as published, and keep the stored pictures.
    Store(published::StoreArgs),
    /// Encrypt as published, and measure what the stored pictures reveal.
    Leak(published::LeakArgs),
    /// Recover X-rays from stored pictures whose pixels share their randomness.
    Attack(attack::AttackArgs),
    /// Classify with a linear layer on encrypted latents: what the scheme is good for.
    Linear(linear::LinearArgs),
}

/// Runs the command.
pub(crate) fn run(command: &Paillier) -> Result<()> {
    match command {
        Paillier::Keygen(args) => cipher::keygen(args),
        Paillier::Encrypt(args) => cipher::encrypt(args),
        Paillier::Decrypt(args) => cipher::decrypt(args),
        Paillier::Store(args) => published::stored(args),
        Paillier::Leak(args) => published::leak(args),
        Paillier::Attack(args) => attack::attack(args),
        Paillier::Linear(args) => linear::linear(args),
    }
}
