//! One image in a compressed stream, as its samples were stored.

/// The size that an image must have. Decoders check it before they allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSize {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    /// Samples per pixel.
    pub(crate) samples: usize,
}

/// The samples of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `[rows, columns, samples]`; negative ones in two's complement.
    pub(crate) values: Vec<u16>,
    /// Bits of a sample.
    pub(crate) precision: u32,
}

impl FrameSize {
    pub(crate) fn pixels(&self) -> usize {
        self.columns * self.rows
    }

    /// # Errors
    /// If `found` is another size.
    pub(crate) fn check(&self, found: Self) -> Result<(), String> {
        if found == *self {
            return Ok(());
        }
        Err(format!("it is {found} and not {self}"))
    }
}

impl std::fmt::Display for FrameSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} pixels of {} samples", self.columns, self.rows, self.samples)
    }
}
