//! Functional groups of multi-frame images (PS3.3, C.7.6.16): attributes of the first frame, and those all frames share.

use super::elements::DataSet;
use crate::image_error::DicomError;

const PER_FRAME: u32 = 0x5200_9230;
const SHARED: u32 = 0x5200_9229;

/// The data sets in which attributes of the first frame may stand: the innermost first.
pub(super) struct Groups<'a> {
    groups: Vec<DataSet<'a>>,
}

impl<'a> Groups<'a> {
    pub(super) fn read(set: &DataSet<'a>) -> Result<Self, DicomError> {
        let found = [set.first_item(PER_FRAME)?, set.first_item(SHARED)?];
        Ok(Self { groups: found.into_iter().flatten().collect() })
    }

    /// The items of a macro's sequence.
    pub(super) fn items(&self, sequence: u32) -> Result<Vec<DataSet<'a>>, DicomError> {
        self.groups.iter().filter_map(|group| group.first_item(sequence).transpose()).collect()
    }
}
