//! Numbers of DICOM attributes that must be readable if they are there.

use super::elements::DataSet;
use crate::image_error::DicomError;

/// An element's decimal strings.
///
/// # Errors
/// If one is no number.
pub(super) fn numbers(set: &DataSet<'_>, tag: u32, attribute: &'static str) -> Result<Vec<f64>, DicomError> {
    let values: Option<Vec<f64>> = set.decimals(tag).into_iter().collect();
    values.ok_or_else(|| DicomError::Attribute {
        attribute,
        expected: "numbers",
        found: set.string(tag).unwrap_or_default(),
    })
}

/// The first of an element's decimal strings.
///
/// # Errors
/// If one is no number.
pub(super) fn number(
    set: &DataSet<'_>,
    tag: u32,
    attribute: &'static str,
) -> Result<Option<f64>, DicomError> {
    Ok(numbers(set, tag, attribute)?.first().copied())
}
