//! Matrices of small integers that multiply vectors of polynomials.

use crate::RingError;
use serde::{Deserialize, Serialize};

/// A matrix of 32-bit integers of which only entries that are not zero are stored, row after row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct IntegerMatrix {
    columns: usize,
    rows: Vec<Vec<(u32, i32)>>,
}

/// The serialized form of a matrix, which may be of anything.
#[derive(Deserialize)]
struct Stored {
    columns: usize,
    rows: Vec<Vec<(u32, i32)>>,
}

impl IntegerMatrix {
    /// A matrix of the entries of its rows: column and value.
    ///
    /// # Errors
    /// [`RingError::BadMatrix`] if there is no row or no column, or the columns of a row do not increase or lie beyond `columns`.
    ///
    /// ```
    /// use pleura_ring::IntegerMatrix;
    /// let matrix = IntegerMatrix::new(3, vec![vec![(0, 5), (2, -7)], vec![]])?;
    /// assert_eq!((matrix.rows().len(), matrix.columns(), matrix.entries()), (2, 3, 2));
    /// assert!(IntegerMatrix::new(3, vec![vec![(3, 1)]]).is_err(), "there is no column 3");
    /// # Ok::<(), pleura_ring::RingError>(())
    /// ```
    pub fn new(columns: usize, rows: Vec<Vec<(u32, i32)>>) -> Result<Self, RingError> {
        let fits = |row: &Vec<(u32, i32)>| {
            row.is_sorted_by(|a, b| a.0 < b.0) && row.last().is_none_or(|last| (last.0 as usize) < columns)
        };
        let bad =
            if columns == 0 || rows.is_empty() { Some(0) } else { rows.iter().position(|row| !fits(row)) };
        match bad {
            Some(row) => Err(RingError::BadMatrix { row, columns }),
            None => Ok(Self { columns, rows }),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The entries of each row, by column.
    pub fn rows(&self) -> &[Vec<(u32, i32)>] {
        &self.rows
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }
}

impl TryFrom<Stored> for IntegerMatrix {
    type Error = RingError;

    fn try_from(Stored { columns, rows }: Stored) -> Result<Self, RingError> {
        Self::new(columns, rows)
    }
}
