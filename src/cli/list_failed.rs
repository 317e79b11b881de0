//! `postretry list-failed`.

use super::args::{Format, ListArgs};
use super::console::Console;
use super::{AppError, Exit, open_store};
use crate::report::{ListJson, PostDetailJson, list_text, post_text, posts_csv, to_json};
use crate::settings::Settings;
use crate::store::{Found, ListFilter, Page};

pub(super) async fn run(
    args: &ListArgs,
    format: Format,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, AppError> {
    let (store, clock) = open_store(settings).await?;
    let policy = settings.policy;
    let now = clock.now();
    if let Some(id) = &args.id {
        let problem = match store.find(id).await? {
            Found::Failed(post) => {
                let text = match format {
                    Format::Json => to_json(&PostDetailJson::new(&post, &policy, now)),
                    _ => post_text(&post, &policy, now, console.screen()),
                };
                console.result(&text, Exit::Done);
                return Ok(Exit::Done);
            }
            Found::NotFailed(_) => "it is not failed",
            Found::Nothing => "there is no such post",
        };
        console.problem(
            &format!("failed to show post `{id}`: {problem}"),
            Some("`postretry list-failed` lists the failed posts"),
        );
        return Ok(Exit::NoPost);
    }
    let filter = ListFilter {
        platform: args.platform,
        due: args.due.then_some((policy, now)),
        permanent: args.permanent.then_some(policy),
        category: args.category,
        since: args.since.and_then(|since| now.checked_sub_signed(chrono::TimeDelta::from_std(since).ok()?)),
    };
    let page = store.list(&filter, Page { skip: args.skip, limit: args.limit }).await?;
    let text = match format {
        Format::Json => {
            let total = store.count(&filter).await?;
            to_json(&ListJson::new(&page.posts, total, args.limit, args.skip, &policy, now))
        }
        Format::Csv => posts_csv(&page.posts, &policy, now),
        Format::Table | Format::Prometheus => {
            let total = store.count(&filter).await?;
            list_text(&page.posts, total, args.skip, &policy, now, console.screen())
        }
    };
    console.result(&text, Exit::Done);
    Ok(Exit::Done)
}
