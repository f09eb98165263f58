//! Marker segments of JPEG and JPEG-LS streams (ITU-T T.81, annex B.1.1).

/// Why a stream that lacks bytes cannot be decoded.
pub(crate) const TRUNCATED: &str = "it is cut off";
/// The second byte of the marker at the end of an image.
pub(crate) const END: u8 = 0xd9;

/// A marker segment.
pub(crate) struct Segment<'a> {
    /// The second byte of the marker.
    pub(crate) marker: u8,
    /// Bytes of the segment after its length; none at the end of an image.
    pub(crate) body: &'a [u8],
    /// Bytes of the stream after the segment.
    pub(crate) after: &'a [u8],
}

impl<'a> Segment<'a> {
    /// The segment that a stream begins with; `None` if it begins with no marker.
    ///
    /// # Errors
    /// If the segment is cut off.
    pub(crate) fn first(mut stream: &'a [u8]) -> Result<Option<Self>, String> {
        // Fill bytes may precede a marker.
        while let Some(rest) = stream.strip_prefix(&[0xff]).filter(|rest| rest.starts_with(&[0xff])) {
            stream = rest;
        }
        let [0xff, marker, after @ ..] = stream else { return Ok(None) };
        if *marker == END {
            return Ok(Some(Self { marker: END, body: &[], after }));
        }
        let (length, after) = after.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        // The length counts its own two bytes.
        let length = usize::from(u16::from_be_bytes(*length)).saturating_sub(2);
        let (body, after) = after.split_at_checked(length).ok_or(TRUNCATED)?;
        Ok(Some(Self { marker: *marker, body, after }))
    }
}
