//! The suite of all backends over the backend that is chosen at run time, and the choice.

use pleura::ring::conformance::check;
use pleura::ring::{Backend, Cpu, Ntt, Ring, primes_below};
use pleura::{Device, DeviceError, DeviceKind, DeviceNote, DeviceSelector, GpuOptions};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn the_processor_conforms() {
    for threads in [1, 2] {
        let device = Device::cpu(Some(threads));
        let report = check(&[4, 10, 12], |ring| device.backend(&ring)).unwrap();
        assert_eq!(report.device, device.name());
        assert!(report.results.len() == 22 && report.words > 10_000_000, "{report:?}");
    }
}

#[test]
fn every_gpu_conforms() {
    // Opens all of them, and says so where there is none.
    for (number, adapter) in crate::common::devices(&GpuOptions::default()).iter().enumerate() {
        let device = Device::gpu(DeviceSelector::Number(number), &GpuOptions::default()).unwrap();
        let report = check(&[4, 10, 14], |ring| device.backend(&ring)).unwrap();
        assert_eq!(report.device, device.name());
        assert!(report.results.iter().all(|(_, results)| *results > 0), "{report:?}");
        assert_eq!(device.kind(), DeviceKind::Gpu(adapter.info().kind));
        assert_eq!(device.selector(), DeviceSelector::Number(number));
        assert!(device.peak_memory_bytes().unwrap() > 0);
        assert_eq!(device.notes(), []);
        // A ring that is too small for a GPU is an error where the GPU was asked for.
        let refused = device.backend(&small_ring(3)).err();
        assert!(matches!(refused, Some(DeviceError::Gpu(_))), "{refused:?}");
    }
}

#[test]
fn the_first_gpu_says_whether_it_is_one_in_software() {
    let gpus = crate::common::devices(&GpuOptions::default());
    match Device::gpu(DeviceSelector::Gpu, &GpuOptions::default()) {
        Ok(device) => {
            let DeviceKind::Gpu(kind) = device.kind() else { panic!("{device:?}") };
            let software = kind == pleura::gpu::Kind::Software;
            let said = matches!(device.notes().as_slice(), [DeviceNote::SoftwareGpu { .. }]);
            assert_eq!((said, device.notes().len()), (software, usize::from(software)));
        }
        Err(error) => assert!(gpus.is_empty() && matches!(error, DeviceError::NoGpu { .. }), "{error}"),
    }
    let error = Device::gpu(DeviceSelector::Number(999), &GpuOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with("there is no GPU"), "{error}");
    if !gpus.is_empty() {
        assert!(error.to_string().contains("999; there"), "{error}");
    }
}

#[test]
fn auto_takes_a_real_gpu_or_says_why_not() {
    let device = Device::auto(Some(3), &GpuOptions::default());
    let ring = small_ring(3);
    let backend = device.backend(&ring).unwrap();
    // No GPU computes at so small a degree.
    assert!(!backend.is_gpu() && backend.name() == Device::cpu(Some(3)).name(), "{}", backend.name());
    let notes = device.notes();
    match device.kind() {
        DeviceKind::Cpu => {
            assert!(matches!(notes.last(), Some(DeviceNote::NoGpu { .. } | DeviceNote::NoGpuStarts { .. })));
        }
        DeviceKind::Gpu(_) => assert!(matches!(notes.last(), Some(DeviceNote::RingOnProcessor { .. }))),
    }
    assert!(notes.last().unwrap().to_string().contains("using the processor"));
    // A clone tells the same.
    assert_eq!(device.clone().notes(), notes);
}

#[test]
fn selectors_are_texts() {
    use DeviceSelector::{Auto, Cpu, Gpu, Number};
    for (text, selector) in
        [("auto", Auto), ("cpu", Cpu), ("gpu", Gpu), ("0", Number(0)), ("2", Number(2)), ("10", Number(10))]
    {
        assert_eq!(text.parse(), Ok(selector));
        assert_eq!(selector.to_string(), text);
    }
    for text in ["", "tpu", "-1", "+0", "00", "01", " 1", "1.0", "Cpu"] {
        assert!(text.parse::<DeviceSelector>().is_err(), "{text}");
    }
    let cpu = Device::select(Cpu, Some(2), &GpuOptions::default()).unwrap();
    assert_eq!((cpu.kind(), cpu.selector(), cpu.peak_memory_bytes()), (DeviceKind::Cpu, Cpu, None));
    assert!(cpu.name().starts_with("cpu (") && cpu.name().contains("2 threads"), "{}", cpu.name());
}

#[test]
fn words_are_not_copied_and_a_panic_leaves_the_backend_usable() {
    let ring = small_ring(10);
    let any = Device::cpu(Some(1)).backend(&ring).unwrap();
    let own = Cpu::with(ring.clone(), crate::simd::choose(), 1).unwrap();
    let words: Vec<u32> = (0..ring.words(ring.limbs(), 2) as u32).collect();
    let mut x = any.upload::<Ntt>(ring.limbs(), 2, &words).unwrap();
    let y = any.upload::<Ntt>(ring.limbs(), 1, &words[..words.len() / 2]).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| any.add_assign(&mut x, 2, 1, y.view()))).is_err());
    let mut x = any.upload::<Ntt>(ring.limbs(), 2, &words).unwrap();
    any.add_assign(&mut x, 1, 1, y.view());
    let mut expected = own.upload::<Ntt>(ring.limbs(), 2, &words).unwrap();
    let z = own.upload::<Ntt>(ring.limbs(), 1, &words[..words.len() / 2]).unwrap();
    own.add_assign(&mut expected, 1, 1, z.view());
    assert_eq!(any.download(x.view()).wait().unwrap(), own.download(expected.view()).wait().unwrap());
}

#[test]
fn devices_and_backends_move_into_threads() {
    fn moves<T: Send + Sync + 'static>() {}
    moves::<Device>();
    moves::<pleura::AnyBackend>();
}

fn small_ring(log_n: u32) -> Arc<Ring> {
    let primes = primes_below(30.0, 1 << log_n, 2, &[]).unwrap();
    Arc::new(Ring::new(log_n, &primes, &[]).unwrap())
}
