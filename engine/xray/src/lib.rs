//! The chest X-ray classifier: everything about X-rays that is neither cryptography nor a device.
//!
//! A [`Classifier`] is a network with its class names and its [`Preprocessing`]: the latent image of a codec, or
//! reduced pixels. It turns an X-ray into [`Features`], the numbers that are encrypted, with an out-of-distribution
//! score, and it supplies the options of a plan with the items that calibrate it ([`Classifier::compile_options`]).
//! [`shipped`] holds trained networks, codecs and sample X-rays. [`metrics`] evaluates
//! predictions.
//!
//! ```
//! use pleura_xray::{Classifier, shipped};
//!
//! let classifier = Classifier::shipped("pneumonia")?;
//! let features = classifier.features(&shipped::SAMPLES[15].xray()?)?;
//! assert!(features.ood_score < Some(1.0));
//!
//! // The plaintext network.
//! let scores = classifier.evaluate(&features);
//! assert_eq!(classifier.label(&scores), "pneumonia");
//! assert!(classifier.probabilities(&scores)[1] > 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod classes;
mod classifier;
mod error;
mod folder;
pub mod metrics;
mod preprocessing;
mod scaling;
pub mod shipped;
mod sources;

pub use classes::Classes;
pub use classifier::Classifier;
pub use error::{InputMismatch, XrayError};
pub use folder::{FolderListing, SkipReason, SkippedFile};
pub use preprocessing::{Features, Preprocessing, Recipe};
pub use scaling::{PixelScaling, PixelScalingError};
pub use sources::{Content, Source, SourceBytes, SourceError, SourceItem, SourceList, path_text};
