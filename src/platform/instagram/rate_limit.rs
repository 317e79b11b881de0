//! How long a throttled account has to wait (platform sheet, section 8).

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::wire::lenient_items;
use crate::platform::http::lenient;

/// The header that tells it: JSON, keyed by the id of a business.
pub(super) const USAGE_HEADER: &str = "x-business-use-case-usage";

#[derive(Deserialize)]
#[serde(transparent)]
struct Usages(#[serde(deserialize_with = "lenient_items")] Vec<Usage>);

#[derive(Deserialize)]
struct Usage {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    /// In minutes.
    #[serde(default, deserialize_with = "lenient")]
    estimated_time_to_regain_access: Option<i64>,
}

/// When the account may call again: after the longest of the estimates for Instagram.
pub(super) fn regains_access_at(header: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let usages: HashMap<String, Usages> = serde_json::from_str(header).ok()?;
    let minutes = usages
        .into_values()
        .flat_map(|usages| usages.0)
        .filter(|usage| usage.kind.as_deref().is_none_or(|kind| kind == "instagram"))
        .filter_map(|usage| usage.estimated_time_to_regain_access)
        .filter(|minutes| *minutes > 0)
        .max()?;
    now.checked_add_signed(TimeDelta::try_minutes(minutes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_estimate_for_instagram_counts() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let minutes = |header: &str| regains_access_at(header, now).map(|at| (at - now).num_minutes());
        let entry = |kind: &str, minutes: &str| {
            format!(r#"{{"type":"{kind}","call_count":100,"estimated_time_to_regain_access":{minutes}}}"#)
        };
        let (ads, short, long) = (entry("ads_insights", "600"), entry("instagram", "5"), entry("instagram", "25"));
        assert_eq!(minutes(&format!(r#"{{"17":[{ads},{short}],"18":[7,{long}],"19":"none"}}"#)), Some(25));
        assert_eq!(minutes(r#"{"17":[{"estimated_time_to_regain_access":3}]}"#), Some(3));
        for (kind, value) in [("instagram", "0"), ("instagram", "-1"), ("instagram", "\"5\""), ("ads_insights", "5")] {
            assert_eq!(minutes(&format!(r#"{{"17":[{}]}}"#, entry(kind, value))), None, "{kind} {value}");
        }
        for nonsense in ["", "{}", "[]", "soon", r#"{"17":[{"estimated_time_to_regain_access":9223372036854775807}]}"#]
        {
            assert_eq!(minutes(nonsense), None, "{nonsense}");
        }
    }
}
