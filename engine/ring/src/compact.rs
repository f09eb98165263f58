//! Serialization of compact polynomials: their coefficients as little-endian bytes.

use crate::CompactPoly;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

impl Serialize for CompactPoly {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.coefficients.iter().flat_map(|c| c.to_le_bytes()).collect();
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for CompactPoly {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(CoefficientBytes)
    }
}

struct CoefficientBytes;

impl Visitor<'_> for CoefficientBytes {
    type Value = CompactPoly;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("four bytes for each of a power of two of coefficients")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<CompactPoly, E> {
        let (words, rest) = bytes.as_chunks();
        if !rest.is_empty() || !words.len().is_power_of_two() {
            return Err(E::invalid_length(bytes.len(), &self));
        }
        Ok(CompactPoly { coefficients: words.iter().map(|&word| i32::from_le_bytes(word)).collect() })
    }
}
