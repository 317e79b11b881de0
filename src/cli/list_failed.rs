//! `postretry list-failed`.

use super::args::{Format, ListArgs};
use super::console::Console;
use super::{AppError, Exit, open_store};
use crate::report::{ListJson, ListPart, PostDetailJson, list_text, post_text, posts_csv, to_json};
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
    let page = Page { skip: args.skip, limit: args.limit };
    let posts = store.list(&filter, page).await?.posts;
    let text = if format == Format::Csv {
        posts_csv(&posts, &policy, now)
    } else {
        let part = ListPart { posts: &posts, page, total: store.count(&filter).await?, filter: &filter };
        match format {
            Format::Json => to_json(&ListJson::new(&part, &policy, now)),
            _ => list_text(&part, &policy, now, console.screen()),
        }
    };
    console.result(&text, Exit::Done);
    Ok(Exit::Done)
}
