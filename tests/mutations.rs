//! Mutations of bytes for fuzz tests.

/// Numbers at the edges of what parsers allow.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 1 << 24, 0x7fff_ffff, 0xffff_ffff, 1 << 32, i64::MAX as u64, u64::MAX];

/// A generator of mutations, the same each time.
pub(crate) struct Mutations(u64);

impl Mutations {
    /// A sequence for each number.
    pub(crate) fn new(number: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ number)
    }

    /// A number below a limit; 0 if that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    /// One of the seeds, or a piece of one in another, with a few changes.
    pub(crate) fn of_any(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let Some(seed) = seeds.get(self.below(seeds.len())) else { return Vec::new() };
        let other = seeds.get(self.below(seeds.len())).filter(|_| self.below(8) == 0);
        let Some(other) = other else { return self.of(seed) };
        let at = self.below(seed.len());
        let from = self.below(other.len());
        let piece = 1 + self.below(other.len() - from.min(other.len()));
        let replaced = if self.below(2) == 0 { piece } else { 0 };
        let mut crossed = seed.clone();
        crossed.splice(at..(at + replaced).min(seed.len()), other.iter().skip(from).take(piece).copied());
        self.of(&crossed)
    }

    /// A few changes: bits, bytes, digits, numbers of several widths, parts cut off, left out or repeated.
    pub(crate) fn of(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        // Headers are short and matter most.
        let reach = if self.below(2) == 0 { bytes.len().min(256) } else { bytes.len() };
        let at = self.below(reach);
        match self.below(16) {
            0 => bytes.truncate(at),
            1 => {
                let part: Vec<u8> = bytes.iter().skip(at).take(1 + self.below(64)).copied().collect();
                bytes.splice(at..at, part);
            }
            2 => {
                let end = (at + 1 + self.below(64)).min(bytes.len());
                drop(bytes.drain(at.min(end)..end));
            }
            3..=5 => {
                let number = EDGES.get(self.below(EDGES.len())).copied().unwrap_or(0);
                self.put(bytes, at, number);
            }
            6 | 7 => {
                let near = self.below(17) as u64;
                let old =
                    bytes.iter().skip(at).take(8).rev().fold(0, |number, &b| number << 8 | u64::from(b));
                self.put(bytes, at, old.wrapping_add(near).wrapping_sub(8));
            }
            8 | 9 => {
                // Text: digits, and signs around them.
                let text = b"0123456789-.,:;\"'[]{}eE\n\t ";
                let sign = text.get(self.below(text.len())).copied().unwrap_or(b'0');
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = sign);
            }
            10 => {
                let random = self.below(256) as u8;
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random);
            }
            11 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x80),
            _ => {
                let bit = self.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
        }
    }

    /// Writes a number of 1, 2, 4 or 8 bytes over the old ones, in one order or the other.
    fn put(&mut self, bytes: &mut [u8], at: usize, number: u64) {
        let mut number = number.to_le_bytes();
        let width = 1 << self.below(4);
        let number = number.get_mut(..width).unwrap_or_default();
        if self.below(2) == 0 {
            number.reverse();
        }
        bytes.iter_mut().skip(at).zip(number).for_each(|(to, from)| *to = *from);
    }
}
