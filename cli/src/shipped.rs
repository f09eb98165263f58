//! What comes with the program: codecs, trained networks with their cards, and sample X-rays.

use anyhow::{Context, Result, anyhow};
use pleura::latent::Codec;

/// A trained network.
pub(crate) struct Shipped {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) onnx: &'static [u8],
    /// Of its task: all networks side by side.
    pub(crate) card: &'static str,
}

/// A chest X-ray that may be passed on, and what the doctors said.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) truth: &'static str,
    pub(crate) jpeg: &'static [u8],
}

macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!("../../models/", $path))
    };
}

macro_rules! card {
    ($task:literal) => {
        include_str!(concat!("../../models/", $task, "/README.md"))
    };
}

macro_rules! sample {
    ($truth:literal, $name:literal) => {
        Sample { name: $name, truth: $truth, jpeg: include_bytes!(concat!("../../models/samples/", $name)) }
    };
}

/// All networks, the default one first.
pub(crate) static MODELS: [Shipped; 8] = [
    Shipped {
        name: "pneumonia",
        about: "made for the scheme: one convolution, one quadratic, one dense layer",
        onnx: file!("pneumonia/square.onnx"),
        card: card!("pneumonia"),
    },
    Shipped {
        name: "pneumonia-hefnet",
        about: "hefNet as published, per-channel quadratics",
        onnx: file!("pneumonia/hefnet.onnx"),
        card: card!("pneumonia"),
    },
    Shipped {
        name: "pneumonia-hefnet-se",
        about: "hefNet with squeeze-and-excitation",
        onnx: file!("pneumonia/hefnet_se.onnx"),
        card: card!("pneumonia"),
    },
    Shipped {
        name: "pneumonia-linear",
        about: "logistic regression: what Paillier can evaluate, too",
        onnx: file!("pneumonia/linear.onnx"),
        card: card!("pneumonia"),
    },
    Shipped {
        name: "covid",
        about: "made for the scheme, three classes",
        onnx: file!("covid/square.onnx"),
        card: card!("covid"),
    },
    Shipped {
        name: "covid-hefnet",
        about: "hefNet, three classes",
        onnx: file!("covid/hefnet.onnx"),
        card: card!("covid"),
    },
    Shipped {
        name: "covid-hefnet-se",
        about: "hefNet with squeeze-and-excitation, three classes",
        onnx: file!("covid/hefnet_se.onnx"),
        card: card!("covid"),
    },
    Shipped {
        name: "pneumoniamnist",
        about: "28x28 images without a codec, made for the scheme",
        onnx: file!("pneumoniamnist/tiny.onnx"),
        card: card!("pneumoniamnist"),
    },
];

/// Codecs by name, the default one first.
pub(crate) static CODECS: [(&str, &[u8]); 3] = [
    ("f8", file!("codec/f8.safetensors")),
    ("f4", file!("codec/f4.safetensors")),
    ("f16", file!("codec/f16.safetensors")),
];

/// The card of the codecs.
pub(crate) static CODEC_CARD: &str = card!("codec");

/// Kermany, Zhang, Goldbaum: the official validation images (CC BY 4.0); `models/samples/README.md` has the attribution.
pub(crate) static SAMPLES: [Sample; 16] = [
    sample!("normal", "NORMAL2-IM-1427-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1430-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1431-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1436-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1437-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1438-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1440-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1442-0001.jpeg"),
    sample!("pneumonia", "person1946_bacteria_4874.jpeg"),
    sample!("pneumonia", "person1946_bacteria_4875.jpeg"),
    sample!("pneumonia", "person1947_bacteria_4876.jpeg"),
    sample!("pneumonia", "person1949_bacteria_4880.jpeg"),
    sample!("pneumonia", "person1950_bacteria_4881.jpeg"),
    sample!("pneumonia", "person1951_bacteria_4882.jpeg"),
    sample!("pneumonia", "person1952_bacteria_4883.jpeg"),
    sample!("pneumonia", "person1954_bacteria_4886.jpeg"),
];

/// The network of a name.
pub(crate) fn model(name: &str) -> Option<&'static Shipped> {
    MODELS.iter().find(|model| model.name == name)
}

/// The codec of a name.
pub(crate) fn codec(name: &str) -> Result<Codec> {
    let found = CODECS.iter().find(|(known, _)| *known == name);
    let (_, bytes) = found.ok_or_else(|| {
        anyhow!("there is no codec {name}; there are {}", CODECS.map(|(name, _)| name).join(", "))
    })?;
    Codec::from_bytes(bytes).with_context(|| format!("codec {name}"))
}

/// The sentence for a name that no network has.
pub(crate) fn unknown_model(name: &str) -> String {
    let shipped: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
    format!("there is no model {name:?}, shipped or in a file; shipped are {}", shipped.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_shipped_can_be_read() {
        for (name, bytes) in CODECS {
            let codec = Codec::from_bytes(bytes).unwrap();
            assert_eq!(codec.name(), name);
        }
        let weights = MODELS.iter().map(|m| m.onnx.len()).chain(CODECS.iter().map(|(_, b)| b.len()));
        assert!(weights.sum::<usize>() < 20_000_000);
        let unknown = codec("f3").err().unwrap().to_string();
        assert_eq!(unknown, "there is no codec f3; there are f8, f4, f16");
    }
}
