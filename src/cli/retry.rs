//! `postretry retry`.

use super::args::{Format, RetryArgs};
use super::console::Console;
use super::{
    AppError, BUSY_HINT, Exit, LIST_HINT, MALFORMED_HINT, build_context, new_http, on_platforms, open_assets,
    open_store, prepare_https, record_run, report_resource_limit,
};
use crate::environment::Redactor;
use crate::post::{Outcome, Platform, Post, PostId, shell_quoted, shown_id};
use crate::report::{ResultRow, ResultsJson, plural, results_text, to_json};
use crate::retry::{
    ActivePlatforms, Confirmed, Force, RetryOutcome, RetryReport, Shutdown, Work, may_be_published, retry_post,
    retry_record,
};
use crate::settings::Settings;
use crate::store::{Found, PostStore};

/// How many characters of a title a question contains.
const TITLE: usize = 60;

pub(super) async fn run(
    args: &RetryArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
    operator: &str,
    shutdown: Shutdown,
) -> Result<Exit, AppError> {
    let assets = open_assets(settings).await?;
    let opened = open_store(settings).await?;
    let force = if args.force {
        Force::Yes { by: operator.to_owned(), confirmed: confirm(args, opened.0.as_ref(), console).await? }
    } else {
        Force::No
    };
    let previous = opened.0.given_up_platforms().await?;
    let http = new_http(settings)?;
    prepare_https(&http)?;
    // Only now: until a person has answered, a stop leaves no time.
    shutdown.begin_work(Work::Attempts);
    let context = build_context(settings, console, assets, shutdown, opened, http);
    let platforms = ActivePlatforms::new(&context);
    let started_at = context.clock.now();
    let mut reports: Vec<RetryReport> = Vec::new();
    let mut ids = args.ids.iter();
    while !context.shutdown.is_stopping()
        && let Some(id) = ids.next()
    {
        reports.extend(retry_post(&context, id, args.platform, &force, &platforms).await?);
    }
    let worst = reports.iter().map(|report| exit_of(report.outcome)).max().unwrap_or(Exit::Done);
    let exit = context.shutdown.signal().map_or(worst, Exit::from);
    let attempts = reports.iter().filter_map(|report| report.attempt.as_ref());
    // The result is printed even if the run cannot be recorded.
    let recorded = match retry_record(&context, attempts, &platforms, &previous, started_at, exit.into()) {
        Some(run) => record_run(&context, &run).await,
        None => Ok(None),
    };
    for report in &reports {
        let has_others = reports.iter().filter(|other| other.id == report.id).count() > 1;
        report_problem(report, has_others || args.platform.is_some(), console);
    }
    report_resource_limit(&context.shutdown, console);
    if ids.len() > 0 {
        let posts = plural(ids.len() as u64, "post was", "posts were");
        console.problem(&format!("stopped: {posts} not retried"), None);
    }
    let rows: Vec<ResultRow> = reports.iter().map(row).collect();
    let text = match format {
        Format::Json => to_json(&ResultsJson::new(&rows)),
        _ => results_text(&rows, console.screen()),
    };
    let printed = console.result(&text, exit);
    let stopped = recorded?;
    printed?;
    Ok(stopped.unwrap_or(exit))
}

fn row(report: &RetryReport) -> ResultRow {
    ResultRow {
        id: report.id.clone(),
        platform: report.platform.map(|platform| platform.to_string()).or_else(|| report.unknown_platform.clone()),
        outcome: name_of(report.outcome),
        error: report.error.clone(),
        url: report.attempt.as_ref().and_then(|attempt| attempt.url.clone()),
        ..ResultRow::default()
    }
}

/// Asks before posts are sent that may be on their platforms already. Without a terminal `--yes` is required.
async fn confirm(args: &RetryArgs, store: &dyn PostStore, console: &Console) -> Result<Confirmed, AppError> {
    if args.yes {
        return Ok(Confirmed::All);
    }
    let mut doubtful: Vec<Post> = Vec::new();
    for id in &args.ids {
        if let Found::Failed(deliveries) = store.find(id).await? {
            let readable = on_platforms(deliveries, args.platform.as_slice()).into_iter();
            let readable = readable.filter_map(|stored| stored.into_result().ok());
            doubtful.extend(readable.filter(may_be_published));
        }
    }
    let Some(first) = doubtful.first() else { return Ok(Confirmed::Only(Vec::new())) };
    if !console.can_ask() {
        let (id, title) = (&first.id, first.platform.title());
        return Err(AppError::Usage {
            problem: format!(
                "cannot send post `{id}` again without confirmation, because it may already be on {title}"
            ),
            hint: Some(format!(
                "look at the account first, on {title}: if the post is there, `postretry reset --posted{} {}` \
                 records that; if it is not, add `--yes`",
                option(first.platform, doubtful.iter().filter(|other| other.id.as_str() == id.as_str()).count() > 1),
                shell_quoted(id.as_str())
            )),
        });
    }
    let places: String = doubtful.iter().map(|post| where_to_look(post, console.redactor())).collect();
    if !console.ask(&format!("{places}Send {} again anyway?", if doubtful.len() == 1 { "it" } else { "them" })) {
        return Err(AppError::Declined);
    }
    let ids: Vec<PostId> = doubtful.into_iter().map(|post| post.id).collect();
    Ok(Confirmed::Only(ids))
}

/// What a person looks at before a post is sent again.
fn where_to_look(post: &Post, redactor: &Redactor) -> String {
    let (id, platform) = (&post.id, post.platform.title());
    let title = redactor.clean(post.content.title.as_deref().unwrap_or_else(|| post.content.caption_text()), TITLE);
    let title = if title.is_empty() { String::new() } else { format!(" \"{title}\"") };
    match &post.published_id {
        Some(published) => {
            let published = shown_id(published);
            format!("Post {id}{title} has the recorded {platform} ID {published}: look at it on {platform} first.\n")
        }
        None => format!("Post {id}{title} may already be on {platform}: look at the account first.\n"),
    }
}

/// The option that names one delivery of a post.
fn option(platform: Platform, is_needed: bool) -> String {
    if is_needed { format!(" --platform {platform}") } else { String::new() }
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

/// Writes to standard error why no attempt was made, and what to do. Where a post has several deliveries, the hint names
/// the platform.
fn report_problem(report: &RetryReport, has_others: bool, console: &Console) {
    let (shown, id) = (shown_id(&report.id), shell_quoted(&report.id));
    let option = report.platform.map(|platform| option(platform, has_others)).unwrap_or_default();
    let hint = match report.outcome {
        RetryOutcome::Attempted(_) => return,
        RetryOutcome::Permanent if report.may_be_published => {
            let place = report.platform.map(|platform| format!(", on {}", platform.title())).unwrap_or_default();
            format!(
                "look at the account first{place}: if the post is there, `postretry reset --posted{option} {id}` \
                 records that; if it is not, `postretry retry --force{option} {id}` sends it again"
            )
        }
        RetryOutcome::Permanent => {
            format!(
                "`postretry retry --force{option} {id}` retries it anyway; `postretry list-failed {id}` shows the reason"
            )
        }
        RetryOutcome::NotConfigured(platform) => {
            format!("set the credentials of {}; `postretry --help` lists the settings", platform.title())
        }
        RetryOutcome::Malformed => MALFORMED_HINT.to_owned(),
        RetryOutcome::Busy => BUSY_HINT.to_owned(),
        RetryOutcome::NotFound | RetryOutcome::NotFailed => LIST_HINT.to_owned(),
    };
    let on = match report.platform {
        Some(platform) if has_others => format!(" on {}", platform.title()),
        _ => String::new(),
    };
    let problem = report.error.as_deref().unwrap_or("it cannot be retried");
    console.problem(&format!("failed to retry post `{shown}`{on}: {problem}"), Some(&hint));
}
