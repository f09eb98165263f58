//! Codecs with random weights, and test images.
use ndarray::Array2;
use pleura_latent::{SIDE, Xray};
use std::collections::BTreeMap;

/// Shape and bytes of a tensor, and its type's name.
pub type Tensor = (&'static str, Vec<usize>, Vec<u8>);

/// A codec file in pieces, to be broken at will.
pub struct CodecFile {
    pub metadata: BTreeMap<String, String>,
    pub tensors: BTreeMap<String, Tensor>,
}

impl CodecFile {
    /// Random weights for `channels` and `levels`, as the training code shapes them.
    pub fn random(channels: usize, levels: &[[usize; 2]], extra: usize) -> Self {
        let mut file = Self { metadata: BTreeMap::new(), tensors: BTreeMap::new() };
        let factor = 2 << levels.len();
        for (key, value) in [
            ("format", "pleura codec 1".to_owned()),
            ("name", format!("f{factor}")),
            ("factor", factor.to_string()),
            ("channels", channels.to_string()),
            ("levels", format!("{levels:?}")),
            ("decoder_extra", extra.to_string()),
            ("typical_limit", "2.5".to_owned()),
        ] {
            file.metadata.insert(key.to_owned(), value);
        }
        let mut index = 1;
        let mut width = 16;
        for (k, &[wider, blocks]) in levels.iter().enumerate() {
            file.convolution(&format!("encoder.{index}"), width, wider, if k == 0 { 3 } else { 2 });
            index = file.blocks("encoder", index + 1, wider, blocks);
            width = wider;
        }
        file.convolution(&format!("encoder.{index}"), width, channels, 3);

        (index, width) = (0, channels);
        for (k, &[narrower, blocks]) in levels.iter().rev().enumerate() {
            let (outputs, kernel) = if k == 0 { (narrower, 3) } else { (4 * narrower, 1) };
            file.convolution(&format!("decoder.{index}"), width, outputs, kernel);
            index = file.blocks("decoder", index + if k == 0 { 1 } else { 2 }, narrower, blocks + extra);
            width = narrower;
        }
        file.convolution(&format!("decoder.{index}"), width, 64, 3);
        file.convolution(&format!("decoder.{}", index + 3), 16, 4, 3);

        let features = 2 * channels * 16;
        file.single("codebook", &[1024, channels]);
        file.single("typical.mean", &[features]);
        file.single("typical.whitening", &[features, features]);
        file
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut offset = 0;
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), serde_json::json!(self.metadata));
        let mut data = Vec::new();
        for (name, (dtype, shape, bytes)) in &self.tensors {
            let offsets = [offset, offset + bytes.len()];
            header.insert(
                name.clone(),
                serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
            );
            offset += bytes.len();
            data.extend_from_slice(bytes);
        }
        let header = serde_json::Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    fn blocks(&mut self, net: &str, first: usize, width: usize, count: usize) -> usize {
        for index in first..first + count {
            self.convolution(&format!("{net}.{index}.first"), width, width, 3);
            self.convolution(&format!("{net}.{index}.second"), width, width, 3);
        }
        first + count
    }

    fn convolution(&mut self, name: &str, inputs: usize, outputs: usize, kernel: usize) {
        self.half(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel]);
        self.half(&format!("{name}.bias"), &[outputs]);
    }

    /// Halves of exponent -4 or so.
    fn half(&mut self, name: &str, shape: &[usize]) {
        let mut random = Random::new(name);
        let values = (0..shape.iter().product()).map(|_| (random.next() as u16 & 0x83ff) | 0x2c00);
        self.tensors
            .insert(name.to_owned(), ("F16", shape.to_vec(), values.flat_map(u16::to_le_bytes).collect()));
    }

    fn single(&mut self, name: &str, shape: &[usize]) {
        let mut random = Random::new(name);
        let values = (0..shape.iter().product()).map(|_| random.next() as u32 as f32 / u32::MAX as f32 - 0.5);
        self.tensors
            .insert(name.to_owned(), ("F32", shape.to_vec(), values.flat_map(f32::to_le_bytes).collect()));
    }
}

/// Enough randomness for tests: splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: &str) -> Self {
        Self(seed.bytes().fold(1, |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b)))
    }

    #[allow(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// The image behind the known answers.
pub fn pattern() -> Xray {
    Xray::from_pixels(
        Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
            (((x * x + 3 * y * y + x * y) / 97 + 40 * ((x / 32 + y / 32) % 2)) % 256) as u8
        })
        .view(),
    )
    .unwrap()
}
