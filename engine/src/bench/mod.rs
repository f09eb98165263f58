//! Benchmarks: times of operations and networks on devices, with digests of their results, which are equal on all
//! devices for equal operands.

mod facts;
mod network;
mod operations;
mod record;
mod roofline;
mod times;
mod work;

pub use facts::{
    Kernel, Machine, Manifest, ManifestNetwork, ManifestParameters, Parameters, Roofline, SampleScores,
};
pub use network::{Meter, NetworkBench};
pub use operations::{BenchError, Measured, OPERATIONS, Operands, Operations, PARAMETER_SETS};
pub use record::{
    Bytes, ClientTimes, DeviceRecord, LayerRecord, Measurement, NetworkMeasurement, NetworkRecord,
    OperationRecord, Record, RecordError, SCHEMA,
};
pub use roofline::roofline;
pub use times::{NOISE_BOUND, Times};
pub use work::Work;
