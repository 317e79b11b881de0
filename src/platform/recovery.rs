//! Finding a published post in the account's own list, when its ticket can no longer tell.

use chrono::TimeDelta;

use super::{AttemptAborted, PublishContext};

/// How far the clocks of the store and of a platform may be apart when a post is searched for by its time.
pub(super) const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(5);

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
