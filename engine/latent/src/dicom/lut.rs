//! Look-up tables of DICOM images (PS3.3, C.11.1, C.11.2 and C.7.6.3.1.5).

use super::elements::DataSet;
use crate::grey::ImageNote;
use crate::image_error::DicomError;

const DESCRIPTOR: u32 = 0x0028_3002;
const DATA: u32 = 0x0028_3006;
const EXPLANATION: u32 = 0x0028_3003;
/// Descriptors and data of the red, green and blue palette, and their data in segments.
const PALETTE: [[u32; 3]; 3] = [
    [0x0028_1101, 0x0028_1201, 0x0028_1221],
    [0x0028_1102, 0x0028_1202, 0x0028_1222],
    [0x0028_1103, 0x0028_1203, 0x0028_1223],
];

/// A table from values to values.
pub(super) struct Lut {
    first: f64,
    entries: Vec<u16>,
    /// The greatest output, as the descriptor says or the entries.
    pub(super) highest: f64,
    /// Bits of the entries.
    bits: u32,
    declared_bits: u32,
    pub(super) explanation: Option<String>,
}

impl Lut {
    /// Reads an item of a look-up table sequence. `negative`: whether inputs may be below zero.
    pub(super) fn read(
        item: &DataSet<'_>,
        name: &'static str,
        negative: bool,
        notes: &mut Vec<ImageNote>,
    ) -> Result<Self, DicomError> {
        let mut lut = Self::of(item, [DESCRIPTOR, DATA], name, negative)?;
        if lut.bits > lut.declared_bits {
            notes.push(ImageNote::LutBits { name, declared: lut.declared_bits, used: lut.bits });
        }
        lut.explanation = item.string(EXPLANATION);
        Ok(lut)
    }

    /// The tables of red, green and blue.
    pub(super) fn palette(set: &DataSet<'_>, negative: bool) -> Result<Vec<Self>, DicomError> {
        let tables = PALETTE.iter().map(|[descriptor, data, segmented]| {
            if set.element(*segmented).is_some() {
                return Err(DicomError::Attribute {
                    attribute: "Segmented Palette Color Lookup Table Data",
                    expected: "a palette that is not segmented",
                    found: "a segmented one".to_owned(),
                });
            }
            let mut lut = Self::of(set, [*descriptor, *data], "Palette Color Lookup Table", negative)?;
            // Bytes declared as words.
            if lut.highest > 255.0 && lut.entries.iter().all(|&x| x <= 255) {
                lut.highest = 255.0;
            }
            Ok(lut)
        });
        tables.collect()
    }

    fn of(
        set: &DataSet<'_>,
        [descriptor, data]: [u32; 2],
        name: &'static str,
        negative: bool,
    ) -> Result<Self, DicomError> {
        let refused = |found: String| DicomError::Attribute {
            attribute: name,
            expected: "a descriptor of number of entries, first input and 8 to 16 bits, and as many entries",
            found,
        };
        let element = set.element(descriptor).ok_or_else(|| refused("no descriptor".to_owned()))?;
        let numbers: Vec<u16> = element.integers().collect();
        let [count, first, bits] = *numbers.as_slice() else {
            return Err(refused(format!("a descriptor of {} numbers", numbers.len())));
        };
        if !(8..=16).contains(&bits) {
            return Err(refused(format!("entries of {bits} bits")));
        }
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        let signed = element.representation == *b"SS" || (negative && first >= 1 << 15);
        let data = set.element(data).ok_or_else(|| refused("no data".to_owned()))?;
        let entries: Vec<u16> = if data.value.len() >= 2 * count {
            data.integers().take(count).collect()
        } else if bits == 8 && data.value.len() >= count {
            // Bytes side by side. In words of a big-endian file they are swapped.
            let words: Vec<u8> = data.integers().flat_map(u16::to_le_bytes).collect();
            let odd = data.value.last().filter(|_| data.value.len() % 2 == 1);
            words.into_iter().chain(odd.copied()).take(count).map(u16::from).collect()
        } else {
            return Err(refused(format!("{} bytes for {count} entries", data.value.len())));
        };
        let greatest = entries.iter().copied().max().unwrap_or_default();
        let declared_bits = u32::from(bits);
        // Entries beyond their declared bits would be whiter than white.
        let bits = declared_bits.max(u16::BITS - greatest.leading_zeros());
        let highest = (1_u32 << bits) - 1;
        Ok(Self {
            bits,
            declared_bits,
            first: if signed { f64::from(first as i16) } else { first.into() },
            entries,
            highest: highest.into(),
            explanation: None,
        })
    }

    /// The output of an input, of the nearest entry if there is none.
    pub(super) fn apply(&self, x: f64) -> f64 {
        let at = (x - self.first).round().max(0.0) as usize;
        let entry = self.entries.get(at.min(self.entries.len().saturating_sub(1)));
        entry.copied().map_or(0.0, f64::from)
    }
}
