//! Builds the statistics from the groups that a store counts. Any program can have written what is counted.
#![warn(clippy::arithmetic_side_effects)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveTime, Utc};

use super::statistics::{
    AttemptStatistics, CauseStatistics, GivenUpRecord, PlatformStatistics, RunStatistics, Statistics,
};
use crate::post::{AttemptCount, Category, Platform, RetryPolicy, TokenRecord};

/// How many days are counted one by one.
const DAYS: u64 = 14;

/// When the first of the days that are counted one by one began, in UTC.
pub(super) fn start_of_days(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now.date_naive().checked_sub_days(Days::new(DAYS - 1)).unwrap_or(now.date_naive());
    first.and_time(NaiveTime::MIN).and_utc()
}

/// A group of failed posts that are the same for the statistics.
#[derive(Debug, Clone, Copy)]
pub(super) struct PostGroup {
    /// Their platform; none for one that is not known.
    pub(super) platform: Option<Platform>,
    /// Whether they are marked as permanently failed.
    pub(super) is_flagged: bool,
    /// Their `retryCount`, as it counts.
    pub(super) retry_count: u32,
    /// How many there are.
    pub(super) posts: u64,
}

/// Collects groups of posts and attempts, in any order.
#[derive(Debug)]
pub(super) struct StatisticsBuilder {
    policy: RetryPolicy,
    total_failed: u64,
    retry_distribution: BTreeMap<u32, u64>,
    by_platform: Vec<PlatformStatistics>,
    by_attempt: BTreeMap<u32, AttemptStatistics>,
    by_category: BTreeMap<Category, u64>,
    by_cause: BTreeMap<Option<Category>, CauseStatistics>,
}

impl StatisticsBuilder {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            total_failed: 0,
            retry_distribution: BTreeMap::new(),
            by_platform: Platform::ALL.map(PlatformStatistics::none).to_vec(),
            by_attempt: BTreeMap::new(),
            by_category: BTreeMap::new(),
            by_cause: BTreeMap::new(),
        }
    }

    fn platform(&mut self, platform: Option<Platform>) -> Option<&mut PlatformStatistics> {
        self.by_platform.iter_mut().find(|entry| Some(entry.platform) == platform)
    }

    /// How many posts of a group are permanently failed.
    fn permanent(&self, group: &PostGroup) -> u64 {
        if group.is_flagged || self.policy.is_exhausted(group.retry_count) { group.posts } else { 0 }
    }

    /// Adds failed posts. Those whose platform is not known are malformed, and are counted as nothing else.
    pub(super) fn add_posts(&mut self, group: PostGroup) {
        let permanent = self.permanent(&group);
        add(&mut self.total_failed, group.posts);
        if let Some(entry) = self.platform(group.platform) {
            add(&mut entry.failed, group.posts);
            add(&mut entry.permanently_failed, permanent);
            add(self.retry_distribution.entry(group.retry_count).or_default(), group.posts);
        }
    }

    /// Takes malformed posts out of the group and the category that they were added to, so that they are counted as
    /// nothing else.
    pub(super) fn mark_malformed(&mut self, group: PostGroup, category: Option<&str>) {
        let permanent = self.permanent(&group);
        // The store may have changed since they were added.
        if let Some(entry) = self.platform(group.platform) {
            entry.failed = entry.failed.saturating_sub(group.posts);
            entry.permanently_failed = entry.permanently_failed.saturating_sub(permanent);
            subtract(&mut self.retry_distribution, &group.retry_count, group.posts);
            if let Some(name) = category {
                subtract(&mut self.by_category, &category_of(name), group.posts);
            }
        }
    }

    pub(super) fn set_due(&mut self, platform: Platform, due: u64) {
        if let Some(entry) = self.platform(Some(platform)) {
            entry.due = due;
        }
    }

    /// Adds posts by the name of their category; a name that is not known counts as unknown.
    pub(super) fn add_category(&mut self, name: &str, posts: u64) {
        add(self.by_category.entry(category_of(name)).or_default(), posts);
    }

    /// Adds attempts of past runs; the platform is none if this version does not know it.
    pub(super) fn add_attempts(&mut self, platform: Option<Platform>, count: AttemptTotals) {
        let AttemptTotals { attempt, after, attempts, posted } = count;
        if let Some(entry) = self.platform(platform) {
            add(&mut entry.attempts, attempts);
            add(&mut entry.posted, posted);
        }
        let by_attempt =
            self.by_attempt.entry(attempt).or_insert(AttemptStatistics { attempt, attempts: 0, posted: 0 });
        add(&mut by_attempt.attempts, attempts);
        add(&mut by_attempt.posted, posted);
        let cause = self.by_cause.entry(after).or_insert(CauseStatistics { after, attempts: 0, posted: 0 });
        add(&mut cause.attempts, attempts);
        add(&mut cause.posted, posted);
    }

    /// The statistics, with what the store knows of past runs and of tokens.
    pub(super) fn finish(
        self,
        runs: RunStatistics,
        tokens: &[TokenRecord],
        given_up: Vec<(Platform, GivenUpRecord)>,
    ) -> Statistics {
        let sum =
            |count: fn(&PlatformStatistics) -> u64| self.by_platform.iter().map(count).fold(0, u64::saturating_add);
        let (for_platforms, permanently_failed, due) =
            (sum(|entry| entry.failed), sum(|entry| entry.permanently_failed), sum(|entry| entry.due));
        let ambiguous = self.by_category.get(&Category::Ambiguous).copied().unwrap_or(0);
        let mut by_category: Vec<(Category, u64)> = self.by_category.into_iter().collect();
        by_category.sort_by_key(|(category, posts)| (Reverse(*posts), *category));
        let mut by_cause: Vec<CauseStatistics> = self.by_cause.into_values().collect();
        by_cause.sort_by_key(|cause| (Reverse(cause.attempts), cause.after));
        let mut tokens: Vec<_> = tokens.iter().map(|token| (token.platform, token.expires_at())).collect();
        tokens.sort_unstable_by_key(|(platform, _)| *platform);
        Statistics {
            total_failed: self.total_failed,
            permanently_failed,
            due,
            malformed: self.total_failed.saturating_sub(for_platforms),
            ambiguous,
            retry_distribution: self.retry_distribution.into_iter().collect(),
            by_platform: self.by_platform,
            by_attempt: self.by_attempt.into_values().collect(),
            by_category,
            by_cause,
            tokens,
            given_up,
            runs,
        }
    }
}

fn category_of(name: &str) -> Category {
    name.parse().unwrap_or(Category::Unknown)
}

fn add(count: &mut u64, more: u64) {
    *count = count.saturating_add(more);
}

/// Takes posts out of one of the counts. A count of none is left out.
fn subtract<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K, posts: u64) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(posts);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Attempts of past runs that agree in number and cause.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptTotals {
    pub(super) attempt: u32,
    /// The category of the failure that they were made after.
    pub(super) after: Option<Category>,
    pub(super) attempts: u64,
    pub(super) posted: u64,
}

impl From<AttemptCount> for AttemptTotals {
    fn from(count: AttemptCount) -> Self {
        let AttemptCount { attempt, after, attempts, posted, .. } = count;
        Self { attempt, after, attempts, posted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(builder: StatisticsBuilder) -> Statistics {
        builder.finish(RunStatistics::default(), &[], Vec::new())
    }

    fn group(platform: Option<Platform>, retry_count: u32, posts: u64) -> PostGroup {
        PostGroup { platform, is_flagged: false, retry_count, posts }
    }

    #[test]
    fn malformed_posts_are_counted_as_nothing_else() {
        let tiktok = Some(Platform::TikTok);
        let mut builder = StatisticsBuilder::new(RetryPolicy::default());
        for added in [group(tiktok, 0, 4), group(tiktok, 5, 3), group(None, 5, 2)] {
            builder.add_posts(added);
        }
        builder.add_category("network", 4);
        builder.add_category("ambiguous", 1);
        builder.mark_malformed(group(tiktok, 0, 1), Some("network"));
        builder.mark_malformed(group(tiktok, 5, 1), Some("ambiguous"));
        let statistics = finished(builder);
        let counts = (statistics.total_failed, statistics.permanently_failed, statistics.malformed);
        assert_eq!((counts, statistics.retryable(), statistics.ambiguous), ((9, 2, 4), 3, 0));
        assert_eq!(statistics.retry_distribution, [(0, 3), (5, 2)]);
        assert_eq!(statistics.by_category, [(Category::Network, 3)]);
        let entry = statistics.by_platform.iter().find(|entry| Some(entry.platform) == tiktok).unwrap();
        assert_eq!((entry.failed, entry.permanently_failed), (5, 2));
    }

    #[test]
    fn numbers_that_no_run_has_are_added_without_a_panic() {
        let mut builder = StatisticsBuilder::new(RetryPolicy::default());
        for _ in 0..3 {
            let totals = AttemptTotals { attempt: 1, after: None, attempts: u64::MAX, posted: u64::MAX - 1 };
            builder.add_attempts(Some(Platform::TikTok), totals);
            builder.add_posts(group(Some(Platform::TikTok), 5, u64::MAX));
            builder.add_category("network", u64::MAX);
        }
        builder.add_posts(group(Some(Platform::Instagram), 5, 1));
        let statistics = finished(builder);
        assert_eq!((statistics.total_failed, statistics.permanently_failed), (u64::MAX, u64::MAX));
        assert_eq!(statistics.by_attempt.first().map(|entry| entry.attempts), Some(u64::MAX));
    }

    #[test]
    fn a_post_that_was_not_added_is_not_taken_out() {
        let mut builder = StatisticsBuilder::new(RetryPolicy::default());
        builder.add_posts(group(Some(Platform::TikTok), 2, 1));
        builder.mark_malformed(group(Some(Platform::Instagram), 3, 1), Some("network"));
        builder.mark_malformed(group(None, 2, 1), None);
        let statistics = finished(builder);
        assert_eq!((statistics.total_failed, statistics.malformed, statistics.retryable()), (1, 0, 1));
        assert_eq!(statistics.retry_distribution, [(2, 1)]);
    }
}
