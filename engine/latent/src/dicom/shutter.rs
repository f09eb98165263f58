//! The display shutter, outside of which nothing is shown (PS3.3, C.7.6.11).

use super::elements::DataSet;
use super::groups::Groups;
use super::numbers::numbers;
use crate::frame::FrameSize;
use crate::image_error::DicomError;

const FRAME_SHUTTER: u32 = 0x0018_9472;
const SHAPE: u32 = 0x0018_1600;
/// Left, right, upper and lower edge.
const EDGES: [u32; 4] = [0x0018_1602, 0x0018_1604, 0x0018_1606, 0x0018_1608];
const CENTRE: u32 = 0x0018_1610;
const RADIUS: u32 = 0x0018_1612;
const VERTICES: u32 = 0x0018_1620;
const SHADE: u32 = 0x0018_1622;

/// An area to show; positions count from 1.
enum Opening {
    Rectangle {
        left: f64,
        right: f64,
        upper: f64,
        lower: f64,
    },
    Circle {
        row: f64,
        column: f64,
        radius: f64,
    },
    /// Rows and columns of the corners.
    Polygon(Vec<[f64; 2]>),
}

/// Replaces the shades outside the shutters of a file, if it has any.
pub(super) fn close(
    set: &DataSet<'_>,
    groups: &Groups<'_>,
    size: FrameSize,
    shades: &mut [f32],
) -> Result<(), DicomError> {
    let places = groups.items(FRAME_SHUTTER)?;
    let Some(place) = places.iter().chain([set]).find(|place| place.string(SHAPE).is_some()) else {
        return Ok(());
    };
    let openings = Opening::read_all(place)?;
    let outside = f32::from(place.integer(SHADE).unwrap_or(0)) / 65535.0;
    for (row, line) in shades.chunks_exact_mut(size.columns).enumerate() {
        for (column, shade) in line.iter_mut().enumerate() {
            let [y, x] = [row, column].map(|k| k as f64 + 1.0);
            if !openings.iter().all(|opening| opening.holds(y, x)) {
                *shade = outside;
            }
        }
    }
    Ok(())
}

impl Opening {
    fn read_all(place: &DataSet<'_>) -> Result<Vec<Self>, DicomError> {
        let refused = |found: &str| DicomError::Attribute {
            attribute: "Shutter Shape",
            expected: "a complete RECTANGULAR, CIRCULAR or POLYGONAL shutter",
            found: found.to_owned(),
        };
        let shapes = place.string(SHAPE).unwrap_or_default();
        let shapes = shapes.split('\\').map(str::trim).map(|shape| {
            let opening = match shape {
                "RECTANGULAR" => {
                    let mut edges = Vec::new();
                    for tag in EDGES {
                        edges.extend(numbers(place, tag, "an edge of the shutter")?);
                    }
                    let [left, right, upper, lower] = *edges.as_slice() else { return Err(refused(shape)) };
                    Self::Rectangle { left, right, upper, lower }
                }
                "CIRCULAR" => {
                    let centre = numbers(place, CENTRE, "Center of Circular Shutter")?;
                    let radius = numbers(place, RADIUS, "Radius of Circular Shutter")?;
                    let ([row, column], [radius]) = (centre.as_slice(), radius.as_slice()) else {
                        return Err(refused(shape));
                    };
                    Self::Circle { row: *row, column: *column, radius: *radius }
                }
                "POLYGONAL" => {
                    let vertices = numbers(place, VERTICES, "Vertices of the Polygonal Shutter")?;
                    let corners = vertices.as_chunks::<2>().0.to_vec();
                    if !(3..=64).contains(&corners.len()) {
                        return Err(refused(shape));
                    }
                    Self::Polygon(corners)
                }
                other => return Err(refused(other)),
            };
            Ok(opening)
        });
        shapes.collect()
    }

    fn holds(&self, y: f64, x: f64) -> bool {
        match self {
            Self::Rectangle { left, right, upper, lower } => {
                (*left..=*right).contains(&x) && (*upper..=*lower).contains(&y)
            }
            Self::Circle { row, column, radius } => (y - row).hypot(x - column) <= *radius,
            Self::Polygon(corners) => {
                // A ray crosses the edges of a polygon around its start an odd number of times.
                let edges = corners.iter().zip(corners.iter().cycle().skip(1));
                let crossed = edges.filter(|([y0, x0], [y1, x1])| {
                    (y0 > &y) != (y1 > &y) && x < (x1 - x0) * (y - y0) / (y1 - y0) + x0
                });
                crossed.count() % 2 == 1
            }
        }
    }
}
