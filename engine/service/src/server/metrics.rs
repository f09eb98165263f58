//! Figures for Prometheus. None of them distinguishes clients.

use crate::problem::Code;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

/// Shortest time of a histogram in seconds; each bucket doubles it.
const SHORTEST: f64 = 0.004;
/// Buckets of a histogram of times.
const BUCKETS: u16 = 18;

/// All figures.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) queued: Gauge,
    pub(super) sessions: Gauge,
    pub(super) loads: Counter,
    pub(super) evictions: Counter,
    pub(super) connections: Gauge,
    pub(super) key_bytes: Gauge,
    responses: Family<Labels, Counter>,
    refusals: Family<Refusal, Counter>,
    replays: Counter,
    groups: Family<OnDevice, Counter>,
    device_seconds: Family<OnDevice, Histogram, fn() -> Histogram>,
    request_seconds: Histogram,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refusal {
    code: String,
}

/// Number of a device, in the order of the command line.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OnDevice {
    device: u64,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(SHORTEST, 2.0, BUCKETS))
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("pleura"),
            queued: Gauge::default(),
            sessions: Gauge::default(),
            loads: Counter::default(),
            evictions: Counter::default(),
            connections: Gauge::default(),
            key_bytes: Gauge::default(),
            responses: Family::default(),
            refusals: Family::default(),
            replays: Counter::default(),
            groups: Family::default(),
            device_seconds: Family::new_with_constructor(seconds),
            request_seconds: seconds(),
        };
        let registry = &mut metrics.registry;
        registry.register("queued_requests", "Requests that wait for a device", metrics.queued.clone());
        registry.register("sessions", "Sessions whose keys are on a device", metrics.sessions.clone());
        registry.register("key_loads", "Keys brought to a device", metrics.loads.clone());
        registry.register("key_evictions", "Keys that made room for others", metrics.evictions.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("stored_key_bytes", "Bytes of stored keys", metrics.key_bytes.clone());
        registry.register("responses", "Responses by route and status", metrics.responses.clone());
        registry.register("refusals", "Refusals by code", metrics.refusals.clone());
        registry.register("replays", "Results that were computed before", metrics.replays.clone());
        registry.register(
            "ciphertext_groups",
            "Ciphertext groups that were computed",
            metrics.groups.clone(),
        );
        registry.register("device_seconds", "Seconds of a call of a device", metrics.device_seconds.clone());
        registry.register(
            "request_seconds",
            "Seconds of a request for inference",
            metrics.request_seconds.clone(),
        );
        metrics
    }

    pub(super) fn observe_call(&self, device: usize, groups: usize, time: Duration) {
        let label = OnDevice { device: device as u64 };
        self.groups.get_or_create(&label).inc_by(groups as u64);
        self.device_seconds.get_or_create(&label).observe(time.as_secs_f64());
    }

    pub(super) fn observe_request(&self, time: Duration) {
        self.request_seconds.observe(time.as_secs_f64());
    }

    pub(super) fn respond(&self, route: &str, status: u16) {
        self.responses.get_or_create(&Labels { route: route.to_owned(), status }).inc();
    }

    pub(super) fn refuse(&self, code: Code) {
        let code = serde_json::to_value(code).ok().and_then(|name| Some(name.as_str()?.to_owned()));
        self.refusals.get_or_create(&Refusal { code: code.unwrap_or_else(|| "unnamed".to_owned()) }).inc();
    }

    pub(super) fn replay(&self) {
        self.replays.inc();
    }

    /// All figures as text.
    pub(super) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
