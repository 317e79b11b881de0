//! `postretry run`.

use std::sync::Arc;

use super::args::{Format, RunArgs};
use super::console::Console;
use super::{AppError, Exit, alert, open_workshop};
use crate::report::{RunJson, dry_run_text, malformed_note, platform_note, relative, run_text, to_json, utc};
use crate::retry::{PassOptions, PassReport, Signal, Workshop, dry_run, run_pass};
use crate::settings::Settings;
use crate::store::RunRecord;

pub(super) async fn run(
    args: &RunArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let workshop = Arc::new(open_workshop(settings, console).await?);
    let options = PassOptions { platforms: args.platform.clone(), limit: args.limit, max_duration: args.max_duration };
    if args.dry_run {
        let report = dry_run(&workshop, &options).await?;
        let text = match format {
            Format::Json => to_json(&RunJson::of_dry_run(&report)),
            _ => dry_run_text(&report, console.screen()),
        };
        console.result(&text, Exit::Done);
        return Ok(Exit::Done);
    }
    for warning in workshop.store.prepare(settings.policy.backoff_from).await? {
        log::warn!("{warning}");
    }
    let report = run_pass(&workshop, &options).await?;
    let exit = exit_of(&report, workshop.shutdown.signal());
    // What was done is told even where the record of it fails.
    let recorded = record(&workshop, &report, exit).await;
    if let Some(webhook) = &settings.alert_webhook {
        alert::send(webhook, &report, &workshop.host).await;
    }
    warn_of_sign_ins(&report);
    let text = match format {
        Format::Json => {
            tell(&report);
            to_json(&RunJson::new(&report))
        }
        _ => {
            let text = run_text(&report, console.screen());
            if text.is_empty() && console.is_terminal() { "nothing is due\n".to_owned() } else { text }
        }
    };
    console.result(&text, exit);
    recorded.map(|()| exit)
}

fn exit_of(report: &PassReport, signal: Option<Signal>) -> Exit {
    match signal {
        Some(Signal::Interrupt) => Exit::Interrupted,
        Some(Signal::Terminate) => Exit::Terminated,
        None if report.needs_person() => Exit::Attention,
        None if report.has_broken_off => Exit::Error,
        None => Exit::Done,
    }
}

async fn record(workshop: &Workshop, report: &PassReport, exit: Exit) -> Result<(), AppError> {
    let run = RunRecord {
        id: report.run_id.clone(),
        command: "run",
        started_at: report.started_at,
        finished_at: report.finished_at,
        host: workshop.host.clone(),
        outcome: exit.into(),
        totals: report.totals(),
        by_platform: report.platforms.iter().map(|platform| (platform.platform, platform.totals)).collect(),
        attempts: report.attempts.clone(),
    };
    Ok(workshop.store.record_run(&run).await?)
}

/// Says on standard error what the JSON output does not: once a pass and platform.
fn tell(report: &PassReport) {
    let platforms = report.platforms.iter().filter_map(platform_note);
    for note in platforms.chain(report.malformed.iter().map(malformed_note)) {
        log::warn!("{note}");
    }
}

/// Warns of sign-ins that end soon.
fn warn_of_sign_ins(report: &PassReport) {
    for (platform, end) in report.platforms.iter().filter_map(|entry| Some((entry.platform, entry.credential_expiry?)))
    {
        let when = relative(end.at, report.finished_at);
        log::warn!("{platform}: its sign-in ends {when}, at {}; {}", utc(end.at), end.advice);
    }
}
