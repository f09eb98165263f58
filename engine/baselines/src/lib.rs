//! Two published schemes for learning on hidden images, with the attacks that break them, and the sound use of the second.
//!
//! # Mathematics
//! **Metamorphosed learning** ([`mole`]; Onesimu and Karthikeyan 2021, by the method of Shen, Liu, Chen, Li, arXiv 1809.09968 and 1909.07632). An
//! image is a row `x` of `D` numbers, a convolution a matrix `C_r` that `x` is multiplied by. The provider sends `t = x M` with a
//! secret random matrix `M`, and once `C_ac = M^-1 C_r` with its channels in a secret order: `t C_ac = x C_r`, exactly. But both are linear, and
//! the developer knows `C_r`. The row space of a few columns of `C_ac` does not depend on `M`, so its leverage scores give the order away
//! ([`mole::Developer`]), then a pseudo-inverse gives `M^-1`; and pairs of known images give `M` alone ([`mole::KnownPlaintext`]).
//!
//! **Paillier's cryptosystem** ([`paillier`]; Paillier 1999). For `n = p q`, `c = (1 + n)^m r^n mod n^2` hides `m` as long as `r` is fresh and `n` is not
//! factored; the product of ciphertexts opens to the sum of plaintexts. As published for images (Boulila, Ammar, Benjdira, Koubaa, arXiv
//! 2203.07728) each pixel is encrypted, stored as a grey level, and a network is trained on the result. With fresh randomness the
//! stored picture is independent of the image. With shared randomness it is a substitution of grey levels, determined by two real
//! numbers: `c` is affine in `m` ([`leak::affine`]). **Accuracy above chance on ciphertexts alone distinguishes ciphertexts, so
//! such a scheme is not IND-CPA**, and [`leak`] measures it: information, pictures, labels. A linear layer on encrypted features
//! is sound: [`paillier::LinearScore`].
//!
//! ```
//! use ndarray::array;
//! use pleura_baselines::mole::{AugConv, Developer, FirstLayer, LayerShape, MorphKey, Padding, unshuffled};
//! use pleura_baselines::paillier::{LinearScore, SecretKey};
//!
//! // Morphed images through the augmented convolution, as the plain layer would have it.
//! let shape = LayerShape { channels: 1, side: 8, filters: 16, kernel: 3, stride: 1, pad: 1, padding: Padding::Morphed };
//! let weights = (0..16 * 9).map(|k| f64::from(k * k % 31) - 15.0).collect();
//! let (layer, key) = (FirstLayer::new(shape, weights)?, MorphKey::generate(&shape, 1)?);
//! let image: Vec<f64> = (0..64).map(|k| f64::from(k % 7)).collect();
//! let morphed = key.morpher().morph(&image)?;
//! let augmented = AugConv::new(&key, &layer)?;
//! let result = unshuffled(key.order(), &augmented.apply(&morphed)?)?;
//! assert!(result.iter().zip(layer.apply(&image)?).all(|(a, b)| (a - b).abs() < 1e-6));
//!
//! // The layer and the augmented convolution together reveal the image.
//! let recovered = Developer::attack(&layer, &augmented)?.recover(&morphed)?;
//! assert!(recovered.iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-6));
//!
//! // A linear layer on encrypted features (a real key has 2048 bits or more).
//! let secret = SecretKey::generate_insecure(512)?;
//! let layer = LinearScore::new(array![[0.5, -1.0]].view(), array![0.25].view(), 8.0, 8, 8)?;
//! let sent = layer.quantized().encrypt(secret.public(), array![[2.0, 3.0]].view())?;
//! let scores = layer.evaluate(secret.public(), &sent)?;
//! assert_eq!(layer.quantized().decrypt(&secret, &scores, 1)?, array![[-1.75]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dense;
pub mod leak;
pub mod mole;
pub mod paillier;
mod pictures;
mod quality;
mod random;
mod real;
mod sealed;
mod stopwatch;

pub use pictures::{before_enlarging, enlarged, reduced};
pub use quality::{pixels, psnr};
pub use random::NoEntropy;
pub use real::Real;
