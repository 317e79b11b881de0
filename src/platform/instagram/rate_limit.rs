//! How much of its limits the account has used, and how long it has to wait when it is throttled: "Rate Limits" on
//! <https://developers.facebook.com>.
#![warn(clippy::arithmetic_side_effects)]

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::platform::http::lenient;
use crate::platform::http::lenient_items;

/// The header with the usage of the app.
pub(super) const APP_USAGE_HEADER: &str = "x-app-usage";

/// The header with the usage of the account: JSON, keyed by the id of a business.
pub(super) const USAGE_HEADER: &str = "x-business-use-case-usage";

/// From this percentage on, a limit is nearly used up. Whoever goes on calling at 100 is blocked for longer.
const NEARLY_USED_UP: f64 = 95.0;

/// A higher percentage is nonsense, and is not written out.
const HIGHEST: f64 = 999.0;

#[derive(Deserialize)]
#[serde(transparent)]
struct Usages(#[serde(deserialize_with = "lenient_items")] Vec<Usage>);

#[derive(Deserialize)]
struct Usage {
    #[serde(default, rename = "type", deserialize_with = "lenient")]
    kind: Option<String>,
    /// In per cent, as the next two.
    #[serde(default, deserialize_with = "lenient")]
    call_count: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    total_time: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    total_cputime: Option<f64>,
    /// In minutes.
    #[serde(default, deserialize_with = "lenient")]
    estimated_time_to_regain_access: Option<i64>,
}

impl Usage {
    /// The highest of its percentages.
    fn highest(&self) -> Option<f64> {
        [self.call_count, self.total_time, self.total_cputime].into_iter().flatten().max_by(f64::total_cmp)
    }
}

/// The usages for Instagram in the header of the account.
fn usages_of_account(header: &str) -> Vec<Usage> {
    let usages: HashMap<String, Usages> = serde_json::from_str(header).unwrap_or_default();
    usages
        .into_values()
        .flat_map(|usages| usages.0)
        .filter(|usage| usage.kind.as_deref().is_none_or(|kind| kind == "instagram"))
        .collect()
}

/// What is nearly used up, by the headers of the app and of the account, as a text; none if nothing is.
pub(super) fn nearly_used_up(app: Option<&str>, account: Option<&str>) -> Option<String> {
    let app: Option<Usage> = app.and_then(|header| serde_json::from_str(header).ok());
    let account = account.map(usages_of_account).unwrap_or_default();
    let app = app.iter().filter_map(Usage::highest).map(|percent| (percent, "app"));
    let account = account.iter().filter_map(Usage::highest).map(|percent| (percent, "account"));
    let (percent, of) = account.chain(app).max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    let shown = percent.min(HIGHEST);
    (percent >= NEARLY_USED_UP).then(|| format!("Instagram's usage of the {of} is at {shown} %"))
}

/// When the account may call again: after the longest of the estimates for Instagram.
pub(super) fn regains_access_at(header: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let minutes = usages_of_account(header)
        .into_iter()
        .filter_map(|usage| usage.estimated_time_to_regain_access)
        .filter(|minutes| *minutes > 0)
        .max()?;
    now.checked_add_signed(TimeDelta::try_minutes(minutes)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_number_in_a_header_makes_it_panic(percent in any::<f64>(), minutes in any::<i64>()) {
            let usage = format!(
                r#"{{"type":"instagram","call_count":{percent},"estimated_time_to_regain_access":{minutes}}}"#
            );
            let account = format!(r#"{{"17":[{usage}]}}"#);
            let told = nearly_used_up(Some(&usage), Some(&account)).unwrap_or_default();
            prop_assert!(told.len() < 100, "{}", told);
            for now in [DateTime::<Utc>::MIN_UTC, DateTime::UNIX_EPOCH, DateTime::<Utc>::MAX_UTC] {
                prop_assert!(regains_access_at(&account, now).is_none_or(|at| at > now));
            }
        }
    }

    #[test]
    fn a_limit_of_which_95_per_cent_are_used_is_nearly_used_up() {
        let app = |text: &str| nearly_used_up(Some(text), None);
        let at = |percent: &str| Some(format!("Instagram's usage of the app is at {percent} %"));
        assert_eq!(app(r#"{"call_count":97,"total_time":3,"total_cputime":4}"#), at("97"));
        assert_eq!(app(r#"{"call_count":1,"total_time":95,"total_cputime":4}"#), at("95"));
        assert_eq!(app(r#"{"call_count":1,"total_time":3,"total_cputime":120}"#), at("120"));
        assert_eq!(app(r#"{"call_count":"98","total_time":95.5}"#), at("95.5"));
        assert_eq!(app(r#"{"call_count":1e308}"#), at("999"));
        for text in
            [r#"{"call_count":94,"total_time":94.9,"total_cputime":0}"#, r#"{"call_count":"98"}"#, "{}", "", "97"]
        {
            assert_eq!(app(text), None, "{text}");
        }

        let account = |text: &str| nearly_used_up(None, Some(text));
        let at = |percent: &str| Some(format!("Instagram's usage of the account is at {percent} %"));
        let used = r#"{"17":[{"type":"ads_insights","call_count":100},{"type":"instagram","call_count":7}],
                       "18":[{"type":"instagram","total_time":96}],"19":"none"}"#;
        assert_eq!(account(used), at("96"));
        for text in [r#"{"17":[{"type":"ads_insights","call_count":100}]}"#, r#"{"17":[7]}"#, "[]", "soon"] {
            assert_eq!(account(text), None, "{text}");
        }

        let both = nearly_used_up(Some(r#"{"call_count":96}"#), Some(r#"{"17":[{"call_count":99}]}"#));
        assert_eq!(both, at("99"), "the higher one counts");
        assert_eq!(nearly_used_up(None, None), None);
    }

    #[test]
    fn the_longest_estimate_for_instagram_counts() {
        let now: DateTime<Utc> = "2026-11-23T10:00:00Z".parse().unwrap();
        let minutes =
            |header: &str| regains_access_at(header, now).map(|at| at.signed_duration_since(now).num_minutes());
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
