//! The VQGAN codec: chest X-rays to small latent images and back, on the client, unencrypted.
//!
//! # Mathematics
//! A vector-quantized generative adversarial network (Esser, Rombach, Ommer 2021, arXiv 2012.09841) is an encoder `E`, a codebook and a
//! decoder `D`, trained together so that `D(E(x))` looks like `x`. Here `x` is a grey image of 256x256 pixels, scaled to -1 to 1, and
//! `E(x)` a latent image of `channels x 256/f x 256/f` numbers of about unit variance: `4 x 32 x 32` for the codec `f8`, a sixteenth
//! of the pixels. Quantized, each of its positions becomes the nearest of 1,024 codes: 10 bits. Training passed a quarter of
//! all images through the codebook and the others around it, so one decoder serves both:
//!
//! * the **continuous** [`Latent`] is what a client encrypts, and what classifiers are trained on;
//! * the **quantized** [`CodeIndices`] are what it stores.
//!
//! Both networks are convolutions in residual blocks (He et al. 2016, in their later order: ReLU before each convolution). Pixels are
//! first folded into channels (Shi et al. 2016, arXiv 1609.05158), so that encoding costs a client a billion multiplications and
//! not ten. Latents of images unlike those of training mean nothing; [`Codec::ood_score`] detects them by the Mahalanobis
//! distance of their local means and deviations.
//!
//! An image passes through these modules: [`Xray::from_bytes`] reads an image file (`picture`) or DICOM (`dicom`) and brings it
//! to size (`resample`); [`Codec::encode`] runs the `network` of `convolution`s whose `weights` a file holds (`safetensors`, the
//! safetensors format); a [`LatentFile`] carries latents to the next command, tied to the codec that made them.
//!
//! ```
//! use ndarray::Array2;
//! use pleura_latent::{Codec, LatentFile, SIDE, StoredLatent, Xray, psnr};
//!
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/codec");
//! let codec = Codec::from_bytes(&std::fs::read(format!("{folder}/f8.safetensors"))?)?;
//!
//! // A file's bytes; here a disc on a gradient.
//! let pixels = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| {
//!     let disc = x.abs_diff(128).pow(2) + y.abs_diff(128).pow(2) < 60 * 60;
//!     (y / 2) as u8 + if disc { 100 } else { 0 }
//! });
//! let png = Xray::from_pixels(pixels.view())?.to_png()?;
//! let (xray, notes) = Xray::from_bytes(&png)?;
//! assert!(notes.is_empty());
//!
//! // Encoded, stored as codes, and back.
//! let latent = codec.encode(&xray);
//! assert_eq!(latent.shape(), [4, 32, 32]);
//! let codes = codec.quantize(&latent)?;
//! let stored = LatentFile::new(&codec, vec![("disc.png".into(), StoredLatent::Codes(codes))])?.to_bytes();
//! for (name, latent) in LatentFile::from_bytes(&stored)?.latents(&codec)? {
//!     println!("{name}: {:.1} dB", psnr(&xray, &codec.decode(&latent)?));
//! }
//! println!("{:.1} times as far from chest X-rays as 99 % of them", codec.ood_score(&latent)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod convolution;
mod dicom;
mod direct;
mod frame;
mod grey;
mod groups;
mod image_error;
mod jpeg;
mod jpeg2000;
mod jpeg_extended;
mod jpeg_ls;
mod jpeg_segment;
mod latent;
mod latent_file;
mod network;
mod picture;
mod planes;
mod quality;
mod range;
mod resample;
mod rle;
mod safetensors;
mod tiff;
mod weights;
mod winograd;
mod xray;

pub use codec::Codec;
pub use dicom::DicomIdentity;
pub use grey::ImageNote;
pub use image_error::{DicomError, ImageError};
pub use latent::{CodeIndices, Latent, LatentError};
pub use latent_file::{LatentFile, LatentFileError, StoredLatent};
pub use quality::{psnr, ssim};
pub use safetensors::SafetensorsError;
pub use weights::CodecError;
pub use xray::{SIDE, Xray};
