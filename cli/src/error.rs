//! Failures that decide more than their sentence: the advice that follows them.

use crate::text::{bytes_text, size_text};
use pleura::ckks::BackendError;
use pleura::onnx::{ImportError, Problem};
use pleura::xray::XrayError;
use pleura::{backend_failure, is_missing_gpu};
#[cfg(feature = "service")]
use pleura_service::{client::ClientError, problem::Code};

/// A GPU that has no room for a buffer.
#[derive(Debug, thiserror::Error)]
#[error("the GPU has no room for {} more{}", bytes_text(*bytes as u64),
    limit.map_or_else(|| ": its memory is full".to_owned(), |limit| format!(" in the {} of --gpu-memory", size_text(limit))))]
pub(crate) struct GpuFull {
    bytes: usize,
    /// Bytes that `--gpu-memory` allows, where it is given.
    limit: Option<u64>,
}

/// Adds the limit of `--gpu-memory` to an error about lack of memory.
pub(crate) fn on_gpu(error: anyhow::Error, limit: Option<u64>) -> anyhow::Error {
    match of_device(&error) {
        Some(BackendError::OutOfMemory { bytes }) => GpuFull { bytes: *bytes, limit }.into(),
        _ => error,
    }
}

/// Advice on an error whose sentence has none.
pub(crate) fn advice(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(import) = error.downcast_ref() {
        return import_advice(import);
    }
    #[cfg(feature = "service")]
    if let Some(client) = error.downcast_ref() {
        return client_advice(client);
    }
    match (error.downcast_ref(), of_device(error)) {
        (Some(GpuFull { limit: Some(_), .. }), _) => {
            Some("a larger --gpu-memory may do, and --device cpu computes on the processor")
        }
        (Some(GpuFull { limit: None, .. }), _) => Some(
            "with --gpu-memory SIZE, of less than it has, keys and weights are brought there as they are needed; --device cpu \
             computes on the processor",
        ),
        (_, Some(BackendError::DeviceLost { .. })) => Some(
            "nothing is left half-written; if trying again does not help, another program may need the GPU's memory \
             (--gpu-memory SIZE uses less) or its driver may be at fault (`pleura devices` checks it), and --device cpu \
             computes on the processor",
        ),
        (_, None) if matches!(error.downcast_ref(), Some(XrayError::Input { .. })) => {
            Some("`pleura run` runs any network")
        }
        (_, None) if matches!(error.downcast_ref(), Some(XrayError::PixelScaling { .. })) => Some(
            "`classify --pixel-scaling` says it: unit (0 to 1), signed (-1 to 1), xrv (-1024 to 1024) or MEAN,DEVIATION, as in the \
             code that trained the network; so does an entry pleura.pixel_scaling in the file's metadata_props",
        ),
        (_, None) if error.chain().any(is_missing_gpu) => {
            Some("--device cpu computes on the processor, and `pleura devices` lists all devices")
        }
        _ => None,
    }
}

/// The flag that may be wrong where a request fails.
#[cfg(feature = "service")]
fn client_advice(error: &ClientError) -> Option<&'static str> {
    match error {
        ClientError::Network(network) if network.to_string().contains("certificate") => Some(
            "--ca FILE names the server's own certificate or that of its authority, and --server has the host that the \
             certificate is for",
        ),
        ClientError::Network(_) => Some("--server names host and port of a running `pleura serve`"),
        ClientError::Authorities => Some("--ca names the file"),
        ClientError::Token => Some("--token-file names the file"),
        ClientError::Refused(problem) if problem.code == Code::Unauthorized => Some(
            "--token-file names the file of a token that the server's operator made by `pleura serve --new-token NAME`",
        ),
        ClientError::OtherSigner { .. } => {
            Some("--signer names the key that is expected, or else the server does")
        }
        _ => None,
    }
}

/// The flag that sets the option which an error of the import names.
fn import_advice(error: &ImportError) -> Option<&'static str> {
    match error {
        ImportError::SeveralOutputs { .. } | ImportError::UnknownOutput { .. } => {
            Some("--output-name NAME sets the output")
        }
        _ => match error.problem()? {
            Problem::Activation { .. } => Some("--fit DEGREE puts a polynomial in place of the activation"),
            Problem::Kernel { .. }
            | Problem::InputShapeMissing
            | Problem::InputAxisOpen
            | Problem::InputShape { .. } => Some("--input-shape C,H,W sets the shape of an item"),
            _ => None,
        },
    }
}

/// The device's part of an error.
fn of_device(error: &anyhow::Error) -> Option<&BackendError> {
    error.chain().find_map(backend_failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::chain;
    use anyhow::anyhow;
    use pleura::ckks::EvalError;
    use pleura::gpu::GpuError;
    use pleura::nn::Function;
    use pleura::nn::InferenceError;

    #[test]
    fn a_failing_device_comes_with_advice() {
        let lost = || BackendError::DeviceLost { reason: "it hung".into() };
        let wrapped = InferenceError::from(EvalError::from(lost()));
        for error in
            [lost().into(), EvalError::from(lost()).into(), anyhow!(wrapped).context("cannot compute")]
        {
            assert!(chain(&error).ends_with("the device was lost: it hung"), "{error}");
            let text = advice(&error).unwrap();
            assert!(text.contains("--device cpu") && text.contains("half-written"));
        }
        let full = |limit| {
            let error = GpuError::Backend(BackendError::OutOfMemory { bytes: 5 << 20 });
            let error = on_gpu(error.into(), limit);
            (chain(&error), advice(&error).unwrap())
        };
        let (said, text) = full(Some(45_000_000));
        assert_eq!(said, "the GPU has no room for 5.0 MiB more in the 45MB of --gpu-memory");
        assert!(text.contains("a larger --gpu-memory") && text.contains("--device cpu"));
        let (said, text) = full(None);
        assert_eq!(said, "the GPU has no room for 5.0 MiB more: its memory is full");
        assert!(text.contains("--gpu-memory SIZE") && !text.contains("larger"));
        assert!(advice(&anyhow!("something else")).is_none());
    }
    #[test]
    fn errors_of_the_import_come_with_the_flag_that_sets_the_option() {
        let problem = |problem| ImportError::Tensor { tensor: "x".into(), problem };
        let shape = || Problem::InputShape { chosen: vec![3], declared: vec![None] };
        for (error, flag) in [
            (ImportError::SeveralOutputs { names: vec!["a".into(), "b".into()] }, "--output-name"),
            (ImportError::UnknownOutput { chosen: "c".into(), names: vec!["a".into()] }, "--output-name"),
            (problem(Problem::Activation { function: Function::Relu }), "--fit"),
            (problem(Problem::Kernel { reach: 5, extent: 4 }), "--input-shape"),
            (problem(Problem::InputShapeMissing), "--input-shape"),
            (problem(Problem::InputAxisOpen), "--input-shape"),
            (problem(shape()), "--input-shape"),
        ] {
            let said = error.to_string();
            let wrapped = anyhow::Error::from(error).context("cannot import model.onnx");
            let advice = advice(&wrapped).unwrap();
            assert!(advice.contains(flag) && !said.contains("--"), "{said}: {advice}");
        }
        assert!(advice(&ImportError::NoGraph.into()).is_none());
    }
}
