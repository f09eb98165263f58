//! Benchmarks: times of operations and networks on devices, with digests of their results, which are equal on all
//! devices for equal operands.

mod network;
mod operations;
mod record;
mod times;

pub use network::NetworkBench;
pub use operations::{BenchError, Measured, OPERATIONS, Operands, Operations, PARAMETER_SETS};
pub use record::{
    Bytes, ClientTimes, DeviceRecord, LayerRecord, Measurement, NetworkMeasurement, NetworkRecord,
    OperationRecord, Parameters, Record, RecordError,
};
pub use times::Times;
