//! Reasons why a map cannot be built.

/// Most elements of a tensor: positions are stored in 32 bits.
pub(crate) const MAX_ELEMENTS: usize = u32::MAX as usize;

/// Reason why a map cannot be built from the given shapes and weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// An extent is zero.
    #[error("the {what} is zero; it must be at least 1")]
    Zero {
        /// The extent, such as `kernel height`.
        what: &'static str,
    },
    /// A tensor or a window reaches over too many positions.
    #[error("the {what} reaches over more than {MAX_ELEMENTS} positions; make the layer smaller")]
    TooLarge {
        /// The tensor, or the way windows move.
        what: &'static str,
    },
    /// Channels cannot be divided into groups.
    #[error("{groups} groups do not divide {} input and {} output channels", channels[0], channels[1])]
    Groups {
        /// Number of groups.
        groups: usize,
        /// Input and output channels.
        channels: [usize; 2],
    },
    /// There are too few or too many weights.
    #[error("a {map} of this shape has {expected} weights, not {found}")]
    Weights {
        /// The kind of map.
        map: &'static str,
        /// Number of weights that the shape needs.
        expected: usize,
        /// Number of weights given.
        found: usize,
    },
    /// Weights do not make up whole rows.
    #[error("{found} weights are not a whole number of rows of {inputs}")]
    Rows {
        /// Elements of a row.
        inputs: usize,
        /// Number of weights given.
        found: usize,
    },
    /// An output reads an input that does not exist.
    #[error("entry {entry} reads input {input}, but there are {inputs} inputs")]
    Source {
        /// Position of the entry.
        entry: usize,
        /// Input that the entry reads.
        input: u32,
        /// Elements of the input.
        inputs: usize,
    },
    /// Row starts of a sparse map do not begin at zero, decrease, or do not end at the number of entries.
    #[error(
        "row starts must rise from 0 to {entries}, the number of entries; start {row} {}",
        found.map_or_else(|| "is missing".to_owned(), |start| format!("is {start}"))
    )]
    Starts {
        /// Position of the first wrong start.
        row: usize,
        /// The wrong start, or `None` if it is missing.
        found: Option<u32>,
        /// Number of entries.
        entries: usize,
    },
}

/// Refuses zero.
pub(crate) fn at_least_one(what: &'static str, extent: usize) -> Result<(), ShapeError> {
    if extent == 0 { Err(ShapeError::Zero { what }) } else { Ok(()) }
}

/// Product of extents, refused if there are more than [`MAX_ELEMENTS`].
pub(crate) fn elements(what: &'static str, extents: &[usize]) -> Result<usize, ShapeError> {
    let product = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    product.filter(|&product| product <= MAX_ELEMENTS).ok_or(ShapeError::TooLarge { what })
}
