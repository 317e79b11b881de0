//! `postretry retry`.

use super::args::{Format, RetryArgs};
use super::console::Console;
use super::{AppError, Exit, build_context};
use crate::post::Outcome;
use crate::report::{ResultsJson, results_text, to_json};
use crate::retry::{ActivePlatforms, Force, RetryOutcome, RetryReport, Signal, retry_post, retry_record};
use crate::settings::Settings;

pub(super) async fn run(
    args: &RetryArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
    operator: &str,
) -> Result<Exit, AppError> {
    let context = build_context(settings, console).await?;
    let force = if args.force { Force::Yes { by: operator.to_owned() } } else { Force::No };
    let platforms = ActivePlatforms::new(&context);
    let started_at = context.clock.now();
    let mut reports: Vec<RetryReport> = Vec::new();
    for id in &args.ids {
        if context.shutdown.is_stopping() {
            break;
        }
        reports.push(retry_post(&context, id, &force, &platforms).await?);
    }
    let worst = reports.iter().map(|report| exit_of(report.outcome)).max().unwrap_or(Exit::Done);
    let exit = match context.shutdown.signal() {
        Some(Signal::Interrupt) => Exit::Interrupted,
        Some(Signal::Terminate) => Exit::Terminated,
        None => worst,
    };
    let attempts = reports.iter().filter_map(|report| report.attempt.as_ref());
    if let Some(run) = retry_record(&context, attempts, started_at, exit.into()) {
        context.store.record_run(&run).await?;
    }
    for report in &reports {
        tell(report, console);
    }
    let url = |report: &RetryReport| report.attempt.as_ref().and_then(|attempt| attempt.url.clone());
    let row = |report: &RetryReport| (report.id.clone(), name_of(report.outcome), report.error.clone());
    let text = match format {
        Format::Json => to_json(&ResultsJson::new(reports.iter().map(row))),
        _ => {
            let rows: Vec<_> = reports
                .iter()
                .map(|report| {
                    let (id, outcome, error) = row(report);
                    (id, outcome, error.or_else(|| url(report)))
                })
                .collect();
            results_text(&rows, console.screen())
        }
    };
    console.result(&text, exit);
    Ok(exit)
}

fn name_of(outcome: RetryOutcome) -> &'static str {
    match outcome {
        // A released or withdrawn attempt is deferred and uses no retry.
        RetryOutcome::Attempted(Outcome::Interrupted | Outcome::Withdrawn) => Outcome::Deferred.as_str(),
        RetryOutcome::Attempted(outcome) => outcome.as_str(),
        RetryOutcome::NotFound => "notFound",
        RetryOutcome::NotFailed => "notFailed",
        RetryOutcome::Busy => "busy",
        RetryOutcome::Permanent => "permanent",
        RetryOutcome::Malformed => "malformed",
        RetryOutcome::NotConfigured(_) => "notConfigured",
    }
}

fn exit_of(outcome: RetryOutcome) -> Exit {
    match outcome {
        RetryOutcome::Attempted(Outcome::Posted) => Exit::Done,
        RetryOutcome::Attempted(_) | RetryOutcome::Permanent => Exit::Attention,
        RetryOutcome::NotFound | RetryOutcome::NotFailed => Exit::NoPost,
        RetryOutcome::Busy => Exit::Busy,
        RetryOutcome::Malformed => Exit::Error,
        RetryOutcome::NotConfigured(_) => Exit::Configuration,
    }
}

/// Writes to standard error why no attempt was made, and what to do.
fn tell(report: &RetryReport, console: &Console) {
    let hint = match report.outcome {
        RetryOutcome::Attempted(_) => return,
        RetryOutcome::Permanent => {
            format!(
                "`postretry retry --force {0}` retries it anyway; `postretry list-failed {0}` shows the reason",
                report.id
            )
        }
        RetryOutcome::NotConfigured(platform) => {
            format!("set the credentials of {}; `.env.example` lists them", platform.title())
        }
        RetryOutcome::Malformed => "correct the field in the store".to_owned(),
        RetryOutcome::Busy => "wait until that attempt ends; `postretry list-failed` then shows the result".to_owned(),
        RetryOutcome::NotFound | RetryOutcome::NotFailed => "`postretry list-failed` lists the failed posts".to_owned(),
    };
    let problem = report.error.as_deref().unwrap_or("it cannot be retried");
    console.problem(&format!("failed to retry post `{}`: {problem}", report.id), Some(&hint));
}
