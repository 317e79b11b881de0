//! The statistics in the Prometheus text format, for the node exporter's textfile collector.

use chrono::{DateTime, Utc};

use crate::post::Platform;
use crate::store::Statistics;

/// One metric: its name, what it counts, its type, and its samples with their label.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    samples: Vec<(Option<(&'static str, String)>, String)>,
}

/// The text. A metric without samples is left out.
pub fn exposition(statistics: &Statistics) -> String {
    let mut text = String::new();
    for metric in metrics(statistics).iter().filter(|metric| !metric.samples.is_empty()) {
        let Metric { name, help, kind, samples } = metric;
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (label, value) in samples {
            text.push_str(&match label {
                Some((label, of)) => format!("{name}{{{label}=\"{}\"}} {value}\n", label_value(of)),
                None => format!("{name} {value}\n"),
            });
        }
    }
    text
}

fn metrics(statistics: &Statistics) -> [Metric; 12] {
    let by_platform = |value: fn(&crate::store::PlatformStatistics) -> u64| {
        let sample = |entry: &crate::store::PlatformStatistics| {
            (Some(("platform", entry.platform.to_string())), value(entry).to_string())
        };
        statistics.by_platform.iter().map(sample).collect::<Vec<_>>()
    };
    let seconds = |millis: i64| format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    let runs = &statistics.runs;
    [
        Metric {
            name: "postretry_failed_posts",
            help: "Failed posts, including the permanently failed ones.",
            kind: "gauge",
            samples: by_platform(|entry| entry.failed),
        },
        Metric {
            name: "postretry_permanently_failed_posts",
            help: "Permanently failed posts.",
            kind: "gauge",
            samples: by_platform(|entry| entry.permanently_failed),
        },
        Metric {
            name: "postretry_malformed_posts",
            help: "Failed posts with a field that cannot be read. No other metric counts them.",
            kind: "gauge",
            samples: vec![(None, statistics.malformed.to_string())],
        },
        Metric {
            name: "postretry_due_posts",
            help: "Due posts.",
            kind: "gauge",
            samples: by_platform(|entry| entry.due),
        },
        Metric {
            name: "postretry_failed_posts_by_retries",
            help: "Failed posts by retry count.",
            kind: "gauge",
            samples: statistics
                .retry_distribution
                .iter()
                .map(|(count, posts)| (Some(("retries", count.to_string())), posts.to_string()))
                .collect(),
        },
        Metric {
            name: "postretry_posts_by_category",
            help: "Failed posts by the category of their last failure.",
            kind: "gauge",
            samples: statistics
                .by_category
                .iter()
                .map(|(category, posts)| (Some(("category", category.to_string())), posts.to_string()))
                .collect(),
        },
        Metric {
            name: "postretry_last_run_timestamp_seconds",
            help: "Start time of the last recorded run.",
            kind: "gauge",
            samples: runs.last_run.iter().map(|at| (None, seconds(at.timestamp_millis()))).collect(),
        },
        Metric {
            name: "postretry_last_run_duration_seconds",
            help: "Duration of the last recorded run.",
            kind: "gauge",
            samples: runs.last_duration_ms.iter().map(|millis| (None, seconds(*millis))).collect(),
        },
        Metric {
            name: "postretry_token_expiry_timestamp_seconds",
            help: "Time when the token expires and must be renewed.",
            kind: "gauge",
            samples: latest_expiries(statistics)
                .map(|(platform, at)| (Some(("platform", platform.to_string())), seconds(at.timestamp_millis())))
                .collect(),
        },
        Metric {
            name: "postretry_attempts_total",
            help: "Attempts made by recorded runs.",
            kind: "counter",
            samples: by_platform(|entry| entry.attempts),
        },
        Metric {
            name: "postretry_posted_total",
            help: "Posts published by recorded runs.",
            kind: "counter",
            samples: by_platform(|entry| entry.posted),
        },
        Metric {
            name: "postretry_runs_total",
            help: "Recorded runs.",
            kind: "counter",
            samples: vec![(None, runs.run_count.to_string())],
        },
    ]
}

/// A text as the value of a label.
fn label_value(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

/// When the latest token of each platform expires: an account that was replaced leaves its record behind.
fn latest_expiries(statistics: &Statistics) -> impl Iterator<Item = (Platform, DateTime<Utc>)> {
    Platform::ALL.into_iter().filter_map(|platform| {
        let of_platform = statistics.tokens.iter().filter(|(other, _)| *other == platform);
        Some((platform, of_platform.filter_map(|(_, at)| *at).max()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_a_label_cannot_end_its_line() {
        assert_eq!(label_value("tiktok"), "tiktok");
        assert_eq!(label_value("a\"} 1\nb\\"), r#"a\"} 1\nb\\"#);
    }
}
