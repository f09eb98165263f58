//! Facts about a TIFF file that the crate `image` does not give: number of images, and whether zero is white.

/// Images in a file that are counted.
const MOST_PAGES: u32 = 10_000;
/// Number of the tag Photometric Interpretation.
const PHOTOMETRIC: u16 = 262;
/// Value of that tag in images whose zero is white.
const WHITE_IS_ZERO: u64 = 0;

/// The directories of a TIFF file, one for each image.
pub(crate) struct Directories<'a> {
    file: &'a [u8],
    big_endian: bool,
    /// BigTIFF has numbers of eight bytes.
    big: bool,
}

impl<'a> Directories<'a> {
    /// Takes a file that begins like one of TIFF or BigTIFF.
    pub(crate) fn of(file: &'a [u8]) -> Self {
        let big_endian = file.starts_with(b"MM");
        let mut directories = Self { file, big_endian, big: false };
        directories.big = directories.number(2, 2) == Some(43);
        directories
    }

    /// Number of images: each directory ends with the position of the next.
    pub(crate) fn count(&self) -> u32 {
        let mut count = 0;
        let mut at = self.first();
        while count < MOST_PAGES
            && let Some(start) = at
            && let Some((entries, tags)) = self.entries(start)
        {
            count += 1;
            let next = entries.checked_mul(self.entry()).and_then(|bytes| tags.checked_add(bytes));
            at = next.and_then(|end| self.position(end));
        }
        count
    }

    /// Whether zero is white in the first image.
    pub(crate) fn white_is_zero(&self) -> bool {
        let Some((entries, tags)) = self.first().and_then(|start| self.entries(start)) else { return false };
        let value = if self.big { 12 } else { 8 };
        let places = (0..entries.min(usize::from(u16::MAX))).map(|i| tags.saturating_add(i * self.entry()));
        let mut found = places.filter(|&place| self.number(place, 2) == Some(PHOTOMETRIC.into()));
        found.next().is_some_and(|place| self.number(place + value, 2) == Some(WHITE_IS_ZERO))
    }

    fn first(&self) -> Option<usize> {
        self.position(if self.big { 8 } else { 4 })
    }

    /// The number of entries of a directory, and where they begin.
    fn entries(&self, start: usize) -> Option<(usize, usize)> {
        let width = if self.big { 8 } else { 2 };
        Some((usize::try_from(self.number(start, width)?).ok()?, start.checked_add(width)?))
    }

    fn entry(&self) -> usize {
        if self.big { 20 } else { 12 }
    }

    /// A position in the file; none if it is zero.
    fn position(&self, at: usize) -> Option<usize> {
        let position = self.number(at, if self.big { 8 } else { 4 })?;
        usize::try_from(position).ok().filter(|&position| position > 0)
    }

    /// A number of some bytes.
    fn number(&self, at: usize, width: usize) -> Option<u64> {
        let bytes = self.file.get(at..at.checked_add(width)?)?;
        let joined = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.big_endian {
            true => bytes.iter().fold(0, joined),
            false => bytes.iter().rev().fold(0, joined),
        })
    }
}
