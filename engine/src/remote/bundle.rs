//! Client bundle: everything that a client needs, and no weights of the network.

use super::error::RemoteError;
use pleura_ckks::wire::{self, ObjectKind};
use pleura_nn::{ClientSpec, ScoreTransform};
use pleura_xray::{Classes, Classifier, Preprocessing, Recipe};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Bytes of a digest.
const DIGEST: usize = 32;
/// Most items that share ciphertexts: one for each slot of the largest ring.
const MAX_GROUP: usize = 1 << 17;

/// Client specification, and what a client's inputs and results mean. It holds no weights of the network; a codec
/// that prepares inputs is named, and part of every build.
#[derive(Clone, Debug)]
pub struct ClientBundle {
    spec: Arc<ClientSpec>,
    task: Task,
    digest: [u8; DIGEST],
}

/// Meaning of inputs and results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Arrays of numbers, whose scores [`Metadata::scores`](pleura_nn::Metadata::scores) transforms.
    Tensor,
    /// X-rays and their classes.
    Xray(XrayTask),
}

/// X-rays: the preparation of images, and the classes of scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XrayTask {
    recipe: Recipe,
    classes: Classes,
}

impl ClientBundle {
    /// The bundle of a network that takes arrays.
    ///
    /// # Errors
    /// [`RemoteError::Spec`], for a bug of the serializer
    pub fn tensor(spec: impl Into<Arc<ClientSpec>>) -> Result<Self, RemoteError> {
        Self::sealed(spec.into(), Task::Tensor)
    }

    /// The bundle of a plan of [`Classifier::network`].
    ///
    /// # Errors
    /// [`RemoteError::Bundle`] if the plan is not of that network
    pub fn xray(spec: impl Into<Arc<ClientSpec>>, classifier: &Classifier) -> Result<Self, RemoteError> {
        let recipe = classifier.preprocessing().recipe();
        let task = XrayTask { recipe, classes: classifier.class_scores().clone() };
        Self::sealed(spec.into(), Task::Xray(task))
    }

    /// The client specification.
    pub fn spec(&self) -> &Arc<ClientSpec> {
        &self.spec
    }

    /// Meaning of inputs and results.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// SHA-256 of the bundle, which keys and ciphertexts name as the bundle they belong to.
    pub fn digest(&self) -> &[u8; DIGEST] {
        &self.digest
    }

    /// Number of items that share ciphertexts.
    pub fn group(&self) -> usize {
        self.spec.items()
    }

    /// Whether inputs are arrays of numbers.
    pub fn takes_arrays(&self) -> bool {
        matches!(self.task, Task::Tensor)
    }

    /// Shape of one item.
    pub fn item_shape(&self) -> Vec<usize> {
        self.spec.input_shape().to_vec()
    }

    /// Shape of the scores of one item.
    pub fn score_shape(&self) -> Vec<usize> {
        self.spec.output_shape().to_vec()
    }

    /// Function that the client applies to the decrypted scores of each item.
    pub fn scores(&self) -> ScoreTransform {
        self.spec.metadata().scores
    }

    /// The preparation of X-rays, which a client needs to encrypt and not to decrypt; none for arrays.
    ///
    /// # Errors
    /// [`RemoteError::Xray`] if this build has no such codec, [`RemoteError::Bundle`] if it makes inputs of another
    /// shape
    pub fn preprocessing(&self) -> Result<Option<Preprocessing>, RemoteError> {
        let Task::Xray(task) = &self.task else { return Ok(None) };
        let preprocessing = Preprocessing::from_recipe(&task.recipe)?;
        if self.item_shape() == preprocessing.shape() {
            return Ok(Some(preprocessing));
        }
        Err(RemoteError::Bundle { what: "the shape of latents" })
    }

    /// The bundle as bytes.
    ///
    /// # Errors
    /// [`RemoteError::Spec`], [`RemoteError::Internal`], for a bug of the serializer
    pub fn to_bytes(&self) -> Result<Vec<u8>, RemoteError> {
        let spec = self.spec.to_bytes()?;
        let task =
            postcard::to_allocvec(&self.task).map_err(|_| RemoteError::Internal("a task has no bytes"))?;
        let body = [&(spec.len() as u64).to_le_bytes()[..], &spec, &task].concat();
        let mut bytes = wire::seal(ObjectKind::ClientBundle, self.spec.params(), &body);
        bytes.extend(Sha256::digest(&bytes));
        Ok(bytes)
    }

    /// Reads a bundle, which may come from a stranger.
    ///
    /// # Errors
    /// [`RemoteError::Wire`], [`RemoteError::Digest`], [`RemoteError::Spec`], [`RemoteError::Bundle`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RemoteError> {
        // Bytes of another kind are named before they are called damaged.
        wire::open(ObjectKind::ClientBundle, bytes)?;
        let (content, digest) = bytes.split_last_chunk::<DIGEST>().ok_or(RemoteError::Digest)?;
        if Sha256::digest(content)[..] != digest[..] {
            return Err(RemoteError::Digest);
        }
        let opened = wire::open(ObjectKind::ClientBundle, content)?;
        let invalid = RemoteError::Bundle { what: "the description" };
        let Some((spec, task)) = split_sized(opened.body) else { return Err(invalid) };
        let task = match postcard::take_from_bytes(task) {
            Ok((task, [])) => task,
            _ => return Err(invalid),
        };
        let spec = ClientSpec::from_bytes(spec)?;
        if opened.params_hash != *spec.params().hash() {
            return Err(RemoteError::Bundle { what: "the header" });
        }
        let bundle = Self { spec: Arc::new(spec), task, digest: *digest };
        bundle.check()?;
        Ok(bundle)
    }

    /// Number of results of one item.
    pub(super) fn item_outputs(&self) -> usize {
        self.spec.output_shape().iter().product()
    }

    fn sealed(spec: Arc<ClientSpec>, task: Task) -> Result<Self, RemoteError> {
        let mut bundle = Self { spec, task, digest: [0; DIGEST] };
        bundle.check()?;
        let bytes = bundle.to_bytes()?;
        let (_, digest) = bytes.split_last_chunk().ok_or(RemoteError::Internal("a bundle has no digest"))?;
        bundle.digest = *digest;
        Ok(bundle)
    }

    fn check(&self) -> Result<(), RemoteError> {
        if !(1..=MAX_GROUP).contains(&self.group()) {
            return Err(RemoteError::Bundle { what: "the number of items that share ciphertexts" });
        }
        let Task::Xray(XrayTask { recipe, classes }) = &self.task else { return Ok(()) };
        if let &Recipe::Pixels { side, .. } = recipe
            && self.item_shape() != [1, side, side]
        {
            return Err(RemoteError::Bundle { what: "the shape of images" });
        }
        if classes.fit(self.item_outputs()) {
            Ok(())
        } else {
            Err(RemoteError::Bundle { what: "a class name" })
        }
    }
}

impl XrayTask {
    /// The classes of scores.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Description of the preparation of images.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }
}

/// Bytes that follow their length, and the rest.
fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<8>()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)
}
