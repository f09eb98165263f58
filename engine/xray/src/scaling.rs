//! Scalings of pixels: how black to white become the numbers that a network was trained on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// White, in the units of [`Xray::values`](pleura_latent::Xray::values).
const WHITE: f64 = 255.0;

/// Range of numbers that stands for black to white in a network's input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum PixelScaling {
    /// From 0 to 1.
    Unit,
    /// From -1 to 1.
    Signed,
    /// From -1024 to 1024, as TorchXRayVision has it.
    Xrv,
    /// `(x - mean) / deviation` where `x` goes from 0 to 1.
    Standard {
        /// Mean, from 0 to 1.
        mean: f64,
        /// Standard deviation, above 0 and at most 1.
        deviation: f64,
    },
}

/// A text that names no scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scaling is unit (0 to 1), signed (-1 to 1), xrv (-1024 to 1024), or MEAN,DEVIATION of pixels from 0 to 1, as in 0.48,0.24"
)]
pub struct PixelScalingError;

impl PixelScaling {
    /// The number that stands for a pixel from 0 (black) to 255 (white).
    pub fn scaled(self, pixel: f64) -> f64 {
        let (factor, offset) = self.factor_and_offset();
        pixel / (WHITE / factor) + offset
    }

    /// The pixel from 0 (black) to 255 (white) for which a number stands.
    pub fn pixel(self, scaled: f64) -> f64 {
        let (factor, offset) = self.factor_and_offset();
        (scaled - offset) * (WHITE / factor)
    }

    fn factor_and_offset(self) -> (f64, f64) {
        match self {
            Self::Unit => (1.0, 0.0),
            Self::Signed => (2.0, -1.0),
            Self::Xrv => (2048.0, -1024.0),
            Self::Standard { mean, deviation } => (deviation.recip(), -mean / deviation),
        }
    }
}

impl FromStr for PixelScaling {
    type Err = PixelScalingError;

    fn from_str(text: &str) -> Result<Self, PixelScalingError> {
        match text.trim() {
            "unit" => Ok(Self::Unit),
            "signed" => Ok(Self::Signed),
            "xrv" => Ok(Self::Xrv),
            pair => {
                let (mean, deviation) = pair.split_once(',').ok_or(PixelScalingError)?;
                let mean = mean.trim().parse().map_err(|_| PixelScalingError)?;
                let deviation = deviation.trim().parse().map_err(|_| PixelScalingError)?;
                // Larger numbers are those of pixels from 0 to 255.
                if (0.0..=1.0).contains(&mean) && deviation > 0.0 && deviation <= 1.0 {
                    Ok(Self::Standard { mean, deviation })
                } else {
                    Err(PixelScalingError)
                }
            }
        }
    }
}

impl TryFrom<String> for PixelScaling {
    type Error = PixelScalingError;

    fn try_from(text: String) -> Result<Self, PixelScalingError> {
        text.parse()
    }
}

impl From<PixelScaling> for String {
    fn from(scaling: PixelScaling) -> Self {
        scaling.to_string()
    }
}

impl fmt::Display for PixelScaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit => f.write_str("unit"),
            Self::Signed => f.write_str("signed"),
            Self::Xrv => f.write_str("xrv"),
            Self::Standard { mean, deviation } => write!(f, "{mean},{deviation}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_become_the_ends_of_the_range() {
        for (text, ends) in [
            ("unit", [0.0, 1.0]),
            ("signed", [-1.0, 1.0]),
            ("xrv", [-1024.0, 1024.0]),
            ("0.5,0.25", [-2.0, 2.0]),
        ] {
            let scaling: PixelScaling = text.parse().unwrap();
            assert_eq!([0.0, 255.0].map(|pixel| scaling.scaled(pixel)), ends, "{text}");
            assert_eq!(ends.map(|scaled| scaling.pixel(scaled)), [0.0, 255.0], "{text}");
            assert_eq!(scaling.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in
            ["", "Unit", "0.5", "123.7,58.4", "0.5,0", "0.5,-1", "nan,1", "0.5,nan", "0.5,0.2,1", "-0.1,1"]
        {
            assert_eq!(text.parse::<PixelScaling>(), Err(PixelScalingError), "{text}");
        }
    }
}
