//! Mutations of bytes for fuzz tests.

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

    /// A few changes: bits, extreme bytes and words, parts cut off or repeated.
    pub(crate) fn of(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            // Headers are short and matter most.
            let reach = if self.below(2) == 0 { bytes.len().min(256) } else { bytes.len() };
            let at = self.below(reach);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => {
                    let part: Vec<u8> = bytes.iter().skip(at).take(1 + self.below(64)).copied().collect();
                    bytes.splice(at..at, part);
                }
                2 => bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff),
                3 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0),
                4 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x80),
                _ => {
                    let bit = self.below(8);
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
                }
            }
        }
        bytes
    }
}
