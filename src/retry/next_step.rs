//! What a worker does before it starts a post, decided from everything that stops or delays it.

use std::time::Duration;

/// What decides whether the next post may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Readiness {
    /// The platform is skipped, its circuit breaker is open, or the process has received a stop signal.
    pub(super) is_stopped: bool,
    /// `--limit` leaves none to start.
    pub(super) is_limit_used_up: bool,
    /// How long posts may still be started; none without a limit.
    pub(super) time_left: Option<Duration>,
    pub(super) in_flight: usize,
    pub(super) concurrency: usize,
    /// Whether the platform has accepted the account's credentials.
    pub(super) is_probed: bool,
    /// How long until the gap lets the post start; zero for one that needs no new ticket.
    pub(super) delay: Duration,
}

/// What a worker does before it starts a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextStep {
    Start,
    /// Neither this post nor any after it is started.
    Skip,
    AwaitAttempt,
    /// Until an attempt has ended or the platform has accepted the credentials.
    AwaitProbe,
    /// Until an attempt has ended or the gap is over.
    AwaitGap(Duration),
}

/// What the worker does now.
pub(super) fn next_step(now: Readiness) -> NextStep {
    if now.is_stopped || now.time_left.is_some_and(|left| left.is_zero()) {
        return NextStep::Skip;
    }
    // An attempt in flight may turn out not to have been one, and give its place back.
    if now.is_limit_used_up {
        return if now.in_flight == 0 { NextStep::Skip } else { NextStep::AwaitAttempt };
    }
    if now.in_flight >= now.concurrency {
        return NextStep::AwaitAttempt;
    }
    if now.in_flight > 0 && !now.is_probed {
        return NextStep::AwaitProbe;
    }
    match now.delay {
        delay if delay.is_zero() => NextStep::Start,
        // The gap outlasts the pass: what waits for it is not started any more.
        delay if now.time_left.is_some_and(|left| left <= delay) => NextStep::Skip,
        delay => NextStep::AwaitGap(delay),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Readiness = Readiness {
        is_stopped: false,
        is_limit_used_up: false,
        time_left: None,
        in_flight: 0,
        concurrency: 4,
        is_probed: true,
        delay: Duration::ZERO,
    };

    #[test]
    fn a_post_starts_when_nothing_stops_or_delays_it() {
        let seconds = Duration::from_secs;
        for (readiness, step) in [
            (FREE, NextStep::Start),
            (Readiness { is_stopped: true, ..FREE }, NextStep::Skip),
            (Readiness { time_left: Some(Duration::ZERO), ..FREE }, NextStep::Skip),
            (Readiness { time_left: Some(seconds(1)), ..FREE }, NextStep::Start),
            (Readiness { is_limit_used_up: true, ..FREE }, NextStep::Skip),
            (Readiness { is_limit_used_up: true, in_flight: 1, ..FREE }, NextStep::AwaitAttempt),
            (Readiness { in_flight: 4, ..FREE }, NextStep::AwaitAttempt),
            (Readiness { in_flight: 3, ..FREE }, NextStep::Start),
            (Readiness { in_flight: 1, is_probed: false, ..FREE }, NextStep::AwaitProbe),
            (Readiness { is_probed: false, ..FREE }, NextStep::Start),
            (Readiness { delay: seconds(9), ..FREE }, NextStep::AwaitGap(seconds(9))),
            (Readiness { delay: seconds(9), is_limit_used_up: true, ..FREE }, NextStep::Skip),
            (Readiness { delay: seconds(9), time_left: Some(seconds(9)), ..FREE }, NextStep::Skip),
            (Readiness { delay: seconds(9), time_left: Some(seconds(10)), ..FREE }, NextStep::AwaitGap(seconds(9))),
        ] {
            assert_eq!(next_step(readiness), step, "{readiness:?}");
        }
    }
}
