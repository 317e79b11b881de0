//! `postretry reset`.

use super::args::{Format, ResetArgs};
use super::console::Console;
use super::{AppError, Exit, open_store};
use crate::post::{Category, PostId};
use crate::report::{ResultsJson, plural, results_text, to_json};
use crate::settings::Settings;
use crate::store::{Found, ListFilter, Page, PostStore, Reset, StoredPost};

/// How many posts of a selection are read at a time.
const PAGE: u64 = 2_000;

type ResultRow = (String, &'static str, Option<String>);

/// Checks that posts are selected.
pub(super) fn check(args: &ResetArgs) -> Result<(), AppError> {
    let is_selection = args.permanent || args.platform.is_some() || args.category.is_some();
    if args.ids.is_empty() && !is_selection {
        return Err(AppError::Usage {
            problem: "no posts are selected".to_owned(),
            hint: Some(
                "give the IDs of the posts, or select posts with `--permanent`, `--platform` and `--category`"
                    .to_owned(),
            ),
        });
    }
    Ok(())
}

pub(super) async fn run(
    args: &ResetArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
    operator: &str,
) -> Result<Exit, AppError> {
    let (store, _) = open_store(settings).await?;
    let mut rows: Vec<ResultRow> = Vec::new();
    let mut exit = Exit::Done;
    let mut chosen: Vec<PostId> = Vec::new();
    if args.ids.is_empty() {
        chosen = select(args, settings, store.as_ref()).await?;
        confirm(args, &chosen, console)?;
    }
    for id in &args.ids {
        let problem = match store.find(id).await? {
            Found::Failed(post) => {
                chosen.push(post.id().clone());
                continue;
            }
            Found::NotFailed(_) => ("notFailed", "it is not failed"),
            Found::Nothing => ("notFound", "there is no such post"),
        };
        console.problem(&format!("failed to reset post `{id}`: {}", problem.1), None);
        rows.push((id.clone(), problem.0, Some(problem.1.to_owned())));
        exit = exit.max(Exit::NoPost);
    }
    for id in &chosen {
        if args.dry_run {
            rows.push((id.to_string(), "reset", None));
            continue;
        }
        let (outcome, problem, code) = match store.reset(id, operator).await? {
            Reset::Done => ("reset", None, Exit::Done),
            Reset::Busy => ("busy", Some("another process is retrying it right now"), Exit::Busy),
            Reset::NotFailed => ("notFailed", Some("it is not failed any more"), Exit::NoPost),
        };
        if let Some(problem) = problem {
            console.problem(&format!("failed to reset post `{id}`: {problem}"), None);
        }
        rows.push((id.to_string(), outcome, problem.map(str::to_owned)));
        exit = exit.max(code);
    }
    let text = match format {
        Format::Json => to_json(&ResultsJson::new(rows)),
        _ if rows.is_empty() => "no posts match the selection\n".to_owned(),
        _ if args.dry_run => {
            let count = plural(rows.len() as u64, "post", "posts");
            format!("{}{count} would be reset; nothing was changed\n", results_text(&rows, console.screen()))
        }
        _ => results_text(&rows, console.screen()),
    };
    console.result(&text, exit);
    Ok(exit)
}

/// The selected posts. Ambiguous posts may already be published, so their category must be named.
async fn select(args: &ResetArgs, settings: &Settings, store: &dyn PostStore) -> Result<Vec<PostId>, AppError> {
    let filter = ListFilter {
        platform: args.platform,
        permanent: args.permanent.then_some(settings.policy),
        category: args.category,
        ..ListFilter::default()
    };
    let with_ambiguous = args.category == Some(Category::Ambiguous);
    let is_ambiguous = |stored: &StoredPost| stored.category() == Some(Category::Ambiguous);
    let mut chosen = Vec::new();
    let mut skip = 0;
    loop {
        let page = store.list(&filter, Page { skip, limit: PAGE }).await?;
        let read = page.posts.len() as u64;
        let wanted = page.posts.iter().filter(|stored| with_ambiguous || !is_ambiguous(stored));
        chosen.extend(wanted.map(|stored| stored.id().clone()));
        if read < PAGE {
            return Ok(chosen);
        }
        skip += read;
    }
}

/// A selection can be larger than expected, so the user must confirm it; without a terminal, `--yes` is needed.
fn confirm(args: &ResetArgs, chosen: &[PostId], console: &Console) -> Result<(), AppError> {
    if args.yes || args.dry_run || chosen.is_empty() {
        return Ok(());
    }
    let count = plural(chosen.len() as u64, "post", "posts");
    if !console.can_ask() {
        return Err(AppError::Usage {
            problem: format!("cannot reset {count} without confirmation"),
            hint: Some("add `--yes`, or check first with `--dry-run`".to_owned()),
        });
    }
    if console.ask(&format!("Reset the retry count of {count}?")) { Ok(()) } else { Err(AppError::Declined) }
}
