//! `postretry run`.

use std::sync::Arc;

use super::args::{Format, RunArgs};
use super::console::{ALWAYS, Console};
use super::{
    AppError, Exit, alert, build_context, connect_store, new_http, open_assets, prepare_https, record_run,
    report_resource_limit, warn_of_store,
};
use crate::report::{
    RunJson, account_notes, alert_message, malformed_note, platform_note, published_note, relative, utc, write_dry_run,
    write_json, write_run,
};
use crate::retry::{PassOptions, PassReport, Shutdown, Work, dry_run, idle_pass, pass_record, run_pass};
use crate::settings::Settings;

pub(super) async fn run(
    args: &RunArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
    shutdown: Shutdown,
) -> Result<Exit, AppError> {
    let assets = open_assets(settings).await?;
    let opened = connect_store(settings).await?;
    let http = new_http(settings)?;
    let context = Arc::new(build_context(settings, console, assets, shutdown, opened, http.clone()));
    let options = PassOptions { platforms: args.platform.clone(), limit: args.limit, max_duration: args.max_duration };
    let scrub = |text: &str| console.redactor().scrub(text).into_owned();
    if args.dry_run {
        warn_of_store(context.store.as_ref()).await?;
        let report = dry_run(&context, &options).await?;
        if format == Format::Json {
            for note in account_notes(&report) {
                log::warn!("{note}");
            }
        }
        console.write_result(Exit::Done, |out| match format {
            Format::Json => write_json(out, &RunJson::of_dry_run(&report)),
            _ => write_dry_run(out, &report, scrub, console.screen()),
        })?;
        return Ok(Exit::Done);
    }
    let store = context.store.as_ref();
    let prepared = async {
        // Making the indexes makes the collection, too.
        warn_of_store(store).await?;
        store.prepare(settings.policy.backoff_from).await
    };
    let (warnings, previous) = tokio::try_join!(prepared, store.given_up_platforms())?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    let report = if store.may_have_work(&context.policy, context.clock.now()).await? {
        prepare_https(&http)?;
        context.shutdown.begin_work(Work::Attempts);
        run_pass(&context, &options).await?
    } else {
        context.shutdown.begin_work(Work::Writes);
        idle_pass(&context, &options).await?
    };
    let exit = exit_of(&report, &context.shutdown);
    report_resource_limit(&context.shutdown, console);
    // The result is printed even if the run cannot be recorded, and the alert is sent even if it cannot be printed.
    let record = pass_record(&context, &report, exit.into(), &previous).await;
    let recorded = record_run(&context, &record).await;
    warn_of_expiring_credentials(&report, console.logs_to_terminal());
    if console.is_quiet() && exit == Exit::Done {
        warn_of_unconfigured_platforms(&report);
    }
    if format == Format::Json {
        report_notes(&report);
    }
    let printed = console.write_result(exit, |out| match format {
        Format::Json => write_json(out, &RunJson::new(&report)),
        _ if report.is_empty() && console.is_terminal() => out.write_all(b"nothing is due\n"),
        _ => write_run(out, &report, scrub, console.screen()),
    });
    if let Some(webhook) = &settings.alert_webhook
        && let Some(message) = alert_message(&report, &context.host, &previous)
    {
        alert::send(webhook, &message, &context.shutdown).await;
    }
    let stopped = recorded?;
    printed?;
    Ok(stopped.unwrap_or(exit))
}

fn exit_of(report: &PassReport, shutdown: &Shutdown) -> Exit {
    match shutdown.signal() {
        Some(signal) => signal.into(),
        None if report.needs_person() => Exit::Attention,
        None if report.has_internal_error || shutdown.resource_limit().is_some() => Exit::Error,
        None => Exit::Done,
    }
}

/// Writes to standard error what the JSON output does not contain, once for each platform.
fn report_notes(report: &PassReport) {
    let platforms = report.platforms.iter().filter_map(platform_note);
    let published = report.found_published.iter().map_while(Result::ok).map(|post| published_note(&post));
    let malformed = report.malformed.iter().map_while(Result::ok).map(|post| malformed_note(&post));
    for note in platforms.chain(published).chain(malformed) {
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
fn warn_of_expiring_credentials(report: &PassReport, is_terminal: bool) {
    for (platform, end) in report.platforms.iter().filter_map(|entry| Some((entry.platform, entry.credential_expiry?)))
    {
        let when = relative(end.at, report.finished_at);
        // In a log file the date stays true.
        let date = if is_terminal { String::new() } else { format!(", at {}", utc(end.at)) };
        log::warn!("{platform}: its token expires {when}{date}; {}", end.advice);
    }
}
