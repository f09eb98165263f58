//! `pleura baseline`: the two older schemes, and the attacks that break them.

pub(crate) mod arguments;
pub(crate) mod images;
pub(crate) mod layer;
pub(crate) mod morph;
mod morph_costs;
pub(crate) mod paillier;

use anyhow::Result;
use clap::{Args, Subcommand};

/// Verdict on a scheme whose images an attack recovers.
pub(crate) const RECOVERABLE: &str = "not encryption: recoverable";
/// Verdict on a scheme without a known attack.
pub(crate) const SOUND: &str = "no attack known";

/// Arguments of `pleura baseline`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph run
  pleura baseline morph attack --output pictures/
  pleura baseline paillier leak --output pictures/
  pleura baseline paillier linear

Neither scheme protects images as published; docs/baselines.md explains why. `pleura compare`
compares them with this program's own scheme.")]
pub(crate) struct BaselineArgs {
    #[command(subcommand)]
    scheme: Scheme,
}

#[derive(Subcommand)]
enum Scheme {
    /// Metamorphosed learning: images times a secret matrix. Not encryption: recoverable.
    #[command(subcommand)]
    Morph(morph::Morph),
    /// Paillier's cryptosystem: as published for images, and as it is sound.
    #[command(subcommand)]
    Paillier(paillier::Paillier),
}

/// Runs the command.
pub(crate) fn baseline(args: &BaselineArgs) -> Result<()> {
    match &args.scheme {
        Scheme::Morph(command) => morph::run(command),
        Scheme::Paillier(command) => paillier::run(command),
    }
}
