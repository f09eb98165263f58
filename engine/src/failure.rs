//! Failures of a device inside the errors of everything that computes on it.

use crate::bench::BenchError;
use crate::device::DeviceError;
use crate::remote::RemoteError;
use crate::server::PipelineError;
use crate::xray::ClassifyError;
use pleura_ckks::EvalError;
use pleura_gpu::GpuError;
use pleura_nn::InferenceError;
use pleura_ring::BackendError;
use std::error::Error;

/// The failure of the device that an error of this crate reports, such as a lack of memory; none if something else
/// failed. It is not in the chain of sources, since errors that wrap it are transparent.
pub fn backend_failure<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a BackendError> {
    let direct = error.downcast_ref().or_else(|| error.downcast_ref().and_then(of_evaluation));
    direct
        .or_else(|| error.downcast_ref().and_then(of_inference))
        .or_else(|| error.downcast_ref().and_then(of_gpu))
        .or_else(|| error.downcast_ref().and_then(of_device))
        .or_else(|| error.downcast_ref().and_then(of_pipeline))
        .or_else(|| match error.downcast_ref()? {
            ClassifyError::Pipeline(error) => of_pipeline(error),
            ClassifyError::Inference(error) => of_inference(error),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            BenchError::Device(error) => of_device(error),
            BenchError::Eval(error) => of_evaluation(error),
            _ => None,
        })
        .or_else(|| match error.downcast_ref()? {
            RemoteError::Inference(error) => of_inference(error),
            _ => None,
        })
}

/// Whether an error of this crate reports that there is no GPU, or that it does not start.
pub fn is_missing_gpu(error: &(dyn Error + 'static)) -> bool {
    let device = error.downcast_ref().or_else(|| match error.downcast_ref()? {
        PipelineError::Device(error) => Some(error),
        _ => None,
    });
    matches!(device, Some(DeviceError::Gpu(_) | DeviceError::NoGpu { .. }))
}

fn of_pipeline(error: &PipelineError) -> Option<&BackendError> {
    match error {
        PipelineError::Device(error) => of_device(error),
        PipelineError::Inference(error) => of_inference(error),
    }
}

fn of_device(error: &DeviceError) -> Option<&BackendError> {
    if let DeviceError::Gpu(error) = error { of_gpu(error) } else { None }
}

fn of_gpu(error: &GpuError) -> Option<&BackendError> {
    if let GpuError::Backend(error) = error { Some(error) } else { None }
}

fn of_inference(error: &InferenceError) -> Option<&BackendError> {
    if let InferenceError::Eval(error) = error { of_evaluation(error) } else { None }
}

fn of_evaluation(error: &EvalError) -> Option<&BackendError> {
    if let EvalError::Backend(error) = error { Some(error) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_found_in_every_error() {
        let lost = || BackendError::DeviceLost { reason: "it hung".into() };
        let inference = || InferenceError::from(EvalError::from(lost()));
        let errors: [Box<dyn Error>; 7] = [
            Box::new(lost()),
            Box::new(inference()),
            Box::new(GpuError::Backend(lost())),
            Box::new(DeviceError::from(GpuError::Backend(lost()))),
            Box::new(PipelineError::from(inference())),
            Box::new(ClassifyError::from(PipelineError::from(inference()))),
            Box::new(BenchError::from(EvalError::from(lost()))),
        ];
        for error in errors {
            assert_eq!(backend_failure(&*error), Some(&lost()), "{error}");
        }
        let other = std::io::Error::other("the disk is gone");
        assert!(backend_failure(&other).is_none() && !is_missing_gpu(&other));
        assert!(is_missing_gpu(&DeviceError::NoGpu { diagnosis: None }));
    }
}
