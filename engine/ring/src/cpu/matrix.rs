//! Products of matrices with vectors of polynomials, in tiles of words that stay in the nearest caches.
#![expect(
    clippy::indexing_slicing,
    reason = "shapes are asserted where views enter; blocks name rows of the matrix"
)]

use super::buffer::Places;
use super::device::Cpu;
use super::kernels::ROWS;
use crate::{Batch, IntegerMatrix, Limbs, Modulus, Ntt, View, shape};
use std::collections::BTreeMap;

/// Words of a polynomial that are taken at a time: of a thousand columns they fill half a megabyte.
const TILE: usize = 128;

/// A matrix in the residues of some limbs, and in blocks of rows that are computed together.
pub(super) struct RowBlocks(Vec<Block>);

/// Rows that are computed together.
struct Block {
    rows: Vec<usize>,
    /// The columns of all these rows.
    columns: Vec<u32>,
    /// `[limb][column][row]`, residues.
    weights: Vec<Vec<u32>>,
}

/// [`crate::Backend::matrix_product`]
pub(super) fn product(
    cpu: &Cpu,
    x: View<'_, Cpu, Ntt>,
    matrix: &IntegerMatrix,
    limbs: Limbs,
) -> Batch<Cpu, Ntt> {
    let vectors = shape::check_matrix(x, matrix, limbs);
    let columns = matrix.columns();
    let rows = matrix.rows().len();
    let indices = cpu.indices(limbs);
    let blocks = RowBlocks::new(cpu, matrix, &indices);
    let n = cpu.ring.n();
    let tile = TILE.min(n);
    let tiles = n / tile;
    let mut out = cpu.batch(limbs, vectors * rows);
    // Vector, limb, tile -> the tile of each row.
    let mut tasks: Vec<Vec<&mut [u32]>> = Vec::new();
    tasks.resize_with(vectors * indices.len() * tiles, || Vec::with_capacity(rows));
    for (i, words) in out.buffer_mut().limbs_mut().enumerate() {
        let first = (i / indices.len() / rows * indices.len() + i % indices.len()) * tiles;
        words
            .chunks_mut(tile)
            .zip(&mut tasks[first..first + tiles])
            .for_each(|(words, task)| task.push(words));
    }
    let tasks: Vec<_> = tasks.into_iter().enumerate().collect();
    cpu.run(matrix.entries() * vectors * limbs.count() * n, tasks, |(i, mut out)| {
        let limb = i / tiles % indices.len();
        let vector = i / tiles / indices.len();
        let start = i % tiles * tile;
        let x: Vec<&[u32]> = (0..columns)
            .map(|column| &cpu.limb(x, vector * columns + column, limbs, limb)[start..start + tile])
            .collect();
        let modulus = cpu.ring.modulus(indices[limb]);
        blocks.multiply(cpu, modulus, limb, &x, &mut out);
    });
    out
}

impl RowBlocks {
    /// The rows in blocks: four of the same columns, or one. `indices` are the primes of the limbs.
    pub(super) fn new(cpu: &Cpu, matrix: &IntegerMatrix, indices: &[usize]) -> Self {
        let mut alike: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
        for (i, row) in matrix.rows().iter().enumerate() {
            alike.entry(row.iter().map(|entry| entry.0).collect()).or_default().push(i);
        }
        let mut blocks = Vec::new();
        for (columns, rows) in alike {
            let (fours, rest) = rows.as_chunks::<ROWS>();
            for rows in fours.iter().map(<[usize; ROWS]>::as_slice).chain(rest.chunks(1)) {
                let weights = indices.iter().map(|&index| {
                    let q = i64::from(cpu.ring.modulus(index).q());
                    let residue =
                        |row: usize, k: usize| i64::from(matrix.rows()[row][k].1).rem_euclid(q) as u32;
                    (0..columns.len()).flat_map(|k| rows.iter().map(move |&row| residue(row, k))).collect()
                });
                blocks.push(Block {
                    rows: rows.to_vec(),
                    columns: columns.clone(),
                    weights: weights.collect(),
                });
            }
        }
        Self(blocks)
    }

    /// Fills the tile of each row with the row's product with the tiles of the columns.
    pub(super) fn multiply(
        &self,
        cpu: &Cpu,
        modulus: &Modulus,
        limb: usize,
        x: &[&[u32]],
        out: &mut [&mut [u32]],
    ) {
        let mut out = Places::new(out.iter_mut().map(|words| &mut **words));
        for Block { rows, columns, weights } in &self.0 {
            let mut outs: Vec<&mut [u32]> = rows.iter().map(|&row| out.take(row)).collect();
            (cpu.kernels.matrix)(modulus, x, columns, &weights[limb], &mut outs);
        }
    }
}
