//! `postretry run`.

use std::sync::Arc;

use super::args::{Format, RunArgs};
use super::console::{ALWAYS, Console};
use super::{AppError, Exit, alert, build_context, open_assets, open_store, stop_signals};
use crate::report::{
    RunJson, alert_message, malformed_note, platform_note, relative, utc, write_dry_run, write_json, write_run,
};
use crate::retry::{PassOptions, PassReport, Signal, dry_run, pass_record, run_pass};
use crate::settings::Settings;

pub(super) async fn run(
    args: &RunArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let assets = open_assets(settings)?;
    let shutdown = stop_signals()?;
    let opened = open_store(settings).await?;
    let context = Arc::new(build_context(settings, console, assets, shutdown, opened)?);
    let options = PassOptions { platforms: args.platform.clone(), limit: args.limit, max_duration: args.max_duration };
    if args.dry_run {
        let report = dry_run(&context, &options).await?;
        console.write_result(Exit::Done, |out| match format {
            Format::Json => write_json(out, &RunJson::of_dry_run(&report)),
            _ => write_dry_run(out, &report, console.screen()),
        })?;
        return Ok(Exit::Done);
    }
    for warning in context.store.prepare(settings.policy.backoff_from).await? {
        log::warn!("{warning}");
    }
    let previous = context.store.given_up_platforms().await?;
    let report = run_pass(&context, &options).await?;
    let exit = exit_of(&report, context.shutdown.signal());
    // The result is printed even if the run cannot be recorded, and the alert is sent even if it cannot be printed.
    let recorded = context.store.record_run(&pass_record(&context, &report, exit.into(), &previous)).await;
    warn_of_expiring_credentials(&report);
    if console.is_quiet() && exit == Exit::Done {
        warn_of_unconfigured_platforms(&report);
    }
    if format == Format::Json {
        tell(&report);
    }
    let printed = console.write_result(exit, |out| match format {
        Format::Json => write_json(out, &RunJson::new(&report)),
        _ if report.is_empty() && console.is_terminal() => out.write_all(b"nothing is due\n"),
        _ => write_run(out, &report, console.screen()),
    });
    if let Some(webhook) = &settings.alert_webhook
        && let Some(message) = alert_message(&report, &context.host, &previous)
    {
        alert::send(webhook, &message, &context.shutdown).await;
    }
    recorded?;
    printed?;
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
    let malformed = report.malformed.iter().map_while(Result::ok).map(|post| malformed_note(&post));
    for note in platforms.chain(malformed) {
        log::warn!("{note}");
    }
}

/// Warns about due posts if none of their platforms is configured: with `-q` the pass would look as if nothing was due.
fn warn_of_unconfigured_platforms(report: &PassReport) {
    let with_due_posts = || report.platforms.iter().filter(|entry| entry.totals.due > 0);
    if with_due_posts().all(|entry| !entry.is_configured) {
        for note in with_due_posts().filter_map(platform_note) {
            log::warn!(target: ALWAYS, "{note}");
        }
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
