//! X-rays from stored pictures alone.

use crate::clock::timed;
use crate::cmd::baseline::RECOVERABLE;
use crate::cmd::baseline::arguments::{ResultArgs, SideArgs};
use crate::cmd::baseline::images;
use crate::terminal;
use crate::text::counted;
use anyhow::{Result, bail};
use clap::Args;
use pleura::baselines::before_enlarging;
use pleura::baselines::leak::{Opened, STEADY_NOISE, affine};
use rayon::prelude::*;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `pleura baseline paillier attack`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier store ward/ --randomness fixed \\
      --side 64 --output stored/
  pleura baseline paillier attack stored/ --side 64 --output recovered/

Finds the step and the period that all stored levels of one randomness come from, without a key
and without a known pixel, in half a second for each randomness. A known X-ray tells a picture from
its negative. Steady pixels resemble two neighbours: most pixels of an X-ray, few of noise, which is
the result where pixels do not share their randomness. Pictures are named by the order of the stored ones, from 00000.png.")]
pub(crate) struct AttackArgs {
    /// Stored pictures from `store`, or folders of them.
    #[arg(value_name = "PICTURE|DIR", required = true)]
    stored: Vec<PathBuf>,

    #[command(flatten)]
    side: SideArgs,

    /// Each picture has a randomness of its own.
    #[arg(long)]
    each: bool,

    /// Any X-ray; the first sample if none is named.
    #[arg(long, value_name = "IMAGE")]
    reference: Option<PathBuf>,

    /// The folder that recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Recovers them.
pub(super) fn attack(args: &AttackArgs) -> Result<()> {
    let side = args.side.side;
    let stored = images::load(&args.stored)?;
    let names: Vec<String> = (0..stored.len()).map(|k| format!("{k:05}")).collect();
    let inputs: Vec<PathBuf> = args.stored.iter().chain(&args.reference).cloned().collect();
    images::check_pictures(&args.output, &names, &inputs, args.result.force)?;
    let reference = images::load(args.reference.as_slice())?;
    let reference = reference.first().map(|image| images::small(&image.xray, side)).unwrap_or_default();
    let mut levels = Vec::with_capacity(stored.len());
    for image in &stored {
        let pixels: Vec<u8> = image.xray.pixels().into_iter().collect();
        match before_enlarging(&pixels, side) {
            Some(small) => levels.push(small),
            None => bail!("{} was not stored at side {side}: say the --side of `store`", image.name),
        }
    }
    let bar = crate::progress::bar().with_prefix("attack");
    let sets: Vec<&[Vec<u8>]> = levels.chunks(if args.each { 1 } else { levels.len().max(1) }).collect();
    bar.set_length(sets.len() as u64);
    let mut seconds = 0.0;
    let opened: Vec<Opened> = timed(&mut seconds, || {
        sets.par_iter()
            .map(|set: &&[Vec<u8>]| {
                let found = affine(set, side, &reference);
                bar.inc(1);
                found
            })
            .collect()
    });
    bar.finish_and_clear();
    let steady = opened.iter().map(|set| set.steady).sum::<f64>() / sets.len().max(1) as f64;
    let found: Vec<Vec<u8>> = opened.into_iter().flat_map(|set| set.pictures).collect();
    let count = found.len();
    images::write_pictures(
        &args.output,
        &names.into_iter().zip(found).collect::<Vec<_>>(),
        args.result.force,
    )?;
    let out = args.output.to_string_lossy();
    let verdict = match args.each {
        _ if steady >= STEADY_NOISE => RECOVERABLE,
        true => "noise: the pixels do not share their randomness, or have too few greys",
        false => "noise: the pixels do not share their randomness, or each picture has its own: try --each",
    };
    if args.result.json {
        return terminal::print_json(
            "paillier-attack",
            &json!({
                "path": out, "images": count, "side": side, "sets": sets.len(), "seconds": seconds, "steady": steady,
                "verdict": verdict,
            }),
        );
    }
    terminal::print(&format!(
        "{} in {out}, {seconds:.2} s, {:.0} % of pixels steady\n{verdict}\n",
        counted(count, "picture"),
        100.0 * steady
    ))
}
