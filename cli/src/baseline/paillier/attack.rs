//! X-rays from stored pictures alone.

use crate::baseline::arguments::{ResultArgs, SideArgs};
use crate::baseline::images;
use crate::error::CliError;
use crate::run::timed;
use crate::terminal;
use clap::Args;
use pleura::baselines::leak::affine;
use pleura::latent::{SIDE, Xray};
use rayon::prelude::*;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `pleura baseline paillier attack`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier store ward/ --randomness fixed --side 64 --out stored/
  pleura baseline paillier attack stored/ --side 64 --out recovered/

Finds the step and the period that all stored levels of one randomness come from, without a key and without a known pixel. A picture and its
negative are told apart by another X-ray, and so is the darkest grey. Where pixels do not share their randomness, what comes out is noise.
Pictures are named by the order of the stored ones, from 00000.png.")]
pub(crate) struct AttackArgs {
    /// What `store` wrote: pictures, or folders of them.
    #[arg(value_name = "PICTURE|DIR", required = true)]
    stored: Vec<PathBuf>,

    #[command(flatten)]
    side: SideArgs,

    /// Each picture has a randomness of its own.
    #[arg(long)]
    each: bool,

    /// Any other X-ray; the first sample if none is named.
    #[arg(long, value_name = "IMAGE")]
    reference: Option<PathBuf>,

    /// The folder that recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Recovers them.
pub(super) fn attack(args: &AttackArgs) -> Result<(), CliError> {
    let side = args.side.side;
    let stored = images::load(&args.stored)?;
    let names: Vec<String> = (0..stored.len()).map(|k| format!("{k:05}")).collect();
    images::check_pictures(&args.out, &names, args.result.force)?;
    let reference = images::load(args.reference.as_slice())?;
    let reference = reference.first().map(|image| images::small(&image.xray, side)).unwrap_or_default();
    let levels: Vec<Vec<u8>> = stored.iter().map(|image| levels(&image.xray, side)).collect();
    let bar = terminal::bar().with_prefix("attack");
    let sets: Vec<&[Vec<u8>]> = levels.chunks(if args.each { 1 } else { levels.len().max(1) }).collect();
    bar.set_length(sets.len() as u64);
    let one = |set: &&[Vec<u8>]| {
        let found = affine(set, side, &reference);
        bar.inc(1);
        found
    };
    let mut seconds = 0.0;
    let found: Vec<Vec<u8>> = timed(&mut seconds, || sets.par_iter().flat_map_iter(one).collect());
    bar.finish_and_clear();
    let count = found.len();
    images::write_pictures(&args.out, &names.into_iter().zip(found).collect::<Vec<_>>(), args.result.force)?;
    let out = args.out.to_string_lossy();
    if args.result.json {
        return terminal::publish_json(
            &json!({ "out": out, "images": count, "side": side, "sets": sets.len(), "seconds": seconds }),
        );
    }
    terminal::publish(&format!("{count} pictures in {out}, {seconds:.2} s\n"))
}

/// The pixels of a picture of which each was repeated, so that it is 256 wide.
fn levels(picture: &Xray, side: usize) -> Vec<u8> {
    let pixels = picture.pixels();
    let middle = |k: usize| (2 * k + 1) * SIDE / (2 * side);
    let at = |k: usize| pixels.get(middle(k / side) * SIDE + middle(k % side)).copied();
    (0..side * side).filter_map(at).collect()
}
