//! Finding a published post in the account's own list, when its ticket can no longer tell.
#![warn(clippy::arithmetic_side_effects)]

use chrono::{DateTime, TimeDelta, Utc};

use super::{AttemptAborted, PublishContext};

/// How far the clocks of the store and of a platform may be apart when a post is searched for by its time.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

/// The earliest time, by the platform's clock, of what happened at `at`. The time of a stored ticket may be at the end
/// of all times.
pub(super) fn slack_before(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_sub_signed(CLOCK_SLACK).unwrap_or(at)
}

/// The latest one.
pub(super) fn slack_after(at: DateTime<Utc>) -> DateTime<Utc> {
    at.checked_add_signed(CLOCK_SLACK).unwrap_or(at)
}

/// The one candidate that no post is recorded with; none if there is none, or if there are several.
pub(super) async fn only_unrecorded<T>(
    candidates: impl IntoIterator<Item = (String, T), IntoIter: Send> + Send,
    context: &dyn PublishContext,
) -> Result<Option<(String, T)>, AttemptAborted>
where
    T: Send,
{
    let mut only = None;
    for (id, candidate) in candidates {
        if context.is_recorded(&id).await? {
            continue;
        }
        if only.is_some() {
            return Ok(None);
        }
        only = Some((id, candidate));
    }
    Ok(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_at_the_end_of_all_times_is_searched_for_too() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(slack_before(now).to_rfc3339(), "2026-11-23T09:55:00+00:00");
        assert_eq!(slack_after(now).to_rfc3339(), "2026-11-23T10:05:00+00:00");
        assert_eq!(slack_before(DateTime::<Utc>::MIN_UTC), DateTime::<Utc>::MIN_UTC);
        assert_eq!(slack_after(DateTime::<Utc>::MAX_UTC), DateTime::<Utc>::MAX_UTC);
    }
}
