//! `postretry run`.

use std::sync::Arc;

use super::args::{Format, RunArgs};
use super::console::Console;
use super::{AppError, Exit, alert, build_context};
use crate::report::{RunJson, dry_run_text, malformed_note, platform_note, relative, run_text, to_json, utc};
use crate::retry::{PassOptions, PassReport, Signal, dry_run, pass_record, run_pass};
use crate::settings::Settings;

pub(super) async fn run(
    args: &RunArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let context = Arc::new(build_context(settings, console).await?);
    let options = PassOptions { platforms: args.platform.clone(), limit: args.limit, max_duration: args.max_duration };
    if args.dry_run {
        let report = dry_run(&context, &options).await?;
        let text = match format {
            Format::Json => to_json(&RunJson::of_dry_run(&report)),
            _ => dry_run_text(&report, console.screen()),
        };
        console.result(&text, Exit::Done);
        return Ok(Exit::Done);
    }
    for warning in context.store.prepare(settings.policy.backoff_from).await? {
        log::warn!("{warning}");
    }
    let report = run_pass(&context, &options).await?;
    let exit = exit_of(&report, context.shutdown.signal());
    // The result is printed even if the run cannot be recorded.
    let recorded = context.store.record_run(&pass_record(&context, &report, exit.into())).await;
    if let Some(webhook) = &settings.alert_webhook {
        alert::send(webhook, &report, &context.host).await;
    }
    warn_of_expiring_credentials(&report);
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
    recorded?;
    Ok(exit)
}

fn exit_of(report: &PassReport, signal: Option<Signal>) -> Exit {
    match signal {
        Some(Signal::Interrupt) => Exit::Interrupted,
        Some(Signal::Terminate) => Exit::Terminated,
        None if report.needs_person() => Exit::Attention,
        None if report.has_panicked => Exit::Error,
        None => Exit::Done,
    }
}

/// Writes to standard error what the JSON output does not contain, once for each platform.
fn tell(report: &PassReport) {
    let platforms = report.platforms.iter().filter_map(platform_note);
    for note in platforms.chain(report.malformed.iter().map(malformed_note)) {
        log::warn!("{note}");
    }
}

/// Warns about tokens that expire soon.
fn warn_of_expiring_credentials(report: &PassReport) {
    for (platform, end) in report.platforms.iter().filter_map(|entry| Some((entry.platform, entry.credential_expiry?)))
    {
        let when = relative(end.at, report.finished_at);
        log::warn!("{platform}: its token expires {when}, at {}; {}", utc(end.at), end.advice);
    }
}
