//! Uploads of polynomials: of their words, or of seeds that the device expands to words.

use crate::dispatch::{Operands, Table};
use crate::gpu::{Call, Gpu, Row};
use crate::memory::{GpuBuffer, Segment};
use pleura_ring::sample::Seed;
use pleura_ring::{BackendError, Limbs, Poly, PolySource, shape};
use pleura_shaders::{KernelId, SeedRow};
use std::borrow::Cow;
use std::sync::Arc;

/// Words of a seed.
const SEED_WORDS: u32 = 8;

/// Modular products that take as long as a uniform word, about.
const UNIFORM_COST: u64 = 16;

/// A polynomial to upload: its words, or a seed.
enum Content<'a> {
    Words(Cow<'a, [u32]>),
    Uniform { seed: &'a Seed, number: u32, words: Option<&'a [u32]> },
}

/// A batch of polynomials over `limbs`.
pub(crate) fn upload_polys(
    gpu: &Gpu,
    limbs: Limbs,
    polys: &[PolySource<'_>],
) -> Result<GpuBuffer, BackendError> {
    shape::check_upload(&gpu.ring, limbs, polys)?;
    let poly_words = limbs.count() << gpu.ring.log_n();
    let contents: Vec<_> = polys.iter().map(|&poly| content(gpu, limbs, poly)).collect();
    // Keys and diagonals, which alone come over special primes, are for reading; both polys of a digit in one kernel.
    let mut buffer = if limbs.p > 0 && !polys.is_empty() {
        let pair = if polys.len().is_multiple_of(2) { 2 } else { 1 };
        let sizes = vec![poly_words * pair; polys.len() / pair];
        gpu.device.reserve_constants(&sizes)?.split(poly_words, pair)
    } else {
        gpu.device.alloc_to_write(&vec![poly_words; polys.len()])?
    };
    fill_host_segments(gpu, limbs, &contents, &mut buffer);
    write_words(gpu, poly_words, &contents, &buffer);
    expand_seeds(gpu, limbs, &contents, &buffer)?;
    Ok(buffer)
}

/// The words or the seed that a source uploads. Functions write their words here, since the host cannot write to the device's memory.
fn content<'a>(gpu: &Gpu, limbs: Limbs, source: PolySource<'a>) -> Content<'a> {
    match source {
        PolySource::Words(words) => Content::Words(words.into()),
        PolySource::Uniform { seed, number, words } => Content::Uniform { seed, number, words },
        PolySource::Written(write) => {
            let mut words = vec![0; gpu.ring.words(limbs, 1)];
            words.chunks_mut(gpu.ring.n()).enumerate().for_each(|(limb, words)| write(limb, words));
            Content::Words(words.into())
        }
    }
}

/// Fills the segments that stay with the host, where seeds are expanded, too.
#[expect(
    clippy::indexing_slicing,
    reason = "places are made with their segments, as long as the polynomials"
)]
fn fill_host_segments(gpu: &Gpu, limbs: Limbs, polys: &[Content<'_>], buffer: &mut GpuBuffer) {
    let poly_words = limbs.count() << gpu.ring.log_n();
    for (source, &(segment, at)) in polys.iter().zip(&buffer.places) {
        let Segment::Host(words) = &mut buffer.segments[segment] else { continue };
        let to = &mut Arc::make_mut(words)[at as usize..at as usize + poly_words];
        match source {
            Content::Words(words) => to.copy_from_slice(words),
            Content::Uniform { words: Some(words), .. } => to.copy_from_slice(words),
            Content::Uniform { seed, number, words: None } => {
                to.copy_from_slice(Poly::uniform(&gpu.ring, limbs, seed, *number).words());
            }
        }
    }
}

/// Writes the polynomials that come as words to segments on the device.
fn write_words(gpu: &Gpu, poly_words: usize, polys: &[Content<'_>], buffer: &GpuBuffer) {
    let mut next = 0;
    while next < polys.len() {
        let start = buffer.at(next);
        // Neighbours go in one piece.
        let pieces: Vec<&[u32]> = polys
            .iter()
            .skip(next)
            .enumerate()
            .map_while(|(i, source)| match source {
                Content::Words(words) => {
                    let is_neighbour = buffer.at(next + i).follows(start, (i * poly_words) as u32);
                    is_neighbour.then_some(&**words)
                }
                Content::Uniform { .. } => None,
            })
            .collect();
        next += pieces.len().max(1);
        let Segment::Device(destination) = start.segment else { continue };
        if buffer.writable {
            gpu.device.upload_words(destination, start.offset as usize, &pieces);
        } else {
            for (i, words) in pieces.into_iter().enumerate() {
                gpu.device.write(destination, start.offset as usize + i * poly_words, words);
            }
        }
    }
}

/// Expands seeds to the words of their polynomials in segments on the device.
fn expand_seeds(
    gpu: &Gpu,
    limbs: Limbs,
    polys: &[Content<'_>],
    buffer: &GpuBuffer,
) -> Result<(), BackendError> {
    let mut words = Vec::new();
    let mut places = Vec::new();
    for (i, source) in polys.iter().enumerate() {
        let out = buffer.at(i);
        if let (Content::Uniform { seed, number, .. }, Segment::Device(_)) = (source, out.segment) {
            words.extend(seed.as_bytes().as_chunks().0.iter().copied().map(u32::from_le_bytes));
            places.push((out, *number));
        }
    }
    if places.is_empty() {
        return Ok(());
    }
    let seeds = gpu.device.shared_buffer_to_write(words.len())?;
    gpu.device.upload_words(&seeds, 0, &[&words]);
    let seeds = Segment::Device(seeds);
    let rows =
        places.into_iter().zip((0..).step_by(SEED_WORDS as usize)).map(|((out, number), x_offset)| Row {
            operands: Operands { x: Some(&seeds), ..Operands::in_place(out.segment) },
            entry: SeedRow { out_offset: out.offset, x_offset, number },
        });
    let entries = gpu.limb_entries(limbs, limbs, limbs);
    let limbs = Table::of(&entries);
    gpu.call(
        &Call {
            kernel: KernelId::Uniform,
            params: gpu.params(),
            limbs,
            terms: Table::NONE,
            cost: UNIFORM_COST,
        },
        rows,
    );
    Ok(())
}
