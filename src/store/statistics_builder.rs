//! Builds the statistics from the groups that a store counts.

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
    permanently_failed: u64,
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
            permanently_failed: 0,
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

    pub(super) fn add_posts(&mut self, group: PostGroup) {
        // Whatever the state of a post says whose platform is not known: it is malformed, and counted as that.
        let is_known = self.platform(group.platform).is_some();
        let is_permanent = is_known && (group.is_flagged || self.policy.is_exhausted(group.retry_count));
        let permanent = if is_permanent { group.posts } else { 0 };
        *self.retry_distribution.entry(group.retry_count).or_default() += group.posts;
        self.total_failed += group.posts;
        self.permanently_failed += permanent;
        if let Some(entry) = self.platform(group.platform) {
            entry.failed += group.posts;
            entry.permanently_failed += permanent;
        }
    }

    pub(super) fn set_due(&mut self, platform: Platform, due: u64) {
        if let Some(entry) = self.platform(Some(platform)) {
            entry.due = due;
        }
    }

    /// Adds posts by the name of their category; a name that is not known counts as unknown.
    pub(super) fn add_category(&mut self, name: &str, posts: u64) {
        *self.by_category.entry(name.parse().unwrap_or(Category::Unknown)).or_default() += posts;
    }

    /// Adds attempts of past runs; the platform is none if this version does not know it.
    pub(super) fn add_attempts(&mut self, platform: Option<Platform>, count: AttemptTotals) {
        let AttemptTotals { attempt, after, attempts, posted } = count;
        if let Some(entry) = self.platform(platform) {
            entry.attempts += attempts;
            entry.posted += posted;
        }
        let by_attempt =
            self.by_attempt.entry(attempt).or_insert(AttemptStatistics { attempt, attempts: 0, posted: 0 });
        by_attempt.attempts += attempts;
        by_attempt.posted += posted;
        let cause = self.by_cause.entry(after).or_insert(CauseStatistics { after, attempts: 0, posted: 0 });
        cause.attempts += attempts;
        cause.posted += posted;
    }

    /// The statistics, with what the store knows of past runs and of tokens.
    pub(super) fn finish(
        self,
        runs: RunStatistics,
        tokens: &[TokenRecord],
        given_up: Vec<(Platform, GivenUpRecord)>,
    ) -> Statistics {
        let for_platforms: u64 = self.by_platform.iter().map(|entry| entry.failed).sum();
        let ambiguous = self.by_category.get(&Category::Ambiguous).copied().unwrap_or(0);
        let mut by_category: Vec<(Category, u64)> = self.by_category.into_iter().collect();
        by_category.sort_by_key(|(category, posts)| (Reverse(*posts), *category));
        let mut by_cause: Vec<CauseStatistics> = self.by_cause.into_values().collect();
        by_cause.sort_by_key(|cause| (Reverse(cause.attempts), cause.after));
        let mut tokens: Vec<_> = tokens.iter().map(|token| (token.platform, token.expires_at())).collect();
        tokens.sort_unstable_by_key(|(platform, _)| *platform);
        Statistics {
            total_failed: self.total_failed,
            permanently_failed: self.permanently_failed,
            due: self.by_platform.iter().map(|entry| entry.due).sum(),
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
