//! The elements of a DICOM data set (PS3.5, 7): of either byte order, with or without value representations.
//!
//! Values are slices of the file, so no length in it can make this allocate. Sequences are walked over, and entered where an
//! attribute inside is asked for.

use crate::image_error::DicomError;

pub(super) const PIXEL_DATA: u32 = 0x7fe0_0010;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;
const UNDEFINED: u32 = u32::MAX;
/// A data set with more elements that may describe its pixels is refused.
const MOST_ELEMENTS: usize = 4096;
/// Characters of a string that are kept.
const LONGEST_TEXT: usize = 200;

/// Byte order of a data set, and whether it has no value representations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) implicit: bool,
    pub(super) big_endian: bool,
}

/// The elements that may describe pixels, and the pixels.
#[derive(Default)]
pub(super) struct DataSet<'a> {
    elements: Vec<Element<'a>>,
    pub(super) pixels: Option<PixelData<'a>>,
}

pub(super) enum PixelData<'a> {
    Native {
        data: &'a [u8],
        /// Whether the element is of 16-bit words, and not of bytes.
        words: bool,
    },
    /// Fragments; the first is the table of offsets.
    Encapsulated(Vec<&'a [u8]>),
}

/// An element of a data set.
#[derive(Clone, Copy)]
pub(super) struct Element<'a> {
    tag: u32,
    /// Zeros where the encoding is implicit.
    pub(super) representation: [u8; 2],
    pub(super) value: &'a [u8],
    encoding: Encoding,
}

impl<'a> DataSet<'a> {
    /// Reads up to and with the pixels, or to the end.
    pub(super) fn read(bytes: &'a [u8], encoding: Encoding) -> Result<Self, DicomError> {
        let mut reader = Reader { rest: bytes, encoding };
        let mut set = Self::default();
        while !reader.rest.is_empty() && set.pixels.is_none() {
            set.next(&mut reader)?;
        }
        Ok(set)
    }

    fn next(&mut self, reader: &mut Reader<'a>) -> Result<(), DicomError> {
        let encoding = reader.encoding;
        let Header { tag, representation, length } = reader.header()?;
        let value = match (tag, length) {
            (ITEM_END, _) => return Ok(()),
            (PIXEL_DATA, UNDEFINED) => {
                self.pixels = Some(PixelData::Encapsulated(reader.fragments()?));
                return Ok(());
            }
            (PIXEL_DATA, _) => {
                let words = representation != *b"OB";
                self.pixels = Some(PixelData::Native { data: reader.take(length)?, words });
                return Ok(());
            }
            (_, UNDEFINED) => reader.undefined(representation == *b"UN")?,
            _ => reader.take(length)?,
        };
        if describes(tag) {
            if self.elements.len() == MOST_ELEMENTS {
                return Err(DicomError::Damaged { tag });
            }
            // A sequence of unknown representation is implicit inside (PS3.5, 6.2.2).
            let inside = match &representation {
                b"UN" => Encoding { implicit: true, big_endian: false },
                _ => encoding,
            };
            self.elements.push(Element { tag, representation, value, encoding: inside });
        }
        Ok(())
    }

    pub(super) fn element(&self, tag: u32) -> Option<Element<'a>> {
        self.elements.iter().find(|e| e.tag == tag).copied()
    }

    /// The numbers of the elements in a range.
    pub(super) fn tags(&self, range: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = u32> {
        self.elements.iter().map(|e| e.tag).filter(move |tag| range.contains(tag))
    }

    /// The first of an element's 16-bit integers.
    pub(super) fn integer(&self, tag: u32) -> Option<u16> {
        self.element(tag)?.integers().next()
    }

    /// The first of an element's decimal strings.
    pub(super) fn decimal(&self, tag: u32) -> Option<f64> {
        self.decimals(tag).into_iter().next()?
    }

    /// An element's decimal strings; none in the place of those that are no finite numbers.
    pub(super) fn decimals(&self, tag: u32) -> Vec<Option<f64>> {
        let Some(element) = self.element(tag) else { return Vec::new() };
        let Ok(text) = std::str::from_utf8(element.value) else { return Vec::new() };
        let text = text.trim_matches(['\0', ' ']);
        if text.is_empty() {
            return Vec::new();
        }
        let values = text.split('\\').map(|x| x.trim_matches(['\0', ' ']).parse().ok());
        values.map(|x| x.filter(|x: &f64| x.is_finite())).collect()
    }

    /// An element's string, unless it is empty.
    pub(super) fn string(&self, tag: u32) -> Option<String> {
        self.element(tag).map(|e| text(e.value)).filter(|text| !text.is_empty())
    }

    /// The items of a sequence; empty if it is not there.
    pub(super) fn items(&self, tag: u32) -> Result<Vec<Item<'a>>, DicomError> {
        let Some(element) = self.element(tag) else { return Ok(Vec::new()) };
        let mut reader = Reader { rest: element.value, encoding: element.encoding };
        let mut items = Vec::new();
        while !reader.rest.is_empty() {
            let header = reader.header()?;
            match (header.tag, header.length) {
                (ITEM, UNDEFINED) => {
                    items.push(Item { bytes: reader.undefined(false)?, encoding: element.encoding });
                }
                (ITEM, length) => {
                    items.push(Item { bytes: reader.take(length)?, encoding: element.encoding })
                }
                (SEQUENCE_END, _) => break,
                (tag, _) => return Err(DicomError::Damaged { tag }),
            }
        }
        Ok(items)
    }

    /// The first item of a sequence.
    pub(super) fn first_item(&self, tag: u32) -> Result<Option<Self>, DicomError> {
        self.items(tag)?.first().map(Item::read).transpose()
    }
}

/// An item of a sequence.
pub(super) struct Item<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

impl<'a> Item<'a> {
    pub(super) fn read(&self) -> Result<DataSet<'a>, DicomError> {
        DataSet::read(self.bytes, self.encoding)
    }
}

impl<'a> Element<'a> {
    /// The 16-bit integers of its value.
    pub(super) fn integers(&self) -> impl Iterator<Item = u16> + use<'a> {
        let big_endian = self.encoding.big_endian;
        self.value
            .as_chunks::<2>()
            .0
            .iter()
            .map(move |b| if big_endian { u16::from_be_bytes(*b) } else { u16::from_le_bytes(*b) })
    }
}

/// Walks over elements.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
    pub(super) encoding: Encoding,
}

/// The fields in front of a value.
pub(super) struct Header {
    pub(super) tag: u32,
    /// Zeros where the encoding is implicit.
    pub(super) representation: [u8; 2],
    pub(super) length: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn header(&mut self) -> Result<Header, DicomError> {
        let tag = u32::from(self.short()?) << 16 | u32::from(self.short()?);
        if self.encoding.implicit || tag >> 16 == ITEM >> 16 {
            return Ok(Header { tag, representation: [0; 2], length: self.long()? });
        }
        let representation = self.bytes()?;
        let short = self.short()?;
        let length = match &representation {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT"
            | b"UV" => self.long()?,
            [b'A'..=b'Z', b'A'..=b'Z'] => short.into(),
            _ => return Err(DicomError::Damaged { tag }),
        };
        Ok(Header { tag, representation, length })
    }

    fn fragments(&mut self) -> Result<Vec<&'a [u8]>, DicomError> {
        let mut fragments = Vec::new();
        loop {
            match self.header()? {
                Header { tag: ITEM, length, .. } => fragments.push(self.take(length)?),
                Header { tag: SEQUENCE_END, .. } => return Ok(fragments),
                Header { tag, .. } => return Err(DicomError::Damaged { tag }),
            }
        }
    }

    /// The value of a sequence or an item of undefined length, without its end. One of unknown representation is implicit inside
    /// (PS3.5, 6.2.2).
    fn undefined(&mut self, unknown: bool) -> Result<&'a [u8], DicomError> {
        let outside = self.encoding;
        let start = self.rest;
        let implicit = Encoding { implicit: true, big_endian: false };
        let mut open = 1_usize;
        let mut implicit_below = unknown.then_some(0);
        if unknown {
            self.encoding = implicit;
        }
        let mut end = start.len();
        while open > 0 {
            end = self.rest.len();
            let Header { tag, representation, length } = self.header()?;
            match (tag, length) {
                (ITEM_END | SEQUENCE_END, _) => {
                    open -= 1;
                    if implicit_below == Some(open) {
                        self.encoding = outside;
                        implicit_below = None;
                    }
                }
                (_, UNDEFINED) => {
                    if representation == *b"UN" && implicit_below.is_none() {
                        implicit_below = Some(open);
                        self.encoding = implicit;
                    }
                    open += 1;
                }
                _ => drop(self.take(length)?),
            }
        }
        self.encoding = outside;
        start.get(..start.len() - end).ok_or(DicomError::Internal("a sequence ends before it begins"))
    }

    pub(super) fn take(&mut self, length: u32) -> Result<&'a [u8], DicomError> {
        let (value, rest) = self.rest.split_at_checked(length as usize).ok_or(DicomError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    fn short(&mut self) -> Result<u16, DicomError> {
        let bytes = self.bytes()?;
        Ok(if self.encoding.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&mut self) -> Result<u32, DicomError> {
        let bytes = self.bytes()?;
        Ok(if self.encoding.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DicomError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// Whether an element of this group may say how pixels are shown, or of what they are.
fn describes(tag: u32) -> bool {
    matches!(
        tag >> 16,
        0x0008 | 0x0010 | 0x0018 | 0x0020 | 0x0028 | 0x0054 | 0x2050 | 0x5200 | 0x6000..=0x60ff | 0x7fe0
    )
}

/// A string without its padding, a space or a zero; characters other than those of ASCII become question marks.
pub(super) fn text(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let kept = text.trim_matches(['\0', ' ']).chars().take(LONGEST_TEXT);
    kept.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
