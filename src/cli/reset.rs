//! `postretry reset`.

use super::args::{Format, ResetArgs};
use super::console::Console;
use super::{AppError, Exit, open_store};
use crate::post::Category;
use crate::report::{ResultsJson, plural, results_text, to_json};
use crate::settings::Settings;
use crate::store::{Found, ListFilter, Page, PostStore, Reset, ResetOptions, StoredPost};

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
    if args.drop_ticket && args.ids.is_empty() {
        return Err(AppError::Usage {
            problem: "`--drop-ticket` needs the IDs of the posts".to_owned(),
            hint: Some("check on the platform that each post is not there, then give its ID".to_owned()),
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
    let mut chosen: Vec<StoredPost> = Vec::new();
    if args.ids.is_empty() {
        chosen = select(args, settings, store.as_ref()).await?;
        confirm(args, chosen.len(), console)?;
    }
    for id in &args.ids {
        let problem = match store.find(id).await? {
            Found::Failed(post) => {
                chosen.push(*post);
                continue;
            }
            Found::NotFailed(_) => ("notFailed", "it is not failed"),
            Found::Nothing => ("notFound", "there is no such post"),
        };
        console.problem(&format!("failed to reset post `{id}`: {}", problem.1), None);
        rows.push((id.clone(), problem.0, Some(problem.1.to_owned())));
        exit = exit.max(Exit::NoPost);
    }
    if args.drop_ticket && !chosen.is_empty() {
        confirm_drop(args, &chosen, console)?;
    }
    for stored in &chosen {
        let id = stored.id();
        if args.dry_run {
            rows.push((id.to_string(), "reset", None));
            continue;
        }
        // A post that was selected is reset only as it was shown; one that was named, as it is.
        let shown = args.ids.is_empty().then_some(stored);
        let options = ResetOptions { shown, drop_ticket: args.drop_ticket };
        let (outcome, problem, code) = match store.reset(id, operator, &options).await? {
            Reset::Done => ("reset", None, Exit::Done),
            Reset::Busy => ("busy", Some("another process is retrying it right now"), Exit::Busy),
            Reset::Changed => ("busy", Some("it has changed since it was selected"), Exit::Busy),
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
async fn select(args: &ResetArgs, settings: &Settings, store: &dyn PostStore) -> Result<Vec<StoredPost>, AppError> {
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
        chosen.extend(wanted.cloned());
        if read < PAGE {
            return Ok(chosen);
        }
        skip += read;
    }
}

/// A selection can be larger than expected, so a person is asked; without a terminal `--yes` is required.
fn confirm(args: &ResetArgs, posts: usize, console: &Console) -> Result<(), AppError> {
    if posts == 0 {
        return Ok(());
    }
    let count = plural(posts as u64, "post", "posts");
    let question = format!("Reset the retry count of {count}?");
    ask(args, console, &format!("cannot reset {count} without confirmation"), &question)
}

/// Without its ticket nothing prevents that a post goes out a second time, so a person is asked.
fn confirm_drop(args: &ResetArgs, chosen: &[StoredPost], console: &Console) -> Result<(), AppError> {
    let count = plural(chosen.len() as u64, "post", "posts");
    let question = format!(
        "Forget the upload tickets of {count}? Each is sent anew then, even if it is on its platform already; check \
         the accounts first."
    );
    ask(args, console, &format!("cannot drop the tickets of {count} without confirmation"), &question)
}

fn ask(args: &ResetArgs, console: &Console, problem: &str, question: &str) -> Result<(), AppError> {
    if args.yes || args.dry_run {
        return Ok(());
    }
    if !console.can_ask() {
        return Err(AppError::Usage {
            problem: problem.to_owned(),
            hint: Some("add `--yes`, or check first with `--dry-run`".to_owned()),
        });
    }
    if console.ask(question) { Ok(()) } else { Err(AppError::Declined) }
}
