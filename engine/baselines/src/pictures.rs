//! Square pictures of 8 bits at other sizes.

/// A picture at a smaller side: each pixel is the mean of those that it covers. Without pixels, there is none.
#[expect(clippy::indexing_slicing, reason = "places are within the square")]
pub fn reduced(pixels: &[u8], to: usize) -> Vec<u8> {
    let side = pixels.len().isqrt();
    if side == 0 {
        return Vec::new();
    }
    let edge = |k: usize| k * side / to.max(1);
    (0..to * to)
        .map(|k| {
            let y = k / to;
            let x = k % to;
            let rows = edge(y)..edge(y + 1).max(edge(y) + 1);
            let inside = rows.flat_map(|row| {
                let cells = &pixels[row * side + edge(x)..row * side + edge(x + 1).max(edge(x) + 1)];
                cells.iter().map(|&p| u32::from(p))
            });
            let (sum, count) = inside.fold((0, 0), |(sum, count), p| (sum + p, count + 1));
            (sum / count.max(1)) as u8
        })
        .collect()
}

/// A picture at a larger side: each pixel is repeated. Without pixels, there is none.
#[expect(clippy::indexing_slicing, reason = "places are within the square")]
pub fn enlarged(pixels: &[u8], to: usize) -> Vec<u8> {
    let side = pixels.len().isqrt();
    if side == 0 {
        return Vec::new();
    }
    (0..to * to).map(|k| pixels[k / to * side / to * side + k % to * side / to]).collect()
}

/// The picture of a side that [`enlarged`] made a larger one from; none if it is not such a one.
pub fn before_enlarging(pixels: &[u8], side: usize) -> Option<Vec<u8>> {
    let from = pixels.len().isqrt();
    let first = |k: usize| (k * from).div_ceil(side.max(1));
    let small: Vec<u8> = (0..side * side)
        .filter_map(|k| pixels.get(first(k / side) * from + first(k % side)).copied())
        .collect();
    (enlarged(&small, from) == pixels).then_some(small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_come_back_at_every_side() {
        for side in 8..=256 {
            let small: Vec<u8> = (0..side * side).map(|k| (k * 31 % 251) as u8).collect();
            let large = enlarged(&small, 256);
            assert_eq!(before_enlarging(&large, side).unwrap(), small, "side {side}");
            let other = if side == 8 { 9 } else { side - 1 };
            assert!(before_enlarging(&large, other).is_none(), "side {side} as {other}");
        }
    }

    #[test]
    fn smaller_pixels_are_means() {
        let pixels = [0, 2, 10, 30, 4, 6, 20, 40, 1, 1, 100, 100, 1, 1, 100, 104];
        assert_eq!(reduced(&pixels, 2), [3, 25, 1, 101]);
        assert_eq!(reduced(&pixels, 4), pixels);
        assert_eq!(reduced(&[7; 9], 2), [7; 4]);
    }
}
