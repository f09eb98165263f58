//! Bodies of requests, read within limits of length and time.

use super::Limits;
use crate::problem::{Code, Problem};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Fewest bytes in a second of a sender or receiver.
pub(super) const SLOWEST: u64 = 16 << 10;
/// Longest time for a body; clocks do not reach much further than limits may be set.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A body that is read piece by piece.
pub(super) struct Incoming {
    body: Body,
    /// Bytes that the header promised.
    pub(super) length: u64,
    left: u64,
    idle: Duration,
    deadline: Instant,
}

impl Incoming {
    /// Checks the length before anything is read.
    pub(super) fn new(headers: &HeaderMap, body: Body, max: u64, limits: &Limits) -> Result<Self, Problem> {
        let length = headers.get(header::CONTENT_LENGTH).ok_or_else(|| {
            Problem::new(
                Code::LengthRequired,
                "the header Content-Length says how many bytes follow, and is missing",
            )
        })?;
        let length = length.to_str().ok().and_then(|length| length.parse::<u64>().ok());
        let length =
            length.ok_or_else(|| Problem::new(Code::BadRequest, "Content-Length is not a number"))?;
        if length > max {
            let detail = format!("the body has {length} bytes, and at most {max} are taken here");
            return Err(Problem::new(Code::TooLarge, detail));
        }
        let idle = limits.idle;
        let time = idle.saturating_add(Duration::from_secs(length / SLOWEST)).min(LONGEST);
        Ok(Self { body, length, left: length, idle, deadline: Instant::now() + time })
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = timeout_at(self.deadline, timeout(self.idle, self.body.frame())).await;
            let Ok(Ok(frame)) = frame else {
                return Err(Problem::new(
                    Code::TooSlow,
                    "the body came too slowly: send it again, or in smaller parts",
                ));
            };
            let Some(frame) = frame else {
                return if self.left == 0 { Ok(None) } else { Err(cut()) };
            };
            let Ok(data) = frame.map_err(|_| cut())?.into_data() else { continue };
            self.left = self.left.checked_sub(data.len() as u64).ok_or_else(cut)?;
            return Ok(Some(data));
        }
    }

    /// The whole body; memory grows with what arrives.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        while let Some(data) = self.next().await? {
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

fn cut() -> Problem {
    Problem::new(Code::BadRequest, "the body has another length than its header says")
}
