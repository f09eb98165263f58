//! Client bundle: everything that a client needs, and no weights of the network.

use super::error::RemoteError;
use ndarray::{ArrayD, IxDyn};
use pleura_ckks::wire::{self, ObjectKind};
use pleura_nn::{ClientSpec, ScoreTransform};
use pleura_xray::{Classes, Classifier, Preprocessing, Recipe};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Bytes of a digest.
const DIGEST: usize = 32;
/// Most X-rays that share ciphertexts.
const MAX_GROUP: usize = 1 << 12;
/// Most axes that a function of scores adds.
const MAX_AXES: usize = 64;

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
    /// Arrays of numbers, of which several share ciphertexts.
    TensorGroup(TensorGroup),
}

/// Arrays of which several share ciphertexts, side by side along the first axis of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorGroup {
    group: usize,
    /// Function of the scores of each array; that of the specification would mix the arrays of a group.
    scores: ScoreTransform,
}

/// X-rays: the preparation of images, the classes of scores, and how many X-rays share ciphertexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct XrayTask {
    recipe: Recipe,
    classes: Classes,
    group: usize,
}

impl ClientBundle {
    /// The bundle of a network that takes arrays.
    ///
    /// # Errors
    /// [`RemoteError::Spec`], for a bug of the serializer
    pub fn tensor(spec: impl Into<Arc<ClientSpec>>) -> Result<Self, RemoteError> {
        Self::sealed(spec.into(), Task::Tensor)
    }

    /// The bundle of a plan of [`Network::side_by_side`](pleura_nn::Network::side_by_side) for `group` arrays; `scores`
    /// is applied to the scores of each. One array alone has the scores of the specification.
    ///
    /// # Errors
    /// [`RemoteError::Bundle`] if the plan is not of that network
    pub fn tensors(
        spec: impl Into<Arc<ClientSpec>>,
        group: usize,
        scores: ScoreTransform,
    ) -> Result<Self, RemoteError> {
        match group {
            1 => Self::tensor(spec),
            _ => Self::sealed(spec.into(), Task::TensorGroup(TensorGroup { group, scores })),
        }
    }

    /// The bundle of a plan of [`Classifier::grouped_network`] for `group` X-rays.
    ///
    /// # Errors
    /// [`RemoteError::Bundle`] if the plan is not of that network
    pub fn xray(
        spec: impl Into<Arc<ClientSpec>>,
        classifier: &Classifier,
        group: usize,
    ) -> Result<Self, RemoteError> {
        let recipe = classifier.preprocessing().recipe();
        let task = XrayTask { recipe, classes: classifier.class_scores().clone(), group };
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
        match &self.task {
            Task::Tensor => 1,
            Task::Xray(task) => task.group,
            Task::TensorGroup(task) => task.group,
        }
    }

    /// Whether inputs are arrays of numbers.
    pub fn takes_arrays(&self) -> bool {
        matches!(self.task, Task::Tensor | Task::TensorGroup(_))
    }

    /// Shape of one item.
    pub fn item_shape(&self) -> Vec<usize> {
        self.item_part(self.spec.input_shape())
    }

    /// Shape of the scores of one item.
    pub fn score_shape(&self) -> Vec<usize> {
        self.item_part(self.spec.output_shape())
    }

    /// Function that the client applies to the decrypted scores of each item.
    pub fn scores(&self) -> ScoreTransform {
        match &self.task {
            Task::TensorGroup(task) => task.scores,
            _ => self.spec.metadata().scores,
        }
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

    /// The input `[1, ..input shape]` of the network for a group of items: their values one after the other, then zeros.
    ///
    /// # Errors
    /// [`RemoteError::Internal`] if there are more values than a group has
    pub fn pack(&self, items: &[ArrayD<f64>]) -> Result<ArrayD<f64>, RemoteError> {
        let shape: Vec<usize> = std::iter::once(1).chain(self.spec.input_shape().iter().copied()).collect();
        let mut values: Vec<f64> = items.iter().flatten().copied().collect();
        values.resize(shape.iter().product(), 0.0);
        ArrayD::from_shape_vec(IxDyn(&shape), values)
            .map_err(|_| RemoteError::Internal("a group has other elements than its shape"))
    }

    /// Number of results of one item.
    pub(super) fn item_outputs(&self) -> usize {
        self.spec.output_shape().iter().product::<usize>() / self.group()
    }

    fn sealed(spec: Arc<ClientSpec>, task: Task) -> Result<Self, RemoteError> {
        let mut bundle = Self { spec, task, digest: [0; DIGEST] };
        bundle.check()?;
        let bytes = bundle.to_bytes()?;
        let (_, digest) = bytes.split_last_chunk().ok_or(RemoteError::Internal("a bundle has no digest"))?;
        bundle.digest = *digest;
        Ok(bundle)
    }

    /// Part of a shape that belongs to one item of a group.
    fn item_part(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if let Some(first) = shape.first_mut() {
            *first /= self.group();
        }
        shape
    }

    fn check(&self) -> Result<(), RemoteError> {
        for scores in [self.scores(), self.spec.metadata().scores] {
            if let ScoreTransform::ArgMax { axes, .. } = scores
                && axes > MAX_AXES
            {
                return Err(RemoteError::Bundle { what: "the function of scores" });
            }
        }
        let group = self.group();
        if !(1..=MAX_GROUP).contains(&group) {
            return Err(RemoteError::Bundle { what: "the number of items that share ciphertexts" });
        }
        let divides =
            |shape: &[usize]| group == 1 || shape.first().is_some_and(|first| first.is_multiple_of(group));
        let outputs = self.spec.output_shape().iter().product::<usize>();
        if !divides(self.spec.input_shape()) || !outputs.is_multiple_of(group) {
            return Err(RemoteError::Bundle { what: "the shape of inputs or results" });
        }
        let Task::Xray(XrayTask { recipe, classes, .. }) = &self.task else { return Ok(()) };
        if let &Recipe::Pixels { side, .. } = recipe
            && self.item_shape() != [1, side, side]
        {
            return Err(RemoteError::Bundle { what: "the shape of images" });
        }
        if classes.fit(outputs / group) { Ok(()) } else { Err(RemoteError::Bundle { what: "a class name" }) }
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
